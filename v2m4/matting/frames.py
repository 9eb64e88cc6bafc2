"""Between a clip's padded squares and the pictures inside them."""

from __future__ import annotations

import cv2
import numpy as np

from v2m4.arrays import Bytes, Mask
from v2m4.clip import Clip


def picture(clip: Clip, index: int) -> Bytes:
    """The true picture of frame ``index``, without padding: (H,W,3) uint8."""
    left, top, right, bottom = clip.content_box()
    return clip.frame(index)[top:bottom, left:right, :3]


def sample_indices(clip: Clip, most: int) -> list[int]:
    """At most ``most`` frame indices, evenly spread, the first and last among them."""
    count = min(most, len(clip))
    return sorted({round(i) for i in np.linspace(0, len(clip) - 1, count)})


def padded(clip: Clip, rgba: Bytes) -> Bytes:
    """(H,W,4) put back into the clip's square."""
    left, top, right, bottom = clip.content_box()
    square = np.zeros((clip.side, clip.side, 4), np.uint8)
    square[top:bottom, left:right] = rgba
    return square


def around(candidates: Mask) -> tuple[slice, slice] | None:
    """The box of all candidates that are more than isolated specks, with a margin."""
    solid = cv2.erode(candidates.astype(np.uint8), np.ones((2, 2), np.uint8))
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    if not len(rows):
        return None
    margin = 8  # pixels in which a contour can lie outside the outermost candidates
    return (
        slice(max(0, rows[0] - margin), rows[-1] + 1 + margin),
        slice(max(0, columns[0] - margin), columns[-1] + 1 + margin),
    )
