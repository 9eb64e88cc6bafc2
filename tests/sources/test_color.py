"""High dynamic range and wide primaries become the sRGB colours that were filmed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from v2m4.color import linear_to_srgb, srgb_to_linear
from v2m4.errors import V2M4Error
from v2m4.events import drain
from v2m4.settings import VideoSettings
from v2m4.sources import open_source
from v2m4.sources.color import compress_highlights
from v2m4.video import load_video

COLOURS = np.array([(200, 205, 190), (200, 60, 40), (40, 80, 200), (30, 120, 50)])
# Linear Rec. 709 to Rec. 2020 (recommendation ITU-R BT.2087).
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])
WHITE_NITS = 203.0  # report ITU-R BT.2408


def pq(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse electro-optical transfer function of SMPTE ST 2084."""
    y = (nits / 10000) ** (1305 / 8192)
    return ((107 / 128 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def hlg(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100's HLG for a display of 1000 cd/m2, whose system gamma is 1.2."""
    display = nits / 1000
    scene = display * np.maximum(display @ LUMA_2020, 1e-6)[..., None] ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-6)) + c)


def standard(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ordinary video: its code values are shown by sRGB's curve, as all players do."""
    return linear_to_srgb(nits / WHITE_NITS)


def write(
    path: Path, signal: NDArray[np.float64], transfer: ColorTrc, primaries: ColorPrimaries = ColorPrimaries.BT2020
) -> Path:
    """Four colours side by side as HEVC of 10 bits, Rec. 2020; ``signal`` (4,3) are non-linear R'G'B'."""
    luma = signal @ LUMA_2020
    blue, red = (signal[:, 2] - luma) / 1.8814, (signal[:, 0] - luma) / 1.4746
    rows = (64 + 876 * luma, 512 + 896 * blue, 512 + 896 * red)
    y = np.tile(np.repeat(rows[0], 32), (64, 1))
    u, v = (np.tile(np.repeat(row, 16), (32, 1)) for row in rows[1:])
    planes = np.concatenate([y.ravel(), u.ravel(), v.ravel()]).round().astype(np.uint16).reshape(96, 128)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=12, options={"crf": "8", "x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, primaries, 9
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p10le")
            frame.pts, frame.time_base = index, Fraction(1, 12)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("curve", "transfer"),
    [(hlg, ColorTrc.ARIB_STD_B67), (pq, ColorTrc.SMPTE2084), (standard, ColorTrc.BT2020_10)],
)
@pytest.mark.parametrize("longest_side", [128, 64])
def test_rec_2020_becomes_the_filmed_srgb(tmp_path, curve, transfer, longest_side):
    light = srgb_to_linear(COLOURS / 255) @ TO_2020.T * WHITE_NITS
    path = write(tmp_path / "phone.mov", curve(light), transfer)
    clip = drain(load_video(path, tmp_path / "frames", VideoSettings(longest_side=longest_side)))
    step = longest_side // 4
    seen = clip.frame(1)[longest_side // 2, step // 2 :: step, :3].astype(int)
    assert np.abs(seen - COLOURS).mean() < 10


def seen_colours(path: Path, folder: Path) -> NDArray[np.int64]:
    """(4,3) levels of the four colours."""
    clip = drain(load_video(path, folder, VideoSettings(longest_side=128)))
    return clip.frame(1)[64, 16::32, :3].astype(int)


@pytest.mark.parametrize(("curve", "transfer"), [(hlg, ColorTrc.ARIB_STD_B67), (pq, ColorTrc.SMPTE2084)])
def test_highlights_keep_their_differences_and_white_stays_near_white(tmp_path, curve, transfer):
    lights = np.array([1.0, 1.6, 2.6, 4.5])[:, None] * [1.0, 1.0, 0.9] @ TO_2020.T * WHITE_NITS
    seen = seen_colours(write(tmp_path / "phone.mov", curve(lights), transfer), tmp_path / "frames")
    assert (np.diff(seen[:, 0]) >= 2).all()
    assert 244 <= seen[0, 0] < seen[3, 0] <= 255
    # The hue of the highlights is that of the surface.
    assert (seen[:, 0] - seen[:, 2] >= 5).all()


@given(levels=st.tuples(*[st.integers(0, 255)] * 3))
def test_no_colour_of_the_standard_range_moves_by_more_than_ten_levels(levels):
    light = srgb_to_linear(np.array([levels], np.float32) / 255)
    moved = linear_to_srgb(compress_highlights(light)) * 255
    assert np.abs(moved - levels).max() <= 10


@given(low=st.floats(0, 4.875, width=32), step=st.floats(0.0625, 1, width=32))
def test_brighter_light_gives_a_brighter_level_up_to_the_peak(low, step):
    dark, bright = compress_highlights(np.array([[low] * 3, [min(low + step, 4.92)] * 3], np.float32))
    assert (dark < bright).all() and (bright <= 1).all()


def test_p3_of_phones_in_standard_range(tmp_path):
    to_p3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])  # linear, from Rec. 709
    signal = linear_to_srgb(srgb_to_linear(COLOURS / 255) @ to_p3.T)
    path = write(tmp_path / "phone.mov", signal, ColorTrc.BT709, ColorPrimaries.SMPTE432)
    assert np.abs(seen_colours(path, tmp_path / "frames") - COLOURS).max() <= 5


def stored_as(path: Path, matrix: int, colour: tuple[int, int, int] = (200, 60, 40)) -> Path:
    """A plain picture without loss whose stream names a ``matrix`` of ITU-T H.273; YCgCo's is the one applied."""
    red, green, blue = colour
    luma = red / 4 + green / 2 + blue / 4
    levels = (16 + luma * 219 / 255, 128 + (green - luma) * 224 / 255, 128 + (red - blue) / 2 * 224 / 255)
    planes = np.stack([np.full((32, 32), round(level), np.uint8) for level in levels])  # (3, H, W)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
            frame.pts, frame.time_base = index, Fraction(1, 12)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("longest_side", [32, 16])
def test_ycgco_becomes_the_filmed_srgb(tmp_path, longest_side):
    with open_source(stored_as(tmp_path / "screen.mkv", 8), 24.0) as source:
        frames = [frame.rgba for frame in source.frames(0.0, longest_side)]
    assert len(frames) == 3 and frames[0].shape == (longest_side, longest_side, 4)
    np.testing.assert_allclose(frames[2].reshape(-1, 4).mean(0), (200, 60, 40, 255), atol=3)


@pytest.mark.parametrize(("matrix", "name"), [(10, "constant luminance"), (11, "ST 2085"), (14, "ICtCp")])
def test_a_matrix_of_colours_that_cannot_be_read_is_named(tmp_path, matrix, name):
    with pytest.raises(V2M4Error, match=rf"studio\.mkv cannot be read: .*{name}.*Export it again"):
        open_source(stored_as(tmp_path / "studio.mkv", matrix), 24.0)


@pytest.mark.parametrize("matrix", [3, 12])
def test_a_matrix_that_is_another_by_name_is_read(tmp_path, matrix):
    with open_source(stored_as(tmp_path / "phone.mkv", matrix), 24.0) as source:
        assert len(list(source.frames(0.0, 32))) == 3
