"""Between a clip's padded squares and the pictures inside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from v2m4.clip import Clip


def picture(clip: Clip, index: int) -> NDArray[np.uint8]:
    """The true picture of frame ``index``, without padding: (H,W,3) uint8."""
    left, top, right, bottom = clip.content_box()
    return clip.frame(index)[top:bottom, left:right, :3]


def sample_indices(clip: Clip, most: int) -> list[int]:
    """At most ``most`` frame indices, evenly spread, the first and last among them."""
    count = min(most, len(clip))
    return sorted({round(i) for i in np.linspace(0, len(clip) - 1, count)})


def padded(clip: Clip, rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H,W,4) put back into the clip's square."""
    left, top, right, bottom = clip.content_box()
    square = np.zeros((clip.side, clip.side, 4), np.uint8)
    square[top:bottom, left:right] = rgba
    return square
