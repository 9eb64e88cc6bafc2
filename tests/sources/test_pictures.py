"""Pictures of every depth, and which of a folder's pictures make up the clip."""

from __future__ import annotations

import contextlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.test_video import scene
from v2m4.color import linear_to_srgb, srgb_to_linear
from v2m4.errors import V2M4Error
from v2m4.events import drain
from v2m4.settings import VideoSettings
from v2m4.sources.depth import to_rgba
from v2m4.sources.series import places_in_time, series_of
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
        ([f"{i:03d}.{('png', 'jpg')[i % 2]}" for i in range(9)], ["*.png"]),
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


@pytest.mark.parametrize(
    ("numbers", "places"),
    [
        ([3, 4, 5], [0, 1, 2]),
        ([0, 1, 4, 5], [0, 1, 4, 5]),
        ([10, 12, 14], [0, 1, 2]),
        ([0, 2, 6], [0, 1, 3]),
        ([1, 2, 500], [0, 1, 2]),
    ],
)
def test_missing_frames_leave_their_time_empty(numbers, places):
    assert places_in_time([f"take2_{n:04d}.png" for n in numbers]) == places


def test_names_that_count_nothing_are_evenly_spaced():
    assert places_in_time(["a.png", "b.png"]) == [0, 1]
    assert places_in_time(["10-58.png", "10-59.png", "11-00.png"]) == [0, 1, 2]
    assert places_in_time(["1.png", "2b3.png"]) == [0, 1]


def test_frames_around_a_gap_have_the_times_of_their_numbers(tmp_path):
    write(tmp_path / "in", [f"f{n}.png" for n in (0, 1, 4, 5)])
    clip = drain(load_video(tmp_path / "in", tmp_path / "frames", VideoSettings(pictures_fps=10)))
    assert clip.times == pytest.approx((0, 0.1, 0.4, 0.5))
    assert clip.duration == pytest.approx(0.6)


def test_a_single_picture_beside_a_folder_of_frames_is_no_clip(tmp_path):
    write(tmp_path, ["preview.png", *(f"rgb/{i}.png" for i in range(3))])
    assert probe(tmp_path).frames == 3


def test_of_two_files_of_one_name_in_a_zip_the_later_one_counts(tmp_path):
    write(tmp_path, ["0.png", "1.png", "2.png"])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("0.png", "1.png", "2.png"):
            archive.write(tmp_path / name, name)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.write(tmp_path / "1.png", "1.png")
    assert probe(tmp_path / "a.zip").frames == 3


def test_a_zip_of_a_video_names_its_kind(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/clip.mp4", b"x")
    with pytest.raises(V2M4Error, match=r"holds no PNG.*but \.mp4 files"):
        probe(tmp_path / "a.zip")


def test_a_folder_of_files_that_are_no_pictures_names_their_kind(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(V2M4Error, match=r"holds no PNG.*but \.heic files"):
        probe(tmp_path)


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_an_animation_that_is_cut_off_gives_what_comes_before_the_cut(tmp_path, suffix):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    first, *others = [Image.fromarray(scene(i)) for i in range(8)]
    first.save(whole, save_all=True, append_images=others, duration=80)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    clip = drain(load_video(path, tmp_path / "frames", VideoSettings(longest_side=64)))
    assert 2 < len(clip) < 8
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 10])
    with pytest.raises(V2M4Error, match="cannot be decoded"):
        drain(load_video(path, tmp_path / "frames", VideoSettings(longest_side=64)))


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tiff"])
def test_an_animation_that_is_cut_off_anywhere_ends_in_a_clip_or_in_a_sentence(tmp_path, suffix):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    first, *others = [Image.fromarray(scene(i)) for i in range(3)]
    first.save(whole, save_all=True, append_images=others)
    data = whole.read_bytes()
    for length in range(1, len(data), max(1, len(data) // 150)):
        path.write_bytes(data[:length])
        with contextlib.suppress(V2M4Error):
            facts = probe(path, VideoSettings(longest_side=64))
            assert len(drain(load_video(path, tmp_path / "frames", VideoSettings(longest_side=64)))) <= facts.frames


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_file_of_a_series_that_is_no_picture_is_named_without_addresses_in_memory(tmp_path, content):
    write(tmp_path, [f"{i}.png" for i in range(6)])
    (tmp_path / "3.png").write_bytes(content)
    with pytest.raises(V2M4Error, match=r"^3\.png in the folder .* cannot be decoded \(it is empty, or no picture"):
        drain(load_video(tmp_path, tmp_path / "frames", VideoSettings(longest_side=64)))


def p3_profile() -> bytes:
    """An ICC profile of Display P3, as phones attach it: primaries and white adapted to D50, and sRGB's curve."""
    columns = {"rXYZ": (0.5151, 0.2412, -0.0011), "gXYZ": (0.2920, 0.6922, 0.0419), "bXYZ": (0.1571, 0.0666, 0.7841)}

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = {name: b"XYZ " + bytes(4) + fixed(*xyz) for name, xyz in columns.items()}
    tags |= {"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)} | dict.fromkeys(("rTRC", "gTRC", "bTRC"), curve)
    return profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    """A monochrome ICC profile whose curve is a power."""
    white = b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1, 0.8249))
    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0)
    return profile(b"GRAY", {"wtpt": white, "kTRC": curve})


