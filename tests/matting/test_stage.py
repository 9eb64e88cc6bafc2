"""The matting stage as its users see it: the right method by itself, good masks, and words about bad frames."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from tests.matting.scenes import clutter, film, plain
from tests.thread_counts import on_one_and_more
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, drain
from v2m4.masks import mask_iou
from v2m4.matting import MATTINGS, Doubts, stage
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


@pytest.mark.parametrize(("method", "background"), [("flat", PLAIN["vignette"]), ("motion", clutter())])
def test_frames_and_doubts_are_the_same_on_any_number_of_threads(tmp_path, monkeypatch, method, background):
    clip, _ = film(tmp_path / "frames", background, frames=8)
    doubted = []
    monkeypatch.setattr(
        stage, "warnings", lambda facts, settings: doubted.append([fact.doubts for fact in facts]) or ()
    )

    def cut() -> list[bytes]:
        masked = drain(cut_out(clip, tmp_path / "masked", MattingSettings(method=method))).clip
        return [masked.frame(index).tobytes() for index in range(8)]

    alone, others = on_one_and_more(cut)
    assert all(other == alone for other in others)
    assert all(other == doubted[0] for other in doubted[1:])


def test_a_method_that_goes_by_the_frame_before_is_asked_in_order(tmp_path, monkeypatch):
    clip, _ = film(tmp_path / "frames", PLAIN["white"], frames=5)
    asked = []

    class InOrder(SimpleNamespace):
        def prepare(self, clip, settings):
            yield from ()

        def frame(self, clip, index):
            asked.append((id(self), index))
            return np.full((clip.side, clip.side, 4), 255, np.uint8)

    monkeypatch.setitem(MATTINGS, "flat", SimpleNamespace(create=lambda settings, device: InOrder()))
    drain(cut_out(clip, tmp_path / "masked", MattingSettings(method="flat")))
    assert [index for _, index in asked] == [0, 1, 2, 3, 4] and len({itself for itself, _ in asked}) == 1


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


def test_an_object_that_is_nowhere_opaque_becomes_so(tmp_path):
    clip, masks = film(tmp_path / "frames", clutter(), frames=3, alpha=True)
    for index in range(3):
        frame = clip.frame(index).copy()
        frame[..., 3] = frame[..., 3] // 255 * 90
        write_png(clip.path(index), frame)
    matte = drain(cut_out(clip, tmp_path / "matte", MattingSettings()))
    assert matte.warnings == () and matte.empty == ()
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(matte.clip.frame(index)[..., 3], np.where(mask, 255, 0))


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


def test_a_clip_that_changes_everywhere_is_refused_with_advice(tmp_path):
    clip = still(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(len(clip)):
        boiling = cv2.resize(rng.integers(0, 255, (16, 16, 3), np.uint8), (128, 128))
        write_png(clip.path(i), np.dstack([boiling, np.full((128, 128), 255, np.uint8)]))
    with pytest.raises(V2M4Error, match=r"in walker.*Film from one place.*rembg"):
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


def test_what_stays_wrong_for_a_good_part_of_the_clip_is_told():
    def said(wrong: MaskFacts) -> tuple[str, ...]:
        assert warnings([wrong] * 2 + [look()] * 8, MattingSettings()) == ()
        return warnings([wrong] * 4 + [look()] * 6, MattingSettings())

    (hollow,) = said(replace(look(), holes=0.3))
    assert "hollow" in hollow and "12%" in hollow
    (second,) = said(replace(look(), second=0.3))
    assert "second object" in second and "rebuilt as one" in second
    (dropped,) = said(replace(look(), doubts=Doubts(left_out=0.3)))
    assert "It was left out" in dropped
    (shadow,) = said(replace(look(), doubts=Doubts(hard_shadow=0.3)))
    assert "shadow" in shadow
    # An object that is darkened background all over is an object.
    assert warnings([replace(look(), doubts=Doubts(hard_shadow=0.9))] * 4, MattingSettings()) == ()


def _ellipse(picture, centre, axes, colour):
    cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1)


def _second(picture):
    cv2.circle(picture, (112, 110), 13, (40, 90, 200), -1)


def _hole(picture):
    _ellipse(picture, (50, 60), (18, 20), (200, 205, 190))


def _hard_shadow(picture):
    _ellipse(picture, (50, 100), (36, 10), (130, 133, 124))


@pytest.mark.parametrize(
    ("change", "words"),
    [(_second, "second object"), (_hole, "hollow"), (_hard_shadow, "shadow with a hard edge"), (None, None)],
)
def test_pictures_with_a_second_object_a_hole_or_a_hard_shadow_warn(tmp_path, change, words):
    clip = film(tmp_path, plain((200, 205, 190)), frames=3)[0]
    for index in range(3):
        picture = np.full((128, 128, 3), (200, 205, 190), np.uint8)
        if change is _hard_shadow:
            change(picture)
        _ellipse(picture, (50 + 2 * index, 60), (28, 34), (200, 60, 40))
        if change not in (None, _hard_shadow):
            change(picture)
        write_png(clip.path(index), np.dstack([picture, np.full((128, 128), 255, np.uint8)]))
    matte = drain(cut_out(clip, tmp_path / "masked", MattingSettings(method="flat")))
    assert len(matte.warnings) == (words is not None)
    assert words is None or words in matte.warnings[0]


def test_frames_without_the_object_are_named(tmp_path):
    clip = film(tmp_path, plain((200, 205, 190)), frames=4)[0]
    write_png(clip.path(2), np.full((128, 128, 4), (200, 205, 190, 255), np.uint8))
    assert drain(cut_out(clip, tmp_path / "masked", MattingSettings(method="flat"))).empty == (2,)


def test_a_soft_shadow_is_left_behind(tmp_path):
    y, x = np.mgrid[0:128, 0:128]
    shade = 0.45 * np.exp(-(((x - 64) / 30) ** 2 + ((y - 110) / 9) ** 2))
    clip, masks = film(tmp_path / "frames", plain((235, 235, 230)) * (1 - shade)[..., None], frames=4)
    matte = drain(cut_out(clip, tmp_path / "masked", MattingSettings(method="flat")))
    assert min(overlaps(matte.clip, masks)) > 0.93


def test_a_shadow_with_a_hard_edge_is_warned_of(tmp_path):
    lit = plain((190, 180, 160))
    y, x = np.mgrid[0:128, 0:128]
    shade = ((x - 70) / 46) ** 2 + ((y - 112) / 9) ** 2 < 1
    for name, background in (("lit", lit), ("shaded", np.where(shade[..., None], 0.55 * lit, lit))):
        clip, _ = film(tmp_path / name, background, frames=4)
        matte = drain(cut_out(clip, tmp_path / f"{name} masked", MattingSettings(method="flat")))
        assert any("shadow" in words for words in matte.warnings) == (name == "shaded")


def second_thing(picture, index):
    cv2.circle(picture, (112, 14 + 2 * index), 10, (40, 90, 200), -1)


def moving_shadow(picture, index):
    spot = np.zeros(picture.shape[:2], np.uint8)
    cv2.ellipse(spot, (38 + 4 * index, 112), (30, 9), 0, 0, 360, 1, -1)
    picture[spot > 0] = (0.6 * picture[spot > 0]).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "words"),
    [(second_thing, "second object.*left out"), (moving_shadow, "shadow with a hard edge"), (None, None)],
)
def test_before_clutter_too_a_second_object_and_a_hard_shadow_are_told(tmp_path, change, words):
    clip = film(tmp_path, clutter(), frames=12)[0]
    still_life = clutter().astype(np.uint8)
    for index in range(12):
        picture = still_life.copy()
        if change:
            change(picture, index)
        cv2.ellipse(picture, (38 + 4 * index, 74), (24, 34), 0, 0, 360, (240, 150, 60), -1)
        write_png(clip.path(index), np.dstack([picture, np.full((128, 128), 255, np.uint8)]))
    matte = drain(cut_out(clip, tmp_path / "masked", MattingSettings(method="motion")))
    assert len(matte.warnings) == (words is not None)
    assert words is None or re.search(words, matte.warnings[0])


def test_a_network_that_sees_two_objects_tells_of_the_one_that_was_left_out(tmp_path, monkeypatch):
    def remove(rgb, session, only_mask):
        mask = np.zeros(rgb.shape[:2], np.uint8)
        cv2.circle(mask, (40, 64), 30, 255, -1)
        cv2.circle(mask, (116, 12), 11, 255, -1)
        return mask

    network = SimpleNamespace(remove=remove, new_session=lambda name: name)
    monkeypatch.setitem(sys.modules, "rembg", network)
    clip = film(tmp_path / "frames", clutter(), frames=3)[0]
    matte = drain(cut_out(clip, tmp_path / "masked", MattingSettings(method="rembg")))
    assert ["It was left out" in words for words in matte.warnings] == [True]
    mended = MattingSettings(method="rembg", points="0 0.3 0.5 +")
    assert matte.warnings[0] in drain(cut_out(clip, tmp_path / "mended", mended)).warnings
