"""A moving object before a still or far background, however cluttered: difference to a learnt one, and a graph cut."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from v2m4.arrays import Bytes, Mask
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun, scaled
from v2m4.matting import Doubts
from v2m4.matting.background import Background, learn, noise_level
from v2m4.matting.camera_motion import CameraMotion, Mosaic, canvas_of, lay
from v2m4.matting.doubts import darkened, doubts_of, even_piece, luma_chroma
from v2m4.matting.frames import around, padded, picture, sample_indices
from v2m4.matting.graph_cut import contour_weight, cut
from v2m4.matting.mask_cleanup import fill_speckles, keep_object, largest_piece
from v2m4.matting.soft_edges import soften
from v2m4.settings import CameraMotionSettings, MattingSettings, Settings

_WAYS_OUT = (
    "Or give frames with transparency, film before a plain background, or install the network: "
    "pip install 'v2m4[rembg]'."
)


class Motion:
    """Matting by motion, for a camera that stands still, shakes or turns."""

    doubts = Doubts()

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Motion:
        """The plug for a run's settings."""
        return cls()

    def prepare(self, clip: Clip, settings: MattingSettings) -> StageRun[None]:
        """Learn the background. Raises V2M4Error if nothing moves, or if the background does not hold together."""
        self._settings, motion = settings, settings.motion
        indices = sample_indices(clip, motion.samples)
        samples = []
        for done, index in enumerate(indices):
            samples.append(picture(clip, index))
            yield Progress("matting", 0.3 * (done + 1) / len(indices))
        # 1. Where the camera moved, the frames are laid over each other first.
        self._camera: CameraMotion | None = CameraMotion(motion.camera)
        moved = yield from scaled(self._camera.follow(indices, samples), 0.3, 0.5)
        if moved:
            mosaic = _lay(clip, self._camera, indices, samples, motion.camera)
            frames, seen, self._to_canvas = mosaic.frames, mosaic.seen, mosaic.to_canvas
        else:
            frames, seen, self._camera = np.stack(samples), None, None
        side = max(samples[0].shape)
        samples.clear()
        self._noise = min(noise_level(frames, seen), motion.most_noise)
        yield Progress("matting", 0.6)
        # 2. What recurs behind the object, and whether that can be the background.
        tolerance = float(
            np.clip(motion.tolerance_deviations * self._noise, motion.least_tolerance, motion.most_tolerance)
        )
        learning = learn(frames, tolerance, motion.background, seen, side)
        self._background, changes = yield from scaled(learning, 0.6, 1.0)
        if 1 - changes.share < motion.least_motion:
            raise V2M4Error(
                f"Nothing moves in {clip.name}{' but the camera' * moved}, so the object cannot be told from its "
                f"background by motion. {_WAYS_OUT}"
            )
        if changes.share < motion.least_still or changes.still_rim < motion.least_still_rim:
            raise V2M4Error(
                f"Nearly the whole picture changes in {clip.name}{', even with the camera held' * moved}: its camera "
                "probably moves past things near and far, which shift against each other, so the object cannot be told "
                f"from its background by motion. Film from one place (turning or shaking is fine). {_WAYS_OUT}"
            )
        yield Progress("matting", 1.0)

    @property
    def in_any_order(self) -> bool:
        """Whether frames tell nothing of each other: a camera that moves is followed from one to the next."""
        return self._camera is None

    def frame(self, clip: Clip, index: int) -> Bytes:
        """The object of frame ``index``."""
        rgb = picture(clip, index)
        background = self._behind(index, rgb)
        mask, noise = self._mask(rgb, background), max(self._settings.edges.noise, self._noise)
        return padded(clip, soften(rgb, mask, background.colours, self._settings, noise))

    def _behind(self, index: int, rgb: Bytes) -> Background:
        """The background as frame ``index`` sees it."""
        if self._camera is None:
            return self._background
        place = self._camera.placed(index)
        if place is None:
            place = self._camera.place(index, rgb)
        if place is None:  # a blurred frame: as its neighbour, and the warnings tell of a mask that jumps
            place = self._camera.nearest(index)
        to_picture = np.asarray(np.linalg.inv(self._to_canvas @ place), np.float64)
        size = (rgb.shape[1], rgb.shape[0])
        return self._background.through(to_picture, size, self._settings.motion.camera.misplacement_px)

    def _mask(self, rgb: Bytes, back: Background) -> Mask:
        motion, cleanup, speaks = self._settings.motion, self._settings.cleanup, self._settings.evidence
        # 1. Evidence: the squared distance from the background in units of noise, leant on by the coarse mask.
        covered = back.covered(rgb)
        self.doubts, mask = Doubts(), np.zeros(covered.shape, bool)
        difference = rgb.astype(np.float32) - back.colours
        unknown = np.isnan(difference[..., 0])
        difference[unknown] = 0
        smooth = cv2.GaussianBlur(difference, (0, 0), speaks.blur_px)
        tolerance = motion.tolerance + motion.deviation_tolerance * back.deviation
        tolerance += motion.noise_tolerance * self._noise
        distance = np.square(smooth).sum(-1) / np.square(tolerance)
        evidence = np.clip(1.0 - distance, -speaks.most_for_object, 1.0)
        coarse, alone = motion.coarse_evidence, motion.unknown_evidence
        evidence = np.where(unknown, alone - 2 * alone * covered, evidence + coarse - 2 * coarse * covered)
        evidence = evidence.astype(np.float32)
        # 2. A graph cut around the candidates, and the pieces and holes of what it leaves.
        view = around(evidence < 0)
        if view is None:
            return mask
        # Edges of the background are no reason for a contour: only what differs from it counts.
        changed = np.where(unknown[..., None], rgb, np.clip(128 + smooth, 0, 255)).astype(np.uint8)
        solver = self._settings.graph_cut
        weight = contour_weight(changed[view], motion.contour, motion.contour_contrast, solver)
        pieces = cut(evidence[view], weight, solver) > 0.5
        inside = keep_object(pieces, cleanup)
        mask[view] = fill_speckles(inside, cleanup, ((distance < 1) & ~unknown)[view].astype(np.float32))
        # 3. What may be wrong: a thing of its own that was dropped, and a shadow, which moves with the object.
        flat, behind = self._settings.flat, luma_chroma(np.asarray(np.nan_to_num(back.colours), np.float32))
        kept, shaded = darkened(
            behind, luma_chroma(np.asarray(smooth, np.float32)), tolerance[..., None], flat.darkest_shadow
        )
        shadow = even_piece(mask & shaded & ~unknown, kept, flat.even_shadow)
        self.doubts = doubts_of(mask, largest_piece(pieces & ~inside), shadow)
        return mask


def _lay(
    clip: Clip, camera: CameraMotion, indices: list[int], samples: list[Bytes], settings: CameraMotionSettings
) -> Mosaic:
    """The frames ``samples`` laid over each other as far as the ``camera`` could be followed."""
    found = [(f, place) for i, f in zip(indices, samples, strict=True) if (place := camera.placed(i)) is not None]
    if len(found) < settings.least_placed * len(samples):
        raise V2M4Error(
            f"The camera moves in {clip.name}, but {len(samples) - len(found)} of {len(samples)} frames do not tell "
            "how: the background is too near, too plain or too blurred. Film from one place (turning or shaking is "
            f"fine). {_WAYS_OUT}"
        )
    places = [place for _, place in found]
    _, (width, height) = canvas_of(places, samples[0].shape)
    area = width * height / (samples[0].shape[0] * samples[0].shape[1])
    if area > settings.most_canvas:
        raise V2M4Error(
            f"The camera turns too far in {clip.name}: together its frames cover {area:.1f} pictures, of at most "
            f"{settings.most_canvas:g} (--matting.motion.camera.most-canvas). Trim the clip, or turn less. {_WAYS_OUT}"
        )
    return lay([f for f, _ in found], places)
