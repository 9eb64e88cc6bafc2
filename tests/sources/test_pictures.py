"""Pictures of every depth, and which of a folder's pictures make up the clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.test_video import scene
from v2m4.errors import V2M4Error
from v2m4.events import drain
from v2m4.settings import VideoSettings
from v2m4.sources.depth import to_rgba
from v2m4.sources.series import series_of
from v2m4.video import load_video, probe

GREY = np.linspace(0, 255, 48 * 64).round().astype(np.uint8).reshape(48, 64)


def deep(dtype: str, factor: float) -> Image.Image:
    return Image.fromarray((GREY.astype(np.float64) * factor).astype(dtype))


@pytest.mark.parametrize(
    ("suffix", "picture"),
    [
        (".png", deep("uint16", 257)),
        (".tif", deep("uint16", 257)),
        (".tif", deep("int32", (2**31 - 1) / 255)),
        (".tif", deep("float32", 1 / 255)),
        (".tif", deep("float32", 1.0)),
        (".png", Image.fromarray(GREY)),
        (".png", Image.fromarray(GREY).convert("RGB").quantize(256)),
        (".tif", Image.fromarray(GREY).convert("CMYK")),
        (".png", Image.fromarray(GREY).convert("LA")),
        (".bmp", Image.fromarray(GREY)),
    ],
    ids=lambda value: value if isinstance(value, str) else value.mode,
)
def test_every_mode_is_read_by_its_full_range(tmp_path, suffix, picture):
    folder = tmp_path / "frames_in"
    folder.mkdir()
    for index in range(2):
        picture.save(folder / f"{index}{suffix}")
    clip = drain(load_video(folder, tmp_path / "frames", VideoSettings(longest_side=64)))
    left, top, right, bottom = clip.content_box()
    grey = clip.frame(0)[top:bottom, left:right]
    assert np.abs(grey[..., :3].astype(int) - GREY[..., None]).max() <= 2
    assert (grey[..., 3] == 255).all()


def test_lab_and_hsv_are_colours():
    red = Image.new("RGB", (20, 20), (200, 60, 40))
    assert np.abs(to_rgba(red.convert("HSV"))[0, 0, :3].astype(int) - (200, 60, 40)).max() <= 3
    lab = Image.merge(
        "LAB", [Image.new("L", (4, 4), value) for value in (116, 128 + 58, 128 + 44)]
    )  # L 45.5, a 58, b 44
    assert np.abs(to_rgba(lab)[0, 0, :3].astype(int) - (190, 38, 41)).max() <= 20


def test_a_deep_picture_may_name_a_transparent_value(tmp_path):
    deep("uint16", 257).save(tmp_path / "a.png", transparency=0)
    with Image.open(tmp_path / "a.png") as image:
        alpha = to_rgba(image)[..., 3]
    assert alpha[0, 0] == 0 and alpha[-1, -1] == 255


@given(bits=st.lists(st.integers(0, 65535), min_size=4, max_size=4))
def test_sixteen_bits_are_divided_by_257(bits):
    picture = Image.fromarray(np.array(bits, np.uint16).reshape(2, 2))
    assert (to_rgba(picture)[..., 0].ravel() == np.round(np.array(bits) / 257)).all()


def test_a_tiff_of_many_pages_is_a_clip(tmp_path):
    pages = [Image.fromarray(scene(i)) for i in range(4)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert probe(tmp_path / "a.tif").frames == 4


ALONE = [f"frame{i}.png" for i in range(12)]


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (ALONE, ["frame*.png"]),
        (["a.png", "b.png", "c.png"], ["*"]),
        ([*ALONE, "cover.png", "notes3.png"], ["frame*.png"]),
        ([f"{kind}_{i:04d}.png" for kind in ("rgb", "mask") for i in range(9)], ["rgb_*.png", "mask_*.png"]),
        ([f"{i}.{kind}" for kind in ("png", "jpg") for i in range(9)], ["*.png", "*.jpg"]),
        ([f"cam{c}_{i:03d}.png" for c in (1, 2) for i in range(9)], ["cam1_*.png", "cam2_*.png"]),
        ([f"2026-01-05 10-{m:02d}-{s:02d}.png" for m in range(3) for s in range(60)], ["*-*-* *-*-*.png"]),
        ([f"shot1-{i}.png" for i in range(5)] + [f"shot2-{i}.png" for i in range(5, 9)], ["shot*-*.png"]),
        ([f"{take}/{i}.png" for take in ("take1", "take2") for i in range(5)], ["take1/*.png", "take2/*.png"]),
    ],
)
def test_series_are_told_apart_by_names(names, patterns):
    assert sorted(series_of(names)) == sorted(patterns)


def write(folder: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(index)).save(folder / name)


def test_two_series_are_a_question(tmp_path):
    write(tmp_path, [f"{kind}_{i}.png" for kind in ("rgb", "depth") for i in range(3)])
    with pytest.raises(V2M4Error, match=r"2 series of pictures: .*_\*\.png \(3\).*Which one"):
        probe(tmp_path)


def test_the_one_folder_inside_is_taken_and_two_are_a_question(tmp_path):
    write(tmp_path, [f"left/{i}.png" for i in range(3)])
    assert probe(tmp_path).frames == 3
    write(tmp_path, [f"right/{i}.png" for i in range(3)])
    with pytest.raises(V2M4Error, match=r"left/\*\.png \(3\), right/\*\.png \(3\)|right/.*left/"):
        probe(tmp_path)
