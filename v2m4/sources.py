"""Readers of moving pictures: video files (PyAV), animated pictures (Pillow), folders and zips of pictures.

Each is a `Source`: facts from its header, and ``frames()``, which decodes them one at a time, upright.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from v2m4.errors import V2M4Error

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
VIDEO_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v", ".gif", ".zip")
_ACCEPTED = "an MP4, WebM, MOV or GIF, or a folder or zip of PNG, JPG or WebP frames"
_MAX_PICTURE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class TimedFrame:
    """One decoded frame: ``time`` and ``duration`` in seconds from the file's first frame, ``rgba`` (H,W,4) uint8."""

    time: float
    duration: float
    rgba: NDArray[np.uint8]


class Source(AbstractContextManager["Source"], Protocol):
    """An opened file. Zero ``frame_count``, ``seconds`` or ``fps`` means that the header does not say.

    size: (width, height) of upright frames of square pixels. damaged: frames that could not be decoded so far.
    """

    name: str
    name_stem: str
    size: tuple[int, int]
    frame_count: int
    seconds: float
    fps: float
    damaged: int

    def frames(self, start_s: float, longest_side: int) -> Iterator[TimedFrame]:
        """Frames in order of time; those before ``start_s`` may be skipped. Opaque frames may come shrunk already."""
        ...


def require_input(path: Path) -> None:
    """Raise V2M4Error unless there is a file or folder at ``path``."""
    if not path.exists():
        raise V2M4Error(f"There is no file or folder {path}. Check the path; a video can be {_ACCEPTED}.")


def open_source(path: Path, pictures_fps: float) -> Source:
    """The reader for ``path``, chosen by what the file holds rather than by its name."""
    require_input(path)
    if path.is_dir():
        return PictureSource.of_folder(path, pictures_fps)
    try:
        if path.stat().st_size == 0:
            raise V2M4Error(f"{path.name} is empty (0 bytes). Copy or download it again.")
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise V2M4Error(f"Cannot read {path}: {error.strerror}. Check its permissions.") from error
    if head[:4] == b"PK\x03\x04" or zipfile.is_zipfile(path):
        return PictureSource.of_zip(path, pictures_fps)
    if head[:3] == b"GIF" or head[:8] == b"\x89PNG\r\n\x1a\n" or head[8:12] == b"WEBP" or head[:3] == b"\xff\xd8\xff":
        return AnimationSource(path)
    return StreamSource(path)


class _Closing:
    """Sources that hold an open file close it at the end of a ``with`` block."""

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""


