"""A moving object before a still background, however cluttered: difference to a learnt background, and a graph cut."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from v2m4.arrays import Bytes, Mask
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, Steps, scaled
from v2m4.matting.background import learn, noise_level
from v2m4.matting.frames import around, padded, picture, sample_indices
from v2m4.matting.graph_cut import contour_weight, cut
from v2m4.matting.mask_cleanup import fill_speckles, keep_object
from v2m4.matting.soft_edges import soften
from v2m4.settings import MattingSettings, Settings


class Motion:
    """Matting by motion, for a camera that stands still."""

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Motion:
        """The plug for a run's settings."""
        return cls()

    def prepare(self, clip: Clip, settings: MattingSettings) -> Steps[None]:
        """Learn the background. Raises V2M4Error if nothing moves, or nearly everything does."""
        self._settings, motion = settings, settings.motion
        samples = []
        indices = sample_indices(clip, motion.samples)
        for done, index in enumerate(indices):
            samples.append(picture(clip, index))
            yield Progress("matting", 0.5 * (done + 1) / len(indices))
        frames = np.stack(samples)
        samples.clear()
        self._noise = min(noise_level(frames), motion.most_noise)
        yield Progress("matting", 0.6)
        tolerance = float(np.clip(6 * self._noise, motion.least_tolerance, motion.most_tolerance))
        learning = learn(frames, tolerance, motion.background)
        self._background, changes = yield from scaled(learning, 0.6, 1.0)
        still = float(changes.still.mean())
        if 1 - still < motion.least_motion:
            raise V2M4Error(
                f"Nothing moves in {clip.name}, so the object cannot be told from its background by motion. Give "
                "frames with transparency, film before a plain background, or install the network: "
                "pip install 'v2m4[rembg]'."
            )
        if still < motion.least_still or changes.still_rim < motion.least_still_rim:
            raise V2M4Error(
                f"Nearly the whole picture changes in {clip.name}, so its camera probably moves, and the object cannot "
                "be told from its background by motion. Use a fixed camera, give frames with transparency, or install "
                "the network: pip install 'v2m4[rembg]'."
            )
        yield Progress("matting", 1.0)

    def frame(self, clip: Clip, index: int) -> Bytes:
        """The object of frame ``index``."""
        rgb = picture(clip, index)
        mask, noise = self._mask(rgb), max(3.0, self._noise)
        return padded(clip, soften(rgb, mask, self._background.colours, self._settings.soft_edge_px, noise))

    def _mask(self, rgb: Bytes) -> Mask:
        motion, cleanup, back = self._settings.motion, self._settings.cleanup, self._background
        # 1. Evidence: the squared distance from the background in units of noise, leant on by the coarse mask.
        covered = back.covered(rgb)
        mask = np.zeros(covered.shape, bool)
        difference = rgb.astype(np.float32) - back.colours
        unknown = np.isnan(difference[..., 0])
        difference[unknown] = 0
        smooth = cv2.GaussianBlur(difference, (0, 0), 0.7)
        tolerance = motion.tolerance + motion.deviation_tolerance * back.deviation
        tolerance += motion.noise_tolerance * self._noise
        distance = np.square(smooth).sum(-1) / np.square(tolerance)
        evidence = np.clip(1.0 - distance, -3.0, 1.0)
        evidence = np.where(unknown, 1.5 - 3.0 * covered, evidence + 0.6 - 1.2 * covered).astype(np.float32)
        # 2. A graph cut around the candidates, and the pieces and holes of what it leaves.
        view = around(evidence < 0)
        if view is None:
            return mask
        # Edges of the background are no reason for a contour: only what differs from it counts.
        changed = np.where(unknown[..., None], rgb, np.clip(128 + smooth, 0, 255)).astype(np.uint8)
        weight = contour_weight(changed[view], motion.contour, motion.contour_contrast)
        inside = keep_object(cut(evidence[view], weight) > 0.5, cleanup)
        mask[view] = fill_speckles(inside, cleanup, ((distance < 1) & ~unknown)[view].astype(np.float32))
        return mask
