"""Writing videos that every browser plays: H.264, 4:2:0, index first, real timestamps."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from v2m4.errors import V2M4Error
from v2m4.files import replacing

_CLOCK_HZ = 90_000


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    times: Iterable[float],
    duration: float,
    *,
    crf: int = 18,
    tuning: str | None = None,
) -> None:
    """Write (H,W,3) uint8 ``frames``, each shown from its time in seconds on; the last one until ``duration``.

    Odd sides lose a pixel, which 4:2:0 cannot store. ``crf``: x264's constant quality, lower is better.
    ``tuning``: one of x264's tunes. Frames are read one at a time. Raises V2M4Error if nothing can be encoded.
    """
    starts = [round(t * _CLOCK_HZ) for t in times]
    ends = [*starts[1:], max(round(duration * _CLOCK_HZ), starts[-1] + 1)] if starts else []
    options = {"crf": str(crf), "preset": "veryfast"} | ({"tune": tuning} if tuning else {})
    try:
        with (
            replacing(path) as temporary,
            av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container,
        ):
            stream = None
            for picture, start, end in zip(frames, starts, ends, strict=True):
                height, width = (n - n % 2 for n in picture.shape[:2])
                if stream is None:
                    rate = Fraction(len(starts) * _CLOCK_HZ, ends[-1] - starts[0]).limit_denominator(1000)
                    stream = container.add_stream("libx264", rate=rate, options=options)
                    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                    stream.codec_context.time_base = Fraction(1, _CLOCK_HZ)
                    stream.codec_context.thread_count = 2
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                frame.pts, frame.time_base, frame.duration = start, Fraction(1, _CLOCK_HZ), end - start
                container.mux(stream.encode(frame))
            if stream is None:
                raise V2M4Error(f"There are no frames to write to {path}.")
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise V2M4Error(f"The video {path} could not be encoded: {error}.") from error