class StreamSource(_Closing):
    """A video file, decoded by FFmpeg through PyAV."""

    def __init__(self, path: Path) -> None:
        self.name, self.name_stem, self.damaged = path.name, path.stem, 0
        try:
            self._container = av.open(str(path))
        except (FFmpegError, OSError, ValueError) as error:
            raise V2M4Error(
                f"{path.name} is not a video that can be read ({_reason(error)}). Give {_ACCEPTED}."
            ) from error
        streams = [s for s in self._container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            sound = " only sound," if self._container.streams.audio else ""
            self.close()
            raise V2M4Error(f"{path.name} holds{sound} no moving picture. Give {_ACCEPTED}.")
        self._stream = streams[0]
        context = self._stream.codec_context
        if context is None or not context.width:
            self.close()
            raise V2M4Error(f"{path.name} is damaged or its format is unknown. Export it again, for example as MP4.")
        # Frames do not depend on the number of threads; more only cost memory at these sizes.
        context.thread_count = 2
        context.thread_type = "AUTO"
        self._first = self._peek(path)
        self._flips = _display_flips(self._first)
        shape = self._first.width * float(self._stream.sample_aspect_ratio or 1), float(self._first.height)
        width, height = round(shape[0]), round(shape[1])
        self.size = (height, width) if self._flips[0] else (width, height)
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else 0.0
        self.frame_count = int(self._stream.frames or 0)
        self.seconds = self._header_seconds()

    def close(self) -> None:
        """Release the file."""
        self._container.close()

    def _header_seconds(self) -> float:
        stream = self._stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return float(self._container.duration or 0) / 1e6

    def _peek(self, path: Path) -> av.VideoFrame:
        """The first frame, which alone knows the rotation; the file is rewound afterwards."""
        first = next(self._decode(), None)
        if first is None:
            self.close()
            raise V2M4Error(
                f"{path.name} holds no picture that can be decoded. It may be cut off or use a codec that is not "
                "supported here: export it again, for example as MP4 (H.264)."
            )
        self.damaged = 0
        self._rewind(0.0)
        return first

    def _rewind(self, start_s: float) -> None:
        stream = self._stream
        tick = float(stream.time_base or 1)
        try:
            self._container.seek(int(start_s / tick) + int(stream.start_time or 0), stream=stream)
        except FFmpegError:
            # Formats without an index are read from the start again.
            name = self._container.name
            self._container.close()
            self._container = av.open(name)
            self._stream = self._container.streams.video[0]

    def _decode(self) -> Iterator[av.VideoFrame]:
        decoder = _alpha_decoder(self._stream) or self._stream.codec_context
        decoder.flush_buffers() if decoder.is_open else None
        for packet in self._container.demux(self._stream):
            try:
                yield from decoder.decode(packet)
            except FFmpegError:
                self.damaged += 1

    def frames(self, start_s: float, longest_side: int) -> Iterator[TimedFrame]:
        """See `Source.frames`. Opaque frames are shrunk while their colours are converted."""
        if start_s > 1:
            self._rewind(start_s)
        tick = float(self._stream.time_base or 1)
        origin = float(self._stream.start_time or 0) * tick
        step = 1 / self.fps if self.fps else 1 / 24
        time = -step
        for frame in self._decode():
            time = frame.pts * tick - origin if frame.pts is not None else time + step
            duration = float(frame.duration or 0) * tick or step
            yield TimedFrame(time, duration, self._upright(frame, longest_side))

    def _upright(self, frame: av.VideoFrame, longest_side: int) -> NDArray[np.uint8]:
        transposed, flip_x, flip_y = self._flips
        size = self.size[::-1] if transposed else self.size
        if _has_alpha_plane(frame):
            picture = frame.to_ndarray(format="rgba")
            if (frame.width, frame.height) != size:
                import cv2

                picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        else:
            scale = min(1.0, longest_side / max(size))
            width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
            rgb = frame.reformat(width=width, height=height, format="rgba", interpolation="AREA")
            picture = rgb.to_ndarray()
        if transposed:
            picture = picture.transpose(1, 0, 2)
        return np.ascontiguousarray(picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def _has_alpha_plane(frame: av.VideoFrame) -> bool:
    return any(c.is_alpha for c in frame.format.components)


def _alpha_decoder(stream: Any) -> Any | None:
    """FFmpeg's own VP8/VP9 decoders ignore the alpha plane of WebM; libvpx reads it."""
    codec = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    marked = stream.metadata.get("alpha_mode") or stream.metadata.get("ALPHA_MODE")
    if codec is None or marked != "1":
        return None
    decoder = av.CodecContext.create(codec, "r")
    decoder.extradata = stream.codec_context.extradata
    return decoder


def _display_flips(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose first, then mirror x, then mirror y) that turn the stored picture upright, from its display matrix.

    The matrix (a, b, u, c, d, v, x, y, w), 16.16 fixed point, sends (p, q) to (a p + c q, b p + d q), as
    libavutil/display.h defines it.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(data, dtype=np.int32)[:5]  # type: ignore[call-overload]
    if abs(int(b)) > abs(int(a)):
        return True, bool(c < 0), bool(b < 0)
    return False, bool(a < 0), bool(d < 0)


class AnimationSource(_Closing):
    """GIF, animated WebP or PNG, decoded by Pillow, which composes partial frames and knows their delays."""

    def __init__(self, path: Path) -> None:
        self.name, self.name_stem, self.damaged = path.name, path.stem, 0
        self._image = _guarded(path.name, lambda: Image.open(path))
        self.size = self._image.size
        self.frame_count = int(getattr(self._image, "n_frames", 1))
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
        time = 0.0
        for index in range(self.frame_count):
            rgba = _guarded(self.name, partial(self._seek, index))
            duration = self._delay()
            yield TimedFrame(time, duration, rgba)
            time += duration

    def _seek(self, index: int) -> NDArray[np.uint8]:
        self._image.seek(index)
        return np.asarray(self._image.convert("RGBA"))


class PictureSource(_Closing):
    """Pictures of one size, in natural order of their names (frame2 before frame10)."""

    def __init__(self, name: str, stem: str, pictures: list[str], read: Callable[[str], bytes], fps: float) -> None:
        if fps <= 0:
            raise V2M4Error(f"Frames per second of pictures must be above 0, but is {fps:g}. 24 is usual.")
        if not pictures:
            raise V2M4Error(f"{name} holds no PNG, JPG or WebP pictures. Put the frames into it, numbered in order.")
        self.name, self.name_stem, self.damaged = name, stem, 0
        self._pictures = sorted(pictures, key=_natural)
        self._read = read
        self.fps, self.frame_count = fps, len(pictures)
        self.seconds = len(pictures) / fps
        height, width = self._load(self._pictures[0]).shape[:2]
        self.size = (width, height)

    @classmethod
    def of_folder(cls, path: Path, fps: float) -> PictureSource:
        """The pictures in a folder (not in folders inside it)."""
        pictures = [p.name for p in path.iterdir() if p.is_file() and _is_picture(p.name)]
        name = path.resolve().name
        return cls(f"The folder {name}", name, pictures, lambda n: (path / n).read_bytes(), fps)

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
        source = cls(path.name, path.stem, [i.filename for i in infos], archive.read, fps)
        source.close = archive.close  # type: ignore[method-assign]
        return source

    def frames(self, start_s: float, longest_side: int) -> Iterator[TimedFrame]:
        """See `Source.frames`."""
        for index, name in enumerate(self._pictures):
            if (index + 1) / self.fps < start_s:
                continue
            rgba = self._load(name)
            if (rgba.shape[1], rgba.shape[0]) != self.size:
                raise V2M4Error(
                    f"The pictures in {self.name} differ in size: {self._pictures[0]} is "
                    f"{self.size[0]} x {self.size[1]}, {name} is {rgba.shape[1]} x {rgba.shape[0]}. "
                    "Give frames of one size."
                )
            yield TimedFrame(index / self.fps, 1 / self.fps, rgba)

    def _load(self, name: str) -> NDArray[np.uint8]:
        def decode() -> NDArray[np.uint8]:
            with Image.open(io.BytesIO(self._read(name))) as image:
                return np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))

        return _guarded(f"{name} in {self.name}", decode)


def _guarded(name: str, work: Callable[[], Any]) -> Any:
    """Run Pillow's ``work``; its many kinds of complaint become one sentence."""
    try:
        return work()
    except Image.DecompressionBombError as error:
        raise V2M4Error(f"{name} is a picture of far too many pixels. Shrink it first.") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, zipfile.BadZipFile) as error:
        raise V2M4Error(f"{name} cannot be decoded ({_reason(error)}). Replace it or export it again.") from error


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).split("\n")[0].strip().rstrip(".")[:120]


def _is_picture(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    return base.lower().endswith(PICTURE_SUFFIXES) and not base.startswith(".") and "__MACOSX" not in name


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(t), "") if t.isdigit() else (1, 0, t.lower()) for t in re.split(r"(\d+)", name) if t]
