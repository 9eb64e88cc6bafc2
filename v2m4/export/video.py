"""Writing videos that every browser plays: H.264, 4:2:0, index first, real timestamps; VP9 where they show through."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from v2m4.errors import V2M4Error
from v2m4.files import replacing

_CLOCK_HZ = 90_000  # the clock of MPEG streams


class VideoWriter:
    """Writes pictures one at a time; the file appears when the ``with`` block ends well.

    times: seconds at which each picture is shown, ascending. duration: seconds until the last one ends.
    codec: h264 in an mp4, or vp9 with transparency in a webm. crf: constant quality, lower is better. Encoding problems
    become V2M4Error.
    """

    def __init__(
        self,
        path: Path,
        times: Sequence[float],
        duration: float,
        *,
        codec: Literal["h264", "vp9"] = "h264",
        crf: int = 18,
    ) -> None:
        if not times:
            raise V2M4Error(f"There are no frames to write to {path}.")
        self._path = path
        self._starts = [round(t * _CLOCK_HZ) for t in times]
        self._ends = [*self._starts[1:], max(round(duration * _CLOCK_HZ), self._starts[-1] + 1)]
        self._durations = {start: end - start for start, end in zip(self._starts, self._ends, strict=True)}
        # Without B-frames packets come in the order of display, and the last one's duration is the last picture's.
        # x264's macroblock tree reads what earlier encodings left behind, so that equal pictures give unequal bytes.
        self._options = {"crf": str(crf), "preset": "veryfast", "bf": "0", "x264-params": "mbtree=0"}
        self._transparent = codec == "vp9"
        if self._transparent:  # the encoder keeps no transparency in frames that are never shown
            self._options = {"crf": str(crf), "b": "0", "auto-alt-ref": "0", "deadline": "good", "cpu-used": "4"}
        self._count = 0

    def __enter__(self) -> VideoWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self._path))
            options = {} if self._transparent else {"movflags": "+faststart"}
            kind = "webm" if self._transparent else "mp4"
            self._container = stack.enter_context(av.open(str(temporary), "w", format=kind, options=options))
            rate = Fraction(len(self._starts) * _CLOCK_HZ, self._ends[-1] - self._starts[0]).limit_denominator(1000)
            self._stream = self._container.add_stream(
                "libvpx-vp9" if self._transparent else "libx264", rate=rate, options=self._options
            )
            self._stream.pix_fmt = "yuva420p" if self._transparent else "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, _CLOCK_HZ)
            self._stack = stack.pop_all()
        return self

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Append an (H,W,3) uint8 sRGB picture, (H,W,4) with straight alpha for vp9; an odd side loses a pixel, which
        4:2:0 cannot store."""
        height, width = (n - n % 2 for n in picture.shape[:2])
        if self._count == 0:
            self._stream.width, self._stream.height = width, height
        start, end = self._starts[self._count], self._ends[self._count]
        layout = "rgba" if self._transparent else "rgb24"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format=layout)
        frame.pts, frame.time_base, frame.duration = start, Fraction(1, _CLOCK_HZ), end - start
        self._encode(frame)
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._encode(None)
        except BaseException:
            self._stack.__exit__(V2M4Error, V2M4Error("encoding failed"), None)
            raise
        self._stack.__exit__(kind, error, traceback)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                assert packet.pts is not None
                packet.duration = self._durations[packet.pts]
                self._container.mux(packet)
        except OSError:  # `replacing` says what the file system refused
            raise
        except av.FFmpegError as error:
            raise V2M4Error(f"The video {self._path} could not be encoded: {error}.") from error
