"""Video files, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.error import FFmpegError
from av.filter import Graph
from numpy.typing import NDArray

from v2m4.errors import V2M4Error
from v2m4.sources.aperture import Aperture, aperture_of
from v2m4.sources.color import SrgbConverter
from v2m4.sources.source import ACCEPTED, Closing, TimedFrame, reason

# Containers whose index tells truly where a frame that starts a group of pictures lies.
_INDEXED = ("mov,mp4", "matroska")
_SEEK_MARGIN_S = 1.0
# What an MP4 or MOV may begin with.
_FIRST_BOXES = (b"ftyp", b"wide", b"mdat", b"free", b"skip")
# FFmpeg's side data that PyAV knows by name ends here; of later kinds FFmpeg itself knows fewer than so many.
_FIRST_UNNAMED, _UNNAMED = 28, 36


class StreamSource(Closing):
    """A video file. Its frames are counted without decoding them where its header does not tell their number."""

    def __init__(self, path: Path) -> None:
        self.name, self.name_stem, self.damaged, self.missing = path.name, path.stem, 0, 0
        # An absolute name cannot be taken for an address, whatever colons it holds.
        self._path = path.absolute()
        self._open()
        self._first = self._peek()
        self._flips = _display_flips(self._first)
        try:
            self._srgb = SrgbConverter(self._first)
        except ValueError as error:
            self.close()
            raise V2M4Error(
                f"{self.name} cannot be read: {error}. Export it again with ordinary colours (BT.709)."
            ) from error
        order = self._container.streams.video.index(self._stream)
        stored = self._first.width, self._first.height
        cut = self._aperture = aperture_of(self._path, self._stream.id, order, stored)
        shown = stored[0] - cut.left - cut.right, stored[1] - cut.top - cut.bottom
        shape = shown[0] * float(self._stream.sample_aspect_ratio or 1), float(shown[1])
        width, height = max(1, round(shape[0])), round(shape[1])
        self.size = (height, width) if self._flips[0] else (width, height)
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else 0.0
        self._tick = float(self._stream.time_base or 1)
        first = self._first.pts if self._first.pts is not None else self._stream.start_time
        self._origin = float(first or 0) * self._tick
        self.frame_count, self.seconds = self._length()

    def close(self) -> None:
        """Release the file."""
        self._container.close()

    def _open(self) -> None:
        """Open the file from its start."""
        try:
            # A playlist may name other files, but nothing beyond this machine.
            self._container = av.open(str(self._path), options={"protocol_whitelist": "file"})
        except (FFmpegError, OSError, ValueError) as error:
            if _has_no_index(self._path):
                raise V2M4Error(
                    f"{self.name} is cut off: the index at its end is missing, as when a recording or a download was "
                    "stopped. Copy or download it again."
                ) from error
            raise V2M4Error(
                f"{self.name} is not a video that can be read ({reason(error)}). Give {ACCEPTED}."
            ) from error
        streams = [s for s in self._container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            sound = " only sound," if self._container.streams.audio else ""
            self.close()
            raise V2M4Error(f"{self.name} holds{sound} no moving picture. Give {ACCEPTED}.")
        self._stream = streams[0]
        context = self._stream.codec_context
        if context is None or not context.width:
            self.close()
            raise V2M4Error(f"{self.name} is damaged or its format is unknown. Export it again, for example as MP4.")
        # Without this, FFmpeg leaves in the picture what the codec's own cropping cuts off at the left.
        context.flags |= Flags.unaligned
        # Threads that each decode a frame would lose good ones beside one that is damaged.
        context.thread_count = 2
        context.thread_type = "SLICE"

    def _reopen(self) -> None:
        """Go back to the start. Seeking would lose the frames before the first index entry of many containers."""
        self.close()
        self._open()

    def _peek(self) -> av.VideoFrame:
        """The first frame, which alone knows rotation, colour space and when the pictures begin."""
        first = next(self._decode(), None)
        if first is None:
            self.close()
            raise V2M4Error(
                f"{self.name} holds no picture that can be decoded. It may be cut off or use a codec that is not "
                "supported here: export it again, for example as MP4 (H.264)."
            )
        return first

    def _length(self) -> tuple[int, float]:
        """Number of frames and seconds: the header's where it tells both of this stream, else counted packets."""
        stream = self._stream
        if stream.frames and stream.duration:
            return int(stream.frames), float(stream.duration) * self._tick
        self._reopen()
        count, end = 0, -math.inf
        try:
            for packet in self._container.demux(self._stream):
                if not packet.size:
                    continue
                count += 1
                if packet.pts is not None:
                    end = max(end, float(packet.pts + (packet.duration or 0)) * self._tick - self._origin)
        except FFmpegError:
            pass  # what lies before the damage counts; decoding meets it again and says so
        if end <= 0:
            end = count / self.fps if self.fps else 0.0
        return count, end

    def _decode(self) -> Iterator[av.VideoFrame]:
        decoder = _alpha_decoder(self._stream) or self._stream.codec_context
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except FFmpegError:  # the container is damaged from here on
                self.damaged += 1
                break
            # Theora and others say "as before" by an empty packet, which a decoder takes for the end of all.
            if packet.size:
                try:
                    yield from decoder.decode(packet)
                except FFmpegError:
                    self.damaged += 1
        try:
            yield from decoder.decode(None)  # what the decoder still holds back
        except FFmpegError:
            self.damaged += 1

    def _decode_from(self, start_s: float) -> Iterator[av.VideoFrame]:
        """All frames from ``start_s`` on, and maybe some before. Seeks only where the landing can be trusted."""
        self._reopen()
        self.damaged = 0
        if start_s > 2 * _SEEK_MARGIN_S and self._container.format.name.startswith(_INDEXED):
            goal = start_s - _SEEK_MARGIN_S
            try:
                self._container.seek(int((goal + self._origin) / self._tick), stream=self._stream)
                frames = self._decode()
                first = next(frames, None)
            except FFmpegError:
                first = None
            if first is not None and first.pts is not None and first.pts * self._tick - self._origin <= goal:
                yield first
                yield from frames
                return
            self._reopen()
            self.damaged = 0
        yield from self._decode()

    def frames(self, start_s: float, longest_side: int) -> Iterator[TimedFrame]:
        """See `Source.frames`. Opaque frames are shrunk while their colours are converted."""
        step = 1 / self.fps if self.fps else 1 / 24
        time = -step
        decoded = self._decode_from(start_s)
        whole = progressive(decoded) if self._first.interlaced_frame else decoded
        for frame in cropped(whole, self._aperture) if any(self._aperture) else whole:
            time = frame.pts * self._tick - self._origin if frame.pts is not None else time + step
            duration = float(frame.duration or 0) * self._tick or step
            if time + duration < start_s:
                continue
            yield TimedFrame(time, duration, self._upright(frame, longest_side))

    def _upright(self, frame: av.VideoFrame, longest_side: int) -> NDArray[np.uint8]:
        transposed, flip_x, flip_y = self._flips
        size = self.size[::-1] if transposed else self.size
        if _has_alpha_plane(frame):
            picture = self._srgb(frame, (frame.width, frame.height))
            if (frame.width, frame.height) != size:
                picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        else:
            scale = min(1.0, longest_side / max(size))
            picture = self._srgb(frame, (max(1, round(size[0] * scale)), max(1, round(size[1] * scale))))
        if transposed:
            picture = picture.transpose(1, 0, 2)
        return np.ascontiguousarray(picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def cropped(frames: Iterator[av.VideoFrame], cut: Aperture) -> Iterator[av.VideoFrame]:
    """The ``frames`` without what ``cut`` takes off each side; frames of another size than the first stay whole."""
    graph: Graph | None = None
    shape: tuple[object, ...] = ()
    for frame in frames:
        if graph is None:
            shape = (frame.width, frame.height, frame.format.name)
            graph = Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            )
            size = f"{frame.width - cut.left - cut.right}:{frame.height - cut.top - cut.bottom}"
            crop = graph.add("crop", f"{size}:{cut.left}:{cut.top}:exact=1")
            graph.link_nodes(source, crop, graph.add("buffersink"))
            graph.configure()
        if (frame.width, frame.height, frame.format.name) != shape:
            yield frame
            continue
        graph.push(frame)
        smaller = graph.pull()
        assert isinstance(smaller, av.VideoFrame)
        yield smaller