def profile(space: bytes, tags: dict[str, bytes]) -> bytes:
    """An ICC profile (version 4) of a display."""
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name.encode() + struct.pack(">II", at + len(data), len(body))
        data += body
    head = (
        struct.pack(">I4sI4s4s4s", at + len(data), b"lcms", 0x04300000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    )
    head = head.ljust(68, b"\0") + b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1, 0.8249))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


SURFACES = np.array([(200, 60, 40), (30, 120, 50), (40, 80, 200), (128, 128, 128)], np.uint8)
# Linear sRGB to linear Display P3.
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])


def as_p3() -> Image.Image:
    """The surfaces, 20 x 20 pixels each, in Display P3."""
    signal = linear_to_srgb(srgb_to_linear(SURFACES / 255) @ TO_P3.T) * 255
    return Image.fromarray(np.tile(np.repeat(signal.round().astype(np.uint8), 20, axis=0), (20, 1, 1)))


def with_profile(image: Image.Image, data: bytes) -> Image.Image:
    image.info["icc_profile"] = data
    return image


def off(rgba) -> int:
    """By how many levels a row of the surfaces is off."""
    return int(np.abs(rgba[10, 10::20, :3].astype(int) - SURFACES).max())


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_pictures_of_phones_in_display_p3_become_srgb(tmp_path, suffix):
    (tmp_path / "in").mkdir()
    options = {"jpg": {"quality": 98, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    for index in range(2):
        as_p3().save(tmp_path / "in" / f"{index}.{suffix}", icc_profile=p3_profile(), **options)
    clip = drain(load_video(tmp_path / "in", tmp_path / "frames", VideoSettings(longest_side=80)))
    left, top, right, bottom = clip.content_box()
    assert off(clip.frame(1)[top:bottom, left:right]) <= 3
    assert off(to_rgba(as_p3())) > 10


def test_an_animation_has_a_profile_too(tmp_path):
    second = as_p3()
    second.paste(0, (0, 0, 80, 2))  # two equal frames would be stored as one
    as_p3().save(tmp_path / "a.webp", save_all=True, append_images=[second], lossless=True, icc_profile=p3_profile())
    clip = drain(load_video(tmp_path / "a.webp", tmp_path / "frames", VideoSettings(longest_side=80)))
    left, top, right, bottom = clip.content_box()
    assert off(clip.frame(1)[top:bottom, left:right]) <= 3


def test_a_profile_leaves_alpha_as_it_is_and_holds_for_palettes():
    image, alpha = as_p3(), np.arange(80, dtype=np.uint8) + 100
    image.putalpha(Image.fromarray(np.tile(alpha, (20, 1))))
    rgba = to_rgba(with_profile(image, p3_profile()))
    assert (rgba[..., 3] == alpha).all()
    assert off(rgba) <= 3
    assert off(to_rgba(with_profile(as_p3().quantize(16), p3_profile()))) <= 4


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_greys_go_through_their_profile(mode):
    grey = Image.new("L", (4, 4), 100)
    grey = Image.fromarray(np.full((4, 4), 100 * 257, np.uint16)) if mode == "I;16" else grey.convert(mode)
    light = round(255 * float(linear_to_srgb(np.array(100 / 255))))
    assert abs(int(to_rgba(with_profile(grey, grey_profile(1.0)))[0, 0, 0]) - light) <= 2


@pytest.mark.parametrize("data", [b"no profile at all", grey_profile(1.0)], ids=["broken", "of another mode"])
@pytest.mark.parametrize(("mode", "colour"), [("RGB", (9, 8, 7)), ("CMYK", (246, 247, 248, 0))])
def test_a_profile_that_cannot_be_counts_for_nothing(mode, colour, data):
    seen = to_rgba(with_profile(Image.new(mode, (4, 4), colour), data))[0, 0]
    assert np.abs(seen.astype(int) - (9, 8, 7, 255)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_every_orientation_is_turned_upright(tmp_path, orientation, suffix):
    upright = np.full((24, 40, 3), 200, np.uint8)
    upright[2:8, 3:20] = (220, 30, 30)
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's numbers of what leads from upright to the orientation
    stored = Image.fromarray(upright)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(turns[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "in").mkdir()
    options = {"quality": 95} if suffix == "jpg" else {}
    for index in range(2):
        stored.save(tmp_path / "in" / f"{index}.{suffix}", exif=exif, **options)
    clip = drain(load_video(tmp_path / "in", tmp_path / "frames", VideoSettings(longest_side=64)))
    left, top, right, bottom = clip.content_box()
    seen = clip.frame(1)[top:bottom, left:right, :3].astype(int)
    assert seen.shape == upright.shape
    assert np.abs(seen - upright).mean() < 6
