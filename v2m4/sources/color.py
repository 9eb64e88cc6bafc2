"""A video's colours as sRGB: high dynamic range and wide primaries are mapped, the rest is only converted from YUV."""

from __future__ import annotations

from functools import cache

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from numpy.typing import NDArray

from v2m4.arrays import Float32
from v2m4.color import linear_to_srgb, srgb_to_linear

# Recommendation ITU-R BT.2100's PQ and HLG, and light itself. The curves of ordinary video are shown as sRGB by all.
_FOREIGN_CURVES = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67, ColorTrc.LINEAR)
_D65, _DCI = (0.3127, 0.3290), (0.314, 0.351)
_REC_709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
# Chromaticities of red, green, blue and white: BT.2020, and P3 with the white of cinemas and of screens.
_WIDE = {
    ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    ColorPrimaries.SMPTE431: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    ColorPrimaries.SMPTE432: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
_WHITE_NITS = 203.0  # report ITU-R BT.2408: what a white surface has in PQ, and in HLG on its screen of 1000 cd/m2
_HLG_NITS, _HLG_GAMMA = 1000.0, 1.2
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_KNEE = 0.87  # light from which on highlights are compressed; a white surface then has level 245 of 255
_LEVELS = 65536
# Matrices of colours by their numbers in ITU-T H.273 (table 4): first those that FFmpeg's scaler knows.
_OF_709, _UNSPECIFIED, _OF_2020 = 1, 2, 9
_RESERVED, _YCGCO, _BY_PRIMARIES = 3, 8, 12
_UNREADABLE = {
    10: "BT.2020 with constant luminance",
    11: "SMPTE ST 2085",
    13: "constant luminance by its primaries",
    14: "ICtCp",
    15: "IPT-C2",
    16: "reversible YCgCo",
    17: "reversible YCgCo",
}


class SrgbConverter:
    """Turns frames like ``first`` into sRGB of 8 bits.

    PQ and HLG are read with their reference white as sRGB's white, so that ordinary surfaces keep the colours they have
    in a standard recording to within 10 levels; highlights, up to what HLG can hold, share the levels above. Colours
    outside sRGB's gamut are moved to its border. Raises ValueError for a matrix of colours that cannot be read.
    """

    def __init__(self, first: av.VideoFrame) -> None:
        _name_matrix(first)
        self._curve = ColorTrc(first.color_trc) if first.color_trc in _FOREIGN_CURVES else None
        self._primaries = ColorPrimaries(first.color_primaries) if first.color_primaries in _WIDE else None

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H,W,4) RGBA of ``size`` = (width, height)."""
        mapped = self._curve is not None or self._primaries is not None
        _name_matrix(frame)
        if frame.colorspace == _YCGCO:
            picture = _from_ycgco(frame, size)
            if not mapped:
                return (picture >> 8).astype(np.uint8)
        else:
            form = "rgba64le" if mapped else "rgba"
            reformatted = frame.reformat(width=size[0], height=size[1], format=form, interpolation="AREA")
            if not mapped:
                return np.asarray(reformatted.to_ndarray(), np.uint8)
            picture = np.asarray(reformatted.to_ndarray(), np.uint16)
        light = _light_of(self._curve)[picture[..., :3]]
        if self._curve == ColorTrc.ARIB_STD_B67:
            # The screen's light depends on how bright the scene is (BT.2100's OOTF).
            luma = np.maximum(light @ _LUMA_2020, 1e-6)
            light *= (_HLG_NITS / _WHITE_NITS * luma ** (_HLG_GAMMA - 1))[..., None]
        if self._primaries is not None:
            light = light @ _to_rec_709(self._primaries).T
        if self._curve is not None:
            light = compress_highlights(light)
        rgb = (linear_to_srgb(light.clip(0, 1)) * 255).round()
        return np.dstack([rgb, picture[..., 3:] >> 8]).astype(np.uint8)


def _name_matrix(frame: av.VideoFrame) -> None:
    """Give the frame's matrix of colours a name that FFmpeg's scaler knows, where there is an equal one."""
    matrix = int(frame.colorspace)
    if matrix in _UNREADABLE:
        raise ValueError(f"its colours are stored as {_UNREADABLE[matrix]}")
    if matrix == _RESERVED:
        frame.colorspace = _UNSPECIFIED
    elif matrix == _BY_PRIMARIES:
        wide = frame.color_primaries == ColorPrimaries.BT2020
        frame.colorspace = _OF_2020 if wide else _OF_709


def _from_ycgco(frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint16]:
    """(H,W,4) RGBA of 16 bits: green is Y + Cg, and what that leaves differs by Co (H.273, equations 59-62)."""
    frame.colorspace = _OF_709  # scaled as they are: the scaler need not know what the planes mean
    stored = frame.reformat(
        width=size[0],
        height=size[1],
        format="yuva444p16le",
        interpolation="AREA",
        dst_color_range=ColorRange.JPEG,
    )
    frame.colorspace = _YCGCO
    planes = [
        np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, : plane.width].astype(np.int32)
        for plane in stored.planes
    ]
    luma, green, orange = planes[0], planes[1] - _LEVELS // 2, planes[2] - _LEVELS // 2
    rest = luma - green
    rgb = np.stack([rest + orange, luma + green, rest - orange], axis=-1).clip(0, _LEVELS - 1)
    return np.dstack([rgb, planes[3]]).astype(np.uint16)


def compress_highlights(light: Float32) -> Float32:
    """Linear light (…,3), 1 = white surface, with what is brighter than `_KNEE` brought below 1, its hue unchanged.

    The largest channel runs along a logarithm that continues the straight part with its slope and is 1 at HLG's peak:
    equal ratios of light, which look equally far apart, get about equal steps.
    """
    room = np.float32(1 - _KNEE)
    most = np.maximum(light.max(-1, keepdims=True), 1e-6)
    steepness = _steepness((_HLG_NITS / _WHITE_NITS - _KNEE) / float(room))
    shoulder = _KNEE + room * np.log1p(steepness * np.maximum(most - _KNEE, 0) / room) / np.float32(steepness)
    return np.asarray(light * np.where(most > _KNEE, np.minimum(shoulder, 1) / most, 1), np.float32)


@cache
def _steepness(peak: float) -> float:
    """s with log(1 + s peak) / s = 1, so that log(1 + s x) / s has slope 1 at 0 and value 1 at ``peak`` > 1."""
    s = 1.0
    for _ in range(60):
        s = float(np.log1p(s * peak))
    return s


@cache
def _light_of(curve: ColorTrc | None) -> Float32:
    """(65536,) linear light of each 16-bit signal, 1 = white surface (HLG: the scene's, up to 1)."""
    signal = light = np.linspace(0, 1, _LEVELS)
    if curve == ColorTrc.SMPTE2084:
        root = signal ** (32 / 2523)
        light = (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
        light *= 10000 / _WHITE_NITS
    elif curve == ColorTrc.ARIB_STD_B67:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    elif curve is None:
        light = np.asarray(srgb_to_linear(signal))
    return light.astype(np.float32)


@cache
def _to_rec_709(primaries: ColorPrimaries) -> Float32:
    """(3,3) from linear light of wide primaries to Rec. 709's, white to white."""
    matrix = np.linalg.inv(_to_xyz(_REC_709)) @ _to_xyz(_WIDE[primaries])
    return np.asarray(matrix / matrix.sum(1, keepdims=True), np.float32)


def _to_xyz(corners: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """(3,3) from linear RGB of chromaticities (red, green, blue, white) to XYZ, as SMPTE RP 177 derives it."""
    *colors, white = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in corners]
    matrix = np.stack(colors, axis=1)
    return np.asarray(matrix * np.linalg.solve(matrix, white), np.float64)
