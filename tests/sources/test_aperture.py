"""What containers and codecs cut off the stored picture: clean aperture, pixel cropping, a codec's own cropping."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_video import write_video
from v2m4.events import drain
from v2m4.settings import VideoSettings
from v2m4.sources.aperture import Aperture, aperture_of
from v2m4.video import load_video, probe

SIZE = (96, 64)
CUT = Aperture(left=16, top=8, right=10, bottom=6)
SHOWN = (SIZE[0] - 26, SIZE[1] - 14)
EDGE, INNER = (250, 20, 20), (30, 90, 200)


def framed(index: int) -> np.ndarray:
    """A picture whose part within the aperture is blue, with a white bar, in a red frame."""
    picture = np.full((SIZE[1], SIZE[0], 3), EDGE, np.uint8)
    picture[CUT.top : SIZE[1] - CUT.bottom, CUT.left : SIZE[0] - CUT.right] = INNER
    picture[24:40, 30 : 40 + 2 * index] = 255
    return picture


def clap(cut: Aperture, size: tuple[int, int]) -> bytes:
    """The box that shows what ``cut`` leaves of pictures of ``size``."""
    width, height = size[0] - cut.left - cut.right, size[1] - cut.top - cut.bottom
    middle = Fraction(cut.left - cut.right, 2), Fraction(cut.top - cut.bottom, 2)
    numbers = [(width, 1), (height, 1), *((m.numerator, m.denominator) for m in middle)]
    return struct.pack(">I4sIIIIiIiI", 40, b"clap", *(n for pair in numbers for n in pair))


def with_clap(path: Path, box: bytes) -> Path:
    """``path``, an MP4 or MOV of one stream that ends in its index, with ``box`` in its sample description."""
    data = bytearray(path.read_bytes())
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = data.index(kind, data.index(b"moov")) - 4
        size = struct.unpack_from(">I", data, at)[0]
        struct.pack_into(">I", data, at, size + len(box))
    data[at + size : at + size] = box
    path.write_bytes(data)
    return path


def element(kind: int, content: bytes) -> bytes:
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + (len(content) | 1 << 56).to_bytes(8, "big") + content


def with_pixel_crop(path: Path, cut: Aperture) -> Path:
    """``path``, a Matroska file of one stream, with PixelCrop* in its track's video part."""
    live = path.with_stem("live")  # has no index of places in the file, which would move
    with av.open(str(path)) as source, av.open(str(live), "w", options={"live": "1"}) as target:
        copied = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copied
                target.mux(packet)
    # A checksum would no longer hold: an element that says nothing takes its place.
    data = re.sub(rb"\xbf\x84.{4}\xae", b"\xec\x84\0\0\0\0\xae", live.read_bytes(), flags=re.DOTALL)
    crops = b"".join(
        element(kind, side.to_bytes(2, "big")) for kind, side in zip((0x54CC, 0x54BB, 0x54DD, 0x54AA), cut, strict=True)
    )
    spans = []  # of the ids and contents of the elements around it, from the outermost on
    at = data.rindex(b"\x16\x54\xae\x6b")  # the index of contents before it names it too
    for kind, known in ((b"\x16\x54\xae\x6b", b""), (b"\xae", b""), (b"\xe0", rb".\xb0")):
        at += re.search(kind + known, data[at:], re.DOTALL).start()
        wide = 9 - data[at + len(kind)].bit_length()
        start = at + len(kind) + wide
        length = int.from_bytes(data[at + len(kind) : start], "big") & ((1 << 7 * wide) - 1)
        spans.append((int.from_bytes(kind, "big"), at, start, start + length))
        at = start
    content = data[spans[-1][2] : spans[-1][3]] + crops
    for (kind, begin, _, end), outer in zip(reversed(spans), [*reversed(spans[:-1]), None], strict=True):
        whole = element(kind, content)
        content = data[outer[2] : begin] + whole + data[end : outer[3]] if outer else whole
    path.write_bytes(data[: spans[0][1]] + content + data[spans[0][3] :])
    return path


def refuse_red(path: Path, folder: Path, size: tuple[int, int] = SHOWN, longest_side: int = 64) -> None:
    """Pictures of ``size`` without the frame, blue to their corners."""
    settings = VideoSettings(longest_side=longest_side)
    assert probe(path, settings).size == size
    clip = drain(load_video(path, folder, settings))
    assert (len(clip), clip.source_size) == (6, size)
    left, top, right, bottom = clip.content_box()
    for index in (0, 5):
        inside = clip.frame(index)[top:bottom, left:right, :3].astype(int)
        for corner in (inside[1, 1], inside[1, -2], inside[-2, 1], inside[-2, -2]):
            assert np.abs(corner - INNER).max() < 40


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("longest_side", [64, 512])
def test_a_clean_aperture_is_all_that_is_shown(tmp_path, suffix, longest_side):
    path = write_video(tmp_path / f"clip{suffix}", [framed(i) for i in range(6)], crf="8")
    refuse_red(with_clap(path, clap(CUT, SIZE)), tmp_path / "frames", longest_side=longest_side)


def test_a_clean_aperture_is_cut_before_the_picture_is_turned_upright(tmp_path):
    path = write_video(tmp_path / "clip.mp4", [framed(i) for i in range(6)], rotation=90, crf="8")
    refuse_red(with_clap(path, clap(CUT, SIZE)), tmp_path / "frames", size=SHOWN[::-1])


def test_pixel_cropping_of_matroska(tmp_path):
    path = write_video(tmp_path / "clip.mkv", [framed(i) for i in range(6)], crf="8")
    refuse_red(with_pixel_crop(path, CUT), tmp_path / "frames")


def test_cropping_by_the_codec_itself_is_exact_to_the_left(tmp_path):
    plain = write_video(tmp_path / "plain.mp4", [framed(i) for i in range(6)], crf="8")
    path = tmp_path / "clip.mp4"
    sides = ":".join(f"crop_{side}={getattr(CUT, side)}" for side in CUT._fields)
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        bits = av.BitStreamFilterContext(f"h264_metadata={sides}", stream, copied)
        for packet in source.demux(stream):
            for changed in bits.filter(packet if packet.size else None):
                changed.stream = copied
                target.mux(changed)
    refuse_red(path, tmp_path / "frames")


@pytest.mark.parametrize("box", [clap(CUT, (2000, 2000)), struct.pack(">I4s8I", 40, b"clap", *[0] * 8)])
def test_an_aperture_that_makes_no_sense_is_ignored(tmp_path, box):
    path = write_video(tmp_path / "clip.mp4", [framed(i) for i in range(6)])
    with_clap(path, box)
    assert probe(path, VideoSettings(longest_side=64)).size == SIZE


@given(at=st.integers(0, 2000), value=st.integers(0, 255), suffix=st.sampled_from([".mp4", ".mkv"]))
def test_a_damaged_index_cuts_nothing_off_or_something_possible(tmp_path_factory, at, value, suffix):
    folder = tmp_path_factory.getbasetemp()
    sound = folder / f"sound{suffix}"
    if not sound.exists():
        write_video(sound, [framed(i) for i in range(6)])
        with_clap(sound, clap(CUT, SIZE)) if suffix == ".mp4" else with_pixel_crop(sound, CUT)
    data = bytearray(sound.read_bytes())
    data[-(at % len(data)) if suffix == ".mp4" else at % len(data)] = value
    path = folder / f"damaged{suffix}"
    path.write_bytes(data)
    left, top, right, bottom = aperture_of(path, 1, 0, SIZE)
    assert min(left, top, right, bottom) >= 0 and left + right < SIZE[0] and top + bottom < SIZE[1]
