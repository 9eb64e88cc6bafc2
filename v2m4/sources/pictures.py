"""Animated pictures, and folders and zips of pictures, decoded by Pillow."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from v2m4.errors import V2M4Error
from v2m4.sources.depth import to_rgba
from v2m4.sources.series import natural, places_in_time, series_of
from v2m4.sources.source import Closing, TimedFrame, reason

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_KINDS = "PNG, JPG or WebP pictures (nor TIFF or BMP)"
# What Pillow complains with, by way of its parsers where a file is cut off or damaged.
_COMPLAINTS = (
    *(OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, zipfile.BadZipFile),
    *(IndexError, KeyError, TypeError, OverflowError, NotImplementedError),
)
T = TypeVar("T")
_MAX_PICTURE_BYTES = 256 * 2**20
_ORIENTATION = 0x0112


class AnimationSource(Closing):
    """GIF, animated WebP or PNG, TIFF of many pages. Pillow composes partial frames and knows their delays."""

    def __init__(self, path: Path) -> None:
        self.name, self.name_stem, self.damaged, self.missing = path.name, path.stem, 0, 0
        self._image = _guarded(path.name, lambda: Image.open(path))
        try:
            self.frame_count = int(getattr(self._image, "n_frames", 1))
        except _COMPLAINTS:  # it is cut off, and reading tells where
            self.frame_count = 0
        first = _guarded(path.name, lambda: self._seek(0))
        self.size = (first.shape[1], first.shape[0])
        self.seconds = 0.0
        self.fps = 1 / self._delay()

    def close(self) -> None:
        """Release the file."""
        self._image.close()

    def _delay(self) -> float:
        """Seconds the current frame is shown. Browsers show delays of 10 ms or less as 100 ms; so do we."""
        milliseconds = float(self._image.info.get("duration", 0) or 0)
        return milliseconds / 1000 if milliseconds > 10 else 0.1

    def frames(self, start_s: float, longest_side: int) -> Iterator[TimedFrame]:
        """See `Source.frames`."""
        time, self.damaged = 0.0, 0
        for index in range(self.frame_count) if self.frame_count else count():
            try:
                rgba = _guarded(self.name, partial(self._seek, index))
            except V2M4Error:
                if index < 2:
                    raise
                # As a video that is cut off, it gives what comes before the cut.
                self.damaged = max(1, self.frame_count - index)
                return
            if (rgba.shape[1], rgba.shape[0]) != self.size:
                raise V2M4Error(f"The pages of {self.name} differ in size. Give frames of one size.")
            duration = self._delay()
            yield TimedFrame(time, duration, rgba)
            time += duration

    def _seek(self, index: int) -> NDArray[np.uint8]:
        self._image.seek(index)
        return _upright(self._image)


class PictureSource(Closing):
    """Pictures of one size, in natural order of their names (frame2 before frame10)."""

    def __init__(
        self,
        name: str,
        stem: str,
        pictures: list[str],
        read: Callable[[str], bytes],
        fps: float,
        close: Callable[[], None],
        others: str = "",
    ) -> None:
        """others: what lies beside the pictures, for the case that there are none."""
        self._within = name.replace("The folder", "the folder", 1)
        self.name, self.name_stem, self.damaged, self.missing = name, stem, 0, 0
        self._read, self.close = read, close  # type: ignore[method-assign]
        try:
            if fps <= 0:
                raise V2M4Error(f"Frames per second of pictures must be above 0, but is {fps:g}. 24 is usual.")
            if not pictures:
                raise V2M4Error(f"{name} holds no {_KINDS}{others}. Put the frames into it, numbered in order.")
            self._pictures = _one_series(name, pictures)
            self._places = places_in_time(self._pictures)
            self.fps, self.frame_count = fps, len(self._pictures)
            self.missing = self._places[-1] + 1 - self.frame_count
            self.seconds = (self._places[-1] + 1) / fps
            height, width = self._load(self._pictures[0]).shape[:2]
        except BaseException:
            close()
            raise
        self.size = (width, height)

    @classmethod
    def of_folder(cls, path: Path, fps: float) -> PictureSource:
        """The pictures in a folder; where it holds no two itself, those in the one folder inside it."""
        name = path.resolve().name
        try:
            pictures = [p.name for p in path.iterdir() if p.is_file() and _is_picture(p.name)]
            if len(pictures) < 2:
                below = [p for p in path.glob("*/*") if p.is_file() and _is_picture(p.name)]
                pictures = [f"{p.parent.name}/{p.name}" for p in below] or pictures
        except OSError as error:
            raise V2M4Error(f"Cannot read {path}: {error.strerror}. Check its permissions.") from error
        others = _others(p.name for p in path.iterdir())
        return cls(f"The folder {name}", name, pictures, lambda n: (path / n).read_bytes(), fps, lambda: None, others)

    @classmethod
    def of_zip(cls, path: Path, fps: float) -> PictureSource:
        """The pictures in a zip, in whatever folder inside it they lie."""
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise V2M4Error(f"{path.name} is a damaged zip file. Make it again from the folder of frames.") from error
        infos = [i for i in archive.infolist() if not i.is_dir() and _is_picture(i.filename)]
        if any(i.flag_bits & 1 for i in infos):
            archive.close()
            raise V2M4Error(f"{path.name} is locked with a password. Make a zip of the frames without one.")
        large = next((i for i in infos if i.file_size > _MAX_PICTURE_BYTES), None)
        if large is not None:
            archive.close()
            raise V2M4Error(f"{large.filename} in {path.name} unpacks to more than 256 MB. Shrink the pictures first.")
        # Of two files of one name, archives mean the later one.
        pictures = list(dict.fromkeys(i.filename for i in infos))
        others = _others(archive.namelist())
        return cls(path.name, path.stem, pictures, archive.read, fps, archive.close, others)

    def frames(self, start_s: float, longest_side: int) -> Iterator[TimedFrame]:
        """See `Source.frames`."""
        ends = [*self._places[1:], self._places[-1] + 1]
        for name, place, end in zip(self._pictures, self._places, ends, strict=True):
            if end / self.fps < start_s:
                continue
            rgba = self._load(name)
            if (rgba.shape[1], rgba.shape[0]) != self.size:
                raise V2M4Error(
                    f"The pictures in {self._within} differ in size: {self._pictures[0]} is "
                    f"{self.size[0]} x {self.size[1]}, {name} is {rgba.shape[1]} x {rgba.shape[0]}. "
                    "Give frames of one size."
                )
            yield TimedFrame(place / self.fps, (end - place) / self.fps, rgba)

    def _load(self, name: str) -> NDArray[np.uint8]:
        def decode() -> NDArray[np.uint8]:
            with Image.open(io.BytesIO(self._read(name))) as image:
                return _upright(image)

        return _guarded(f"{name} in {self._within}", decode)


def _others(names: Iterable[str]) -> str:
    """What is said of files that are no pictures, where there are only such."""
    paths = [PurePosixPath(name) for name in names]
    kinds = sorted({p.suffix.lower() for p in paths if p.suffix and "__MACOSX" not in p.parts} - set(PICTURE_SUFFIXES))
    return f", but {', '.join(kinds[:3])} files, which would have to be exported as such first" if kinds else ""


def _upright(image: Image.Image) -> NDArray[np.uint8]:
    """(H,W,4) of a picture, turned as its EXIF data asks for."""
    image.load()  # TIFF is turned by Pillow itself when it is loaded
    # Without an orientation, Pillow would return a copy that lacks the palette's details.
    return to_rgba(ImageOps.exif_transpose(image) if image.getexif().get(_ORIENTATION, 1) != 1 else image)


def _one_series(name: str, pictures: list[str]) -> list[str]:
    """The pictures in order. Raises V2M4Error where they are two or more series."""
    found = series_of(pictures)
    if len(found) == 1:
        return sorted(next(iter(found.values())), key=natural)
    shown = ", ".join(f"{pattern} ({len(names)})" for pattern, names in list(found.items())[:4])
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    raise V2M4Error(
        f"{name} holds {len(found)} series of pictures: {shown}{more}. Which one is the video? Put it into a folder of "
        "its own and give that."
    )


def _guarded(name: str, work: Callable[[], T]) -> T:
    """Run Pillow's ``work``; its many kinds of complaint become one sentence."""
    try:
        return work()
    except Image.DecompressionBombError as error:
        raise V2M4Error(f"{name} is a picture of far too many pixels. Shrink it first.") from error
    except UnidentifiedImageError as error:  # its own words hold addresses in memory
        raise V2M4Error(
            f"{name} cannot be decoded (it is empty, or no picture of a known kind). Replace it or export it again."
        ) from error
    except _COMPLAINTS as error:
        raise V2M4Error(f"{name} cannot be decoded ({reason(error)}). Replace it or export it again.") from error


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts
