"""Which frames get a mesh of their own (section 3 of the paper: every n-th frame; here also by how much moves)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.settings import KeyframeSettings

_COMPARE_SIDE = 128
_COLOUR_WEIGHT = 2.0


def choose_keyframes(clip: Clip, settings: KeyframeSettings) -> tuple[int, ...]:
    """Frame indices in ascending order; the first and the last frame are always among them.

    ``fixed``: every ``stride``-th frame. ``adaptive``: at most ``stride`` frames apart, and a new keyframe as soon as
    the object changed by ``motion_threshold`` since the last one, so that keyframes crowd where it moves fast. Reads
    one frame at a time. Raises V2M4Error for a stride below 1.
    """
    if settings.stride < 1:
        raise V2M4Error(f"The keyframe stride must be 1 or more, but is {settings.stride}. 5 suits most clips.")
    last = len(clip) - 1
    if settings.mode == "fixed":
        return tuple(sorted({*range(0, len(clip), settings.stride), last}))
    return _adaptive(clip, settings.stride, settings.motion_threshold)


def _adaptive(clip: Clip, stride: int, threshold: float) -> tuple[int, ...]:
    chosen = [0]
    reference = previous = _small(clip, 0)
    step = 0.0
    for index in range(1, len(clip)):
        current = _small(clip, index)
        step = change(previous, current)
        # Half a step early rather than half a step late: the change at the keyframe stays near the threshold.
        moved = change(reference, current) + 0.5 * step >= threshold
        if moved or index - chosen[-1] >= stride or index == len(clip) - 1:
            chosen.append(index)
            reference = current
        previous = current
    return _without_crowded_end(chosen, stride)


def _without_crowded_end(chosen: list[int], stride: int) -> tuple[int, ...]:
    """Drop the last but one keyframe where it is a frame from the end and the gap it leaves is within ``stride``."""
    if len(chosen) > 2 and chosen[-1] - chosen[-2] == 1 and chosen[-1] - chosen[-3] <= stride:
        del chosen[-2]
    return tuple(chosen)


def change(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """How much the object changed between two (H,W,4) pictures with values in [0,1]; 0 for the same picture.

    1 minus the overlap (IoU) of the masks, plus the mean colour difference where both show the object, so that motion
    inside a constant outline (a turning ball) counts too.
    """
    both, either = np.minimum(a[..., 3], b[..., 3]), np.maximum(a[..., 3], b[..., 3])
    union, overlap = float(either.sum()), float(both.sum())
    if union <= 0:
        return 0.0
    colour = float((np.abs(a[..., :3] - b[..., :3]).mean(-1) * both).sum()) / max(overlap, 1.0)
    return 1 - overlap / union + _COLOUR_WEIGHT * max(0.0, colour - 0.01)


def _small(clip: Clip, index: int) -> NDArray[np.float32]:
    side = min(_COMPARE_SIDE, clip.side)
    frame = cv2.resize(clip.frame(index), (side, side), interpolation=cv2.INTER_AREA)
    return frame.astype(np.float32) / np.float32(255)
