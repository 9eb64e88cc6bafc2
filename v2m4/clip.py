"""The decoded clip: square RGBA frames on disk, read one at a time, so that memory does not grow with their number."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from v2m4.files import reading, write_atomically


@dataclass(frozen=True)
class Clip:
    """Frames ``folder/00000.png`` … of ``side`` x ``side`` pixels (RGBA, straight alpha) and when each is shown.

    times: seconds from the first frame, strictly increasing. duration: seconds, the last frame's own included.
    source_size: (width, height) of the upright frames in the file. scale: processed pixels per source pixel.
    offset: (x, y) of the source frame's corner in the square, in processed pixels; the rest is transparent padding.
    has_alpha: the file brought its own transparency.
    """

    folder: Path
    name: str
    times: tuple[float, ...]
    duration: float
    side: int
    source_size: tuple[int, int]
    scale: float
    offset: tuple[float, float]
    has_alpha: bool

    def __len__(self) -> int:
        return len(self.times)

    def path(self, index: int) -> Path:
        """Where frame ``index`` lies."""
        return self.folder / f"{index:05d}.png"

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index`` as (S,S,4) uint8, straight alpha, transparent in the padding."""
        with reading(self.path(index)), Image.open(self.path(index)) as image:
            return np.asarray(image.convert("RGBA"))

    def content_box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the true picture inside the square, in whole pixels."""
        width, height = (round(n * self.scale) for n in self.source_size)
        left, top = round(self.offset[0]), round(self.offset[1])
        return left, top, left + width, top + height

    def image_to_frame(self) -> NDArray[np.float64]:
        """(3,3) matrix from pixels of the square to pixels of the source frame."""
        s = 1.0 / self.scale
        return np.array([[s, 0, -self.offset[0] * s], [0, s, -self.offset[1] * s], [0, 0, 1]], dtype=np.float64)

    def save(self) -> None:
        """Write ``clip.json`` beside the frames."""
        data = asdict(self)
        data.pop("folder")
        write_atomically(self.folder / "clip.json", json.dumps(data, indent=1).encode())

    @staticmethod
    def load(folder: Path) -> Clip:
        """The clip whose frames and ``clip.json`` lie in ``folder``. Raises V2M4Error if they cannot be read."""
        with reading(folder / "clip.json"):
            data = json.loads((folder / "clip.json").read_text())
            tuples = {k: tuple(data[k]) for k in ("times", "source_size", "offset")}
            return Clip(folder=folder, **{**data, **tuples})