def progressive(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Interlaced ``frames`` with whole pictures in place of their two fields, by FFmpeg's bwdif; the times stay.

    In each frame the lines of one field are kept, and the others, which were filmed half a frame apart, are
    interpolated. Frames of another size or format than the first are left as they are.
    """
    graph: Graph | None = None
    times: deque[tuple[int | None, int]] = deque()

    def pull(graph: Graph) -> Iterator[av.VideoFrame]:
        while times:
            try:
                frame = graph.pull()
            except (BlockingIOError, EOFError):
                return
            assert isinstance(frame, av.VideoFrame)
            # The filter counts time in steps of its own.
            frame.pts, frame.duration = times.popleft()
            yield frame

    shape: tuple[object, ...] = ()
    for frame in frames:
        if graph is None:
            shape = (frame.width, frame.height, frame.format.name)
            graph = Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            )
            graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
            graph.configure()
        if (frame.width, frame.height, frame.format.name) != shape:
            yield frame
            continue
        times.append((frame.pts, frame.duration or 0))
        graph.push(frame)
        yield from pull(graph)
    if graph is not None:
        graph.push(None)
        yield from pull(graph)


def _has_no_index(path: Path) -> bool:
    """Whether ``path`` is an MP4 or MOV that ends before the box that tells where its frames are (moov)."""
    with path.open("rb") as file:
        found: list[bytes] = []
        while len(head := file.read(8)) == 8:
            size, header = int.from_bytes(head[:4], "big"), 8
            found.append(head[4:])
            if found[0] not in _FIRST_BOXES or b"moov" in found:
                return False
            if size == 1:  # the size follows, in 8 bytes
                size, header = int.from_bytes(file.read(8), "big"), 16
            if size < header:
                break
            file.seek(size - header, 1)
    return bool(found)


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
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # some side data is of a kind that PyAV has no name for
        data = _without_unnamed(frame).side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(data, dtype=np.int32)[:5]  # type: ignore[call-overload]
    if abs(int(b)) > abs(int(a)):
        return True, bool(c < 0), bool(b < 0)
    return False, bool(a < 0), bool(d < 0)


def _without_unnamed(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame without side data of kinds that PyAV has no name for, which FFmpeg knows by number."""
    graph = Graph()
    base = frame.time_base
    last = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    for number in range(_FIRST_UNNAMED, _FIRST_UNNAMED + _UNNAMED):
        drop = graph.add("sidedata", f"mode=delete:type={number}")
        last.link_to(drop)
        last = drop
    last.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    cleaned = graph.pull()
    assert isinstance(cleaned, av.VideoFrame)
    return cleaned
