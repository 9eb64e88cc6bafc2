"""The matting stage as its users see it: the right method by itself, good masks, and words about bad frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.matting.scenes import clutter, film, plain
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, drain
from v2m4.masks import mask_iou
from v2m4.matting import MATTINGS
from v2m4.matting.stage import _MaskFacts as MaskFacts
from v2m4.matting.stage import cut_out, suitable, warnings
from v2m4.settings import MattingSettings, Settings
from v2m4.video import write_png

PLAIN = {
    "white": plain((255, 255, 255)),
    "grey": plain((128, 128, 128)),
    "black": plain((0, 0, 0)),
    "green": plain((40, 190, 70)),
    "vignette": plain((210, 215, 225), 0.3),
}


def overlaps(clip: Clip, masks) -> list[float]:
    return [mask_iou(clip.frame(i)[..., 3] > 127, mask) for i, mask in enumerate(masks)]


@pytest.mark.parametrize("name", PLAIN)
def test_an_object_before_a_plain_background(tmp_path, name):
    clip, masks = film(tmp_path / "frames", PLAIN[name], frames=6)
    matte = drain(cut_out(clip, tmp_path / "masked", MattingSettings()))
    assert matte.method == "flat" and not matte.warnings
    assert np.mean(overlaps(matte.clip, masks)) > 0.96 and min(overlaps(matte.clip, masks)) > 0.94


def test_heavy_compression_noise_is_not_taken_for_the_object(tmp_path):
    clip, masks = film(tmp_path / "frames", plain((150, 150, 160)), frames=6, noise=4, jpeg=60)
    matte = drain(cut_out(clip, tmp_path / "masked", MattingSettings()))
    assert matte.method == "flat"
    assert min(overlaps(matte.clip, masks)) > 0.9


@pytest.mark.parametrize("travel", [0.0, 3.0])
def test_a_moving_object_before_clutter_although_it_never_leaves_its_place(tmp_path, travel):
    clip, masks = film(tmp_path / "frames", clutter(), frames=16, travel=travel)
    matte = drain(cut_out(clip, tmp_path / "masked", MattingSettings()))
    assert matte.method == "motion"
    assert np.mean(overlaps(matte.clip, masks)) > 0.92 and min(overlaps(matte.clip, masks)) > 0.87


def test_a_file_s_own_alpha_is_kept_as_it_is(tmp_path):
    clip, masks = film(tmp_path / "frames", clutter(), frames=3, alpha=True)
    matte = drain(cut_out(clip, tmp_path / "masked", MattingSettings()))
    assert matte.method == "alpha"
    assert overlaps(matte.clip, masks) == [1, 1, 1]
    assert not matte.clip.frame(0)[..., :3][~masks[0]].any()


def test_soft_edges_carry_no_background_colour(tmp_path):
    clip, _ = film(tmp_path / "frames", plain((0, 255, 0)), frames=3, noise=0, jpeg=100)
    frame = drain(cut_out(clip, tmp_path / "masked", MattingSettings())).clip.frame(1).astype(int)
    edge = (frame[..., 3] > 20) & (frame[..., 3] < 235)
    assert edge.sum() > 100
    # The walker is brown to yellow: red always exceeds green. Pure green light would show here.
    assert (frame[edge][:, 1] > frame[edge][:, 0] + 20).mean() < 0.05


def test_the_clip_s_own_frames_stay_and_the_padding_is_transparent(tmp_path):
    clip, _ = film(tmp_path / "frames", plain((90, 120, 200)), frames=3)
    before = clip.path(1).read_bytes()
    square = np.zeros((160, 160, 4), np.uint8)
    wide = tmp_path / "wide"
    wide.mkdir()
    for i in range(3):
        square[16:144, 16:144] = clip.frame(i)
        write_png(wide / f"{i:05d}.png", square)
    padded = replace(clip, folder=wide, side=160, offset=(16.0, 16.0))
    matte = drain(cut_out(padded, tmp_path / "masked", MattingSettings()))
    assert Clip.load(tmp_path / "masked") == matte.clip
    assert not matte.clip.frame(0)[:16].any()
    assert clip.path(1).read_bytes() == before


def test_progress_rises_to_the_end(tmp_path):
    clip, _ = film(tmp_path / "frames", clutter(), frames=8)
    events = list(cut_out(clip, tmp_path / "masked", MattingSettings(method="motion")))
    fractions = [e.fraction for e in events if isinstance(e, Progress)]
    assert fractions == sorted(fractions) and fractions[-1] == 1


def test_a_clip_of_background_only_is_refused(tmp_path):
    clip, _ = film(tmp_path / "frames", plain((200, 200, 200)), frames=3)
    empty = plain((200, 200, 200)).astype(np.uint8)
    for i in range(3):
        write_png(clip.path(i), np.dstack([empty, np.full((128, 128), 255, np.uint8)]))
    with pytest.raises(V2M4Error, match=r"No object was found in walker: all 3 frames"):
        drain(cut_out(clip, tmp_path / "masked", MattingSettings()))
    assert not (tmp_path / "masked" / "clip.json").exists()


def still(tmp_path, frames: int = 6) -> Clip:
    clip, _ = film(tmp_path / "frames", clutter(), frames=frames)
    for i in range(1, frames):
        clip.path(i).write_bytes(clip.path(0).read_bytes())
    return clip


def test_a_still_before_clutter_is_refused_with_advice(tmp_path):
    with pytest.raises(V2M4Error, match=r"Nothing moves in walker.*rembg"):
        drain(cut_out(still(tmp_path), tmp_path / "masked", MattingSettings()))


def test_a_moving_camera_is_recognised(tmp_path):
    clip = still(tmp_path)
    for i in range(len(clip)):
        write_png(clip.path(i), np.roll(clip.frame(0), 9 * i, axis=1))
    with pytest.raises(V2M4Error, match="camera probably moves"):
        drain(cut_out(clip, tmp_path / "masked", MattingSettings(method="motion")))


@pytest.mark.parametrize(
    ("method", "words"),
    [("alpha", "has no transparency"), ("flat", "is not plain"), ("rembg", "rembg"), ("magic", "There is no matting")],
)
def test_a_method_that_does_not_suit_says_so(tmp_path, monkeypatch, method, words):
    monkeypatch.setitem(__import__("sys").modules, "rembg", None)
    clip, _ = film(tmp_path / "frames", clutter(), frames=3)
    with pytest.raises(V2M4Error, match=words):
        drain(cut_out(clip, tmp_path / "masked", MattingSettings(method=method)))


def test_auto_goes_by_evidence(tmp_path):
    cluttered = film(tmp_path / "b", clutter(), frames=2)[0]
    assert suitable(film(tmp_path / "a", plain((10, 60, 200)), frames=2)[0], MattingSettings(), ()) == "flat"
    assert suitable(cluttered, MattingSettings(), ("alpha", "motion")) == "motion"
    assert suitable(cluttered, MattingSettings(), ("motion", "rembg")) == "rembg"
    assert suitable(film(tmp_path / "c", clutter(), frames=2, alpha=True)[0], MattingSettings(), ()) == "alpha"


def test_every_plug_names_a_class_that_exists():
    assert set(MATTINGS) == {"alpha", "flat", "motion", "rembg"}
    for plug in MATTINGS.values():
        matting = plug.create(Settings(), torch.device("cpu"))
        assert callable(matting.prepare) and callable(matting.frame)


def look(area=0.2, sides=(), overlap=0.9, growth=1.0) -> MaskFacts:
    return MaskFacts(area, frozenset(sides), overlap, growth)


def test_warnings_name_the_frames_and_the_reason():
    good = look()
    assert warnings([good, good], MattingSettings(min_area=0.001)) == ()
    (empty,) = warnings([good, look(0), look(0), good, look(0)], MattingSettings(min_area=0.001))
    assert "frames 1-2 and 4" in empty and "trim" in empty
    (full,) = warnings([good, look(sides=("left", "right", "top", "bottom"))], MattingSettings(min_area=0.001))
    assert "all four borders in frame 1" in full
    (cropped,) = warnings([look(sides=("left",)), good, look(sides=("bottom",))], MattingSettings(min_area=0.001))
    assert "bottom, left" in cropped and "frames 0 and 2" in cropped
    (flicker,) = warnings([good, look(overlap=0.3, growth=2.5)], MattingSettings(min_area=0.001))
    assert "abruptly at frame 1" in flicker
    (many,) = warnings([look(0) if i % 2 else good for i in range(40)], MattingSettings(min_area=0.001))
    assert "more places" in many


def test_a_soft_shadow_is_left_behind(tmp_path):
    y, x = np.mgrid[0:128, 0:128]
    shade = 0.45 * np.exp(-(((x - 64) / 30) ** 2 + ((y - 110) / 9) ** 2))
    clip, masks = film(tmp_path / "frames", plain((235, 235, 230)) * (1 - shade)[..., None], frames=4)
    matte = drain(cut_out(clip, tmp_path / "masked", MattingSettings(method="flat")))
    assert min(overlaps(matte.clip, masks)) > 0.93
