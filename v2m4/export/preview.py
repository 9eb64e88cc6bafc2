"""The preview: the video and the animation re-rendered from its camera, side by side."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from v2m4.clip import Clip
from v2m4.export.video import VideoWriter

PAPER = (244, 243, 240)
"""sRGB colour behind the re-render, and behind the video where it is transparent."""
_GAP_PX = 4


class PreviewWriter:
    """Writes an H.264 video with the clip's own timestamps: ``clip`` on the left, its re-rendering on the right.

    Both without the padding to a square, their longer side at most ``size`` pixels. The file appears when the ``with``
    block ends well. Raises V2M4Error if it cannot be encoded.
    """

    def __init__(self, path: Path, clip: Clip, size: int) -> None:
        self._clip, self._size, self._count = clip, size, 0
        self._video = VideoWriter(path, clip.times, clip.duration)

    def __enter__(self) -> PreviewWriter:
        self._video.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._video.__exit__(kind, error, trace)

    def add(self, rendered: NDArray[np.uint8]) -> None:
        """Append the next frame beside its re-rendering, (S,S,4) with straight alpha."""
        self._video.add(side_by_side(self._clip, self._count, rendered, self._size))
        self._count += 1


def side_by_side(clip: Clip, index: int, rendered: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(H,W,3) the preview's picture of frame ``index`` with its re-rendering (S,S,4)."""
    left, top, right, bottom = clip.content_box()
    shrink = min(1.0, size / max(right - left, bottom - top))
    width, height = (max(2, round((n * shrink) / 2) * 2) for n in (right - left, bottom - top))
    halves = []
    for rgba in (clip.frame(index), rendered):
        with Image.fromarray(over_paper(rgba[top:bottom, left:right])) as image:
            halves.append(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)))
    return np.concatenate([halves[0], np.full((height, _GAP_PX, 3), PAPER, np.uint8), halves[1]], axis=1)


def over_paper(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H,W,4) straight alpha composited over the preview's background, (H,W,3)."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return (rgba[..., :3] * alpha + np.asarray(PAPER, np.float32) * (1 - alpha)).round().astype(np.uint8)
