"""Animated pictures and zips of pictures as a video that browsers play, transparency kept."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from v2m4.errors import V2M4Error
from v2m4.files import replacing
from v2m4.settings import VideoSettings
from v2m4.sources import open_source
from v2m4.video import fit, probe

SERIES = (".gif", ".webp", ".png", ".apng", ".tif", ".tiff", ".zip")
_CLOCK_HZ = 1000
_QUALITY = {"crf": "12", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1", "auto-alt-ref": "0"}


def playable(series: Path, folder: Path, settings: VideoSettings) -> Path:
    """``series`` as ``folder``/NAME.webm (VP9, with an alpha plane where it is transparent), at most
    ``settings.longest_side`` pixels a side.

    Raises V2M4Error for what cannot be read, or has more frames than ``settings.max_frames``.
    """
    facts = probe(series, settings)
    scale = min(1.0, settings.longest_side / max(facts.size))
    width, height = (max(2, round(side * scale) // 2 * 2) for side in facts.size)
    target = folder / f"{series.stem}.webm"
    with (
        open_source(series, settings.pictures_fps) as source,
        replacing(target) as temporary,
        av.open(str(temporary), "w", format="webm") as container,
    ):
        stream = container.add_stream("libvpx-vp9", rate=Fraction(facts.fps).limit_denominator(1000), options=_QUALITY)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuva420p" if facts.has_alpha else "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK_HZ)
        if facts.has_alpha:
            stream.metadata["alpha_mode"] = "1"
        last = -1
        for count, moment in enumerate(source.frames(0.0, settings.longest_side)):
            if count == settings.max_frames:
                raise V2M4Error(f"{series.name} has more than {settings.max_frames} frames. Give fewer of them.")
            last = max(round(_CLOCK_HZ * moment.time), last + 1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(fit(moment.rgba, (width, height))), format="rgba")
            frame.pts, frame.time_base = last, Fraction(1, _CLOCK_HZ)
            frame.duration = max(1, round(_CLOCK_HZ * moment.duration))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target
