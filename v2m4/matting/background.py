"""The still background of a clip, learnt from frames spread over it, although the object may never leave its place.

Which colour is the background is decided at low resolution (`background_labels`); here its mean and deviation at full
resolution, and what a camera that turns sees of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from v2m4.arrays import Bytes, Float32, Float64, Mask
from v2m4.events import Progress, StageRun
from v2m4.matting.background_labels import Changes, label_background
from v2m4.matting.colour_modes import ALWAYS_COVERED, MODES
from v2m4.settings import BackgroundSettings

_WHOLE = 0.999  # of a pixel: all of it but for rounding
_LEAST_SIDE = 8  # of shrunken frames, in pixels, however long and narrow the picture
_PER_EVENT = 8  # frames between two events
_QUANTILE = 0.95  # of |x - y|, where x and y are normally distributed with deviation 1: their median


@dataclass(frozen=True)
class Background:
    """colours: (H,W,3) levels, NaN where the object never gave sight of it. deviation: (H,W) standard, over time.

    small: (h,w,3) the same at learning resolution, NaN likewise. seen: (h,w), what the camera ever looked at.
    tolerance: levels within which two colours are one. unseen: coarse mask where the camera never looked.
    """

    colours: Float32
    deviation: Float32
    small: Float32
    seen: Mask
    tolerance: float
    unseen: float

    def covered(self, rgb: Bytes) -> Float32:
        """(H,W) in [0,1]: a coarse mask of the object in (H,W,3) ``rgb``, from the labelling alone."""
        height, width = self.small.shape[:2]
        little = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        away = np.square(little - self.small).sum(-1) > self.tolerance**2
        covered = (away | np.isnan(self.small[..., 0])).astype(np.float32)
        covered[~self.seen] = self.unseen
        return np.asarray(cv2.resize(covered, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)

    def through(self, to_picture: Float64, size: tuple[int, int], misplacement_px: float) -> Background:
        """What a camera sees of it from elsewhere, in a picture of ``size`` (width, height).

        to_picture: (3,3) from this background's pixels to the picture's. misplacement_px: how far off that may be;
        edges deviate by as much.
        """
        height, width = self.deviation.shape
        filled = np.nan_to_num(self.colours)
        # What the interpolation mixes with unknown colours is unknown.
        known = cv2.erode(np.isfinite(self.colours[..., 0]).astype(np.float32), np.ones((3, 3), np.uint8))
        down, right = np.gradient(filled, axis=(0, 1))
        slope = np.maximum(np.abs(down), np.abs(right)).max(-1) * (known > 0)
        deviation = np.hypot(self.deviation, np.float32(misplacement_px) * slope)
        colours = np.asarray(cv2.warpPerspective(filled, to_picture, size, flags=cv2.INTER_CUBIC), np.float32)
        colours[cv2.warpPerspective(known, to_picture, size) < _WHOLE] = np.nan
        # The small colours likewise, from the nearest pixel.
        share = self.small.shape[1] / width, self.small.shape[0] / height
        shrunken = (max(_LEAST_SIDE, round(size[0] * share[0])), max(_LEAST_SIDE, round(size[1] * share[1])))
        shrink = np.diag([shrunken[0] / size[0], shrunken[1] / size[1], 1.0])
        matrix = shrink @ to_picture @ np.diag([1 / share[0], 1 / share[1], 1.0])
        small = cv2.warpPerspective(self.small, matrix, shrunken, flags=cv2.INTER_NEAREST, borderValue=(np.nan,) * 3)
        seen = cv2.warpPerspective(self.seen.astype(np.uint8), matrix, shrunken, flags=cv2.INTER_NEAREST) > 0
        deviation = cv2.warpPerspective(deviation, to_picture, size)
        return Background(
            colours,
            np.asarray(deviation, np.float32),
            np.asarray(small, np.float32),
            np.asarray(seen),
            self.tolerance,
            self.unseen,
        )


def noise_level(frames: Bytes, seen: Mask | None = None) -> float:
    """Standard deviation over time of the quieter half of the pixels of (T,H,W,3) ``frames``, in levels.

    seen: (T,H,W), which pixels a frame shows at all; by default all.
    """
    step = np.abs(np.diff(frames.astype(np.int16), axis=0)).max(-1)
    return float(np.median(step if seen is None else step[seen[1:] & seen[:-1]]) / _QUANTILE)


def learn(
    frames: Bytes,
    tolerance: float,
    settings: BackgroundSettings,
    seen: Mask | None = None,
    longest_side: int | None = None,
) -> StageRun[tuple[Background, Changes]]:
    """The background of (T,H,W,3) ``frames``, which are spread over the clip. Yields after every part of the work.

    seen: (T,H,W), which pixels a frame shows at all; by default all. longest_side: of one picture, where the frames
    are a mosaic of larger size.
    """
    height, width = frames.shape[1:3]
    scale = min(1.0, settings.size / (longest_side or max(height, width)))
    size = (max(_LEAST_SIDE, round(width * scale)), max(_LEAST_SIDE, round(height * scale)))
    small = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames])
    small_seen = None if seen is None else np.stack([_wholly(s, size) for s in seen])
    labels, modes, changes = yield from label_background(small, tolerance, settings, small_seen)
    looked_at = np.ones(labels.shape, bool) if small_seen is None else small_seen.sum(0) >= settings.least_views
    chosen = np.take_along_axis(modes, np.minimum(labels, MODES - 1)[..., None, None].astype(np.intp), axis=2)[:, :, 0]
    chosen[labels == ALWAYS_COVERED] = np.nan
    chosen[~looked_at] = np.nan
    coarse = Background(np.zeros(0, np.float32), np.zeros(0, np.float32), chosen, looked_at, tolerance, settings.unseen)
    colours, deviation = yield from _visible_mean(frames, seen, coarse, settings.visible_below)
    return Background(colours, deviation, chosen, looked_at, tolerance, settings.unseen), changes


def _wholly(seen: Mask, size: tuple[int, int]) -> Mask:
    """(H,W) ``seen``, shrunk: the pixels of which nothing is missing."""
    return np.asarray(cv2.resize(seen.astype(np.float32), size, interpolation=cv2.INTER_AREA) > _WHOLE)


def _visible_mean(
    frames: Bytes, shown: Mask | None, coarse: Background, visible_below: float
) -> StageRun[tuple[Float32, Float32]]:
    """Mean and deviation of each pixel over the frames that show it, without the outliers of a first mean."""
    shape = frames.shape[1:]
    mean = np.zeros(shape, np.float64)
    deviation = np.zeros(shape[:2], np.float32)
    count = np.zeros(shape[:2], np.int32)
    for part in range(2):
        total, square = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
        count[:] = 0
        level = mean.round().astype(np.uint8)
        for index, frame in enumerate(frames):
            seen = coarse.covered(frame) < visible_below
            if shown is not None:
                seen &= shown[index]
            if part:
                seen &= np.asarray(cv2.absdiff(frame, level)).max(-1) < coarse.tolerance
            mask = seen.astype(np.uint8)
            cv2.accumulate(frame, total, mask)
            cv2.accumulateSquare(frame, square, mask)
            count += mask
            if index % _PER_EVENT == _PER_EVENT - 1:
                yield Progress("matting", 0.5 + 0.25 * part + 0.25 * (index + 1) / len(frames))
        weight = np.maximum(count, 1)[..., None]
        mean = total / weight
        deviation = np.sqrt(np.maximum(square / weight - np.square(mean), 0).mean(-1)).astype(np.float32)
    mean[count == 0] = np.nan
    return mean.astype(np.float32), deviation
