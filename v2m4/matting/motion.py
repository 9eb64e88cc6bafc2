"""A moving object before a still background, however cluttered: difference to a learnt background, and a graph cut."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, Steps, scaled
from v2m4.matting.background import learn, noise_level
from v2m4.matting.frames import around, padded, picture, sample_indices
from v2m4.matting.graph_cut import contour_weight, cut
from v2m4.matting.mask_cleanup import Mask, fill_speckles, keep_object
from v2m4.matting.soft_edges import soften
from v2m4.settings import MattingSettings, Settings

_SAMPLES = 32
_LEAST_MOTION = 5e-4
_MOST_NOISE = 8.0
_TOLERANCE = (18.0, 36.0)
_LEAST_STILL = 0.35
_LEAST_STILL_RIM = 0.6


class Motion:
    """Matting by motion, for a camera that stands still."""

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Motion:
        """The plug for a run's settings."""
        return cls()

    def prepare(self, clip: Clip, settings: MattingSettings) -> Steps[None]:
        """Learn the background. Raises V2M4Error if nothing moves, or nearly everything does."""
        self._soft = settings.soft_edge_px
        samples = []
        indices = sample_indices(clip, _SAMPLES)
        for done, index in enumerate(indices):
            samples.append(picture(clip, index))
            yield Progress("matting", 0.5 * (done + 1) / len(indices))
        frames = np.stack(samples)
        samples.clear()
        self._noise = min(noise_level(frames), _MOST_NOISE)
        yield Progress("matting", 0.6)
        learning = learn(frames, float(np.clip(6 * self._noise, *_TOLERANCE)))
        self._background, changes = yield from scaled(learning, 0.6, 1.0)
        still = float(changes.still.mean())
        if 1 - still < _LEAST_MOTION:
            raise V2M4Error(
                f"Nothing moves in {clip.name}, so the object cannot be told from its background by motion. Give "
                "frames with transparency, film before a plain background, or install the network: "
                "pip install 'v2m4[rembg]'."
            )
        if still < _LEAST_STILL or changes.still_rim < _LEAST_STILL_RIM:
            raise V2M4Error(
                f"Nearly the whole picture changes in {clip.name}, so its camera probably moves, and the object cannot "
                "be told from its background by motion. Use a fixed camera, give frames with transparency, or install "
                "the network: pip install 'v2m4[rembg]'."
            )
        yield Progress("matting", 1.0)

    def frame(self, clip: Clip, index: int) -> NDArray[np.uint8]:
        """The object of frame ``index``."""
        rgb = picture(clip, index)
        return padded(clip, soften(rgb, self._mask(rgb), self._background.colours, self._soft, max(3.0, self._noise)))

    def _mask(self, rgb: NDArray[np.uint8]) -> Mask:
        back = self._background
        covered = back.covered(rgb)
        mask = np.zeros(covered.shape, bool)
        difference = rgb.astype(np.float32) - back.colours
        unknown = np.isnan(difference[..., 0])
        difference[unknown] = 0
        smooth = cv2.GaussianBlur(difference, (0, 0), 0.7)
        tolerance = 8.0 + 3.0 * back.spread + 2.0 * self._noise
        distance = np.square(smooth).sum(-1) / np.square(tolerance)
        evidence = np.clip(1.0 - distance, -3.0, 1.0)
        evidence = np.where(unknown, 1.5 - 3.0 * covered, evidence + 0.6 - 1.2 * covered).astype(np.float32)
        view = around(evidence < 0)
        if view is None:
            return mask
        # Edges of the background are no reason for a contour: only what differs from it counts.
        changed = np.where(unknown[..., None], rgb, np.clip(128 + smooth, 0, 255)).astype(np.uint8)
        weight = contour_weight(changed[view], 1.5, 16.0)
        inside = keep_object(cut(evidence[view], weight) > 0.5)
        mask[view] = fill_speckles(inside, ((distance < 1) & ~unknown)[view].astype(np.float32))
        return mask
