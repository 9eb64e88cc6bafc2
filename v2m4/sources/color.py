"""A video's colours as sRGB: high dynamic range and wide primaries are mapped, the rest is only converted from YUV."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
from av.error import FFmpegError
from av.filter import Graph
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

from v2m4.errors import V2M4Error

# Recommendation ITU-R BT.2100's PQ and HLG, and light itself. The curves of ordinary video are shown as sRGB by all.
_FOREIGN_CURVES = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67, ColorTrc.LINEAR)
_WIDE = (ColorPrimaries.BT2020, ColorPrimaries.SMPTE431, ColorPrimaries.SMPTE432)
_TO_SRGB = "out_primaries=bt709:out_transfer=iec61966-2-1:intent=relative_colorimetric"


class SrgbConverter:
    """Turns frames like ``first`` into sRGB of 8 bits.

    PQ and HLG are read with their reference white (203 cd/m2, report ITU-R BT.2408) as sRGB's white, so that ordinary
    surfaces keep the colours they have in a standard recording; highlights above it are clipped, and colours outside
    sRGB's gamut moved to its border (FFmpeg's colour-managed scaler).
    """

    def __init__(self, first: av.VideoFrame) -> None:
        foreign = first.color_trc in _FOREIGN_CURVES
        self._mapped = foreign or first.color_primaries in _WIDE
        self._mapping = _TO_SRGB if foreign else f"in_transfer=iec61966-2-1:{_TO_SRGB}"
        self._graph: Graph | None = None
        self._made_for: tuple[object, ...] = ()

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H,W,4) RGBA of ``size`` = (width, height)."""
        if not self._mapped:
            picture = frame.reformat(width=size[0], height=size[1], format="rgba", interpolation="AREA")
            return np.asarray(picture.to_ndarray(), np.uint8)
        try:
            return self._through_filter(frame, size)
        except FFmpegError as error:
            raise V2M4Error(
                f"The colours of this video (transfer {frame.color_trc}, primaries {frame.color_primaries}) cannot be "
                "mapped to sRGB here. Export it as standard dynamic range (Rec. 709)."
            ) from error

    def _through_filter(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        made_for = (frame.width, frame.height, frame.format.name, *size)
        if self._graph is None or made_for != self._made_for:
            graph = Graph()
            steps = [
                graph.add_buffer(
                    width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
                ),
                graph.add("scale", f"w={size[0]}:h={size[1]}:flags=area:{self._mapping}"),
                graph.add("format", "rgba"),
                graph.add("buffersink"),
            ]
            for before, after in pairwise(steps):
                before.link_to(after)
            graph.configure()
            self._graph, self._made_for = graph, made_for
        self._graph.push(frame)
        converted = self._graph.pull()
        assert isinstance(converted, av.VideoFrame)
        return np.asarray(converted.to_ndarray(), np.uint8)
