"""What every reader offers, and the sentences that all of them share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

ACCEPTED = "an MP4, WebM, MOV or GIF, or a folder or zip of PNG, JPG, TIFF or WebP frames"


@dataclass(frozen=True)
class TimedFrame:
    """One decoded frame: ``time`` and ``duration`` in seconds from the file's first frame, ``rgba`` (H,W,4) uint8."""

    time: float
    duration: float
    rgba: NDArray[np.uint8]


class Source(AbstractContextManager["Source"], Protocol):
    """An opened file. Zero ``frame_count``, ``seconds`` or ``fps`` means that nobody knows before it is decoded.

    size: (width, height) of upright frames of square pixels. damaged: frames that could not be decoded so far.
    missing: those that a series of pictures leaves out, by the numbers in its names.
    """

    name: str
    name_stem: str
    size: tuple[int, int]
    frame_count: int
    seconds: float
    fps: float
    damaged: int
    missing: int

    def frames(self, start_s: float, longest_side: int) -> Iterator[TimedFrame]:
        """Frames in order of time, from the first one at each call; those before ``start_s`` may be skipped. Opaque
        frames may come shrunk already."""
        ...


class Closing:
    """Sources that hold an open file close it at the end of a ``with`` block."""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""


def reason(error: BaseException) -> str:
    """An exception's first line, short enough to stand in a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).split("\n")[0].strip().rstrip(".")[:120]
