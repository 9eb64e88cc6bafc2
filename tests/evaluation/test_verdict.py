"""A result says what it is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2m4.evaluation.verdict import frame_ranges, verdict
from v2m4.settings import VerdictSettings

SETTINGS = VerdictSettings()


@pytest.mark.parametrize(
    ("overlaps", "warnings", "level"),
    [
        ([0.95] * 10, [], "good"),
        ([0.95] * 10, ["The mask is hollow."], "fair"),
        ([0.75] * 10, [], "fair"),
        ([0.31] * 10, [], "weak"),
        ([0.95] * 8 + [0.1] * 2, [], "weak"),
    ],
)
def test_levels(overlaps, warnings, level):
    assert verdict(overlaps, (), warnings, SETTINGS)["level"] == level


def test_a_weak_result_says_so_first_with_the_numbers_and_what_to_do():
    judged = verdict([0.5, 0.2, 0.4], (), [], SETTINGS)
    assert judged["says"].startswith("weak result: mask overlap 0.37 on average, 0.20 at worst (frame 1)")
    assert "--keyframes.stride" in judged["says"]
    assert "begin there" in verdict([0.3], (), ["A sentence."], SETTINGS)["says"]


def test_a_torn_mesh_is_not_good_and_says_how_much_of_it_is_torn():
    judged = verdict([0.95] * 10, (), [], SETTINGS, torn=0.06)
    assert judged["level"] == "fair" and "6.0% of the faces are torn" in judged["says"]
    assert "torn" not in verdict([0.95] * 10, (), [], SETTINGS, torn=0.001)["says"]


def test_a_crumpled_mesh_is_not_good_either():
    judged = verdict([0.95] * 10, (), [], SETTINGS, crumpled=0.14)
    assert judged["level"] == "fair" and "14% of the faces are crumpled" in judged["says"]
    assert verdict([0.95] * 10, (), [], SETTINGS, crumpled=0.07)["level"] == "good"


def test_frames_without_the_object_do_not_count():
    judged = verdict([0.9, 0.0, 0.9], (1,), [], SETTINGS)
    assert (judged["level"], judged["frames"], judged["worst_frame"]) == ("good", 2, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_better_overlaps_are_never_judged_worse(overlaps):
    order = ("weak", "fair", "good")
    better = [min(1.0, overlap + 0.2) for overlap in overlaps]
    first, second = (order.index(verdict(o, (), [], SETTINGS)["level"]) for o in (overlaps, better))
    assert second >= first


def test_the_weakest_frames_are_named():
    judged = verdict([0.95, 0.9, 0.61, 0.6, 0.62, 0.9], (), [], SETTINGS)
    assert judged["weakest_frames"] == [2, 3, 4]
    assert "the weakest frames are 2–4" in judged["says"]
    lost = verdict([0.9, 0.1, 0.9, 0.2, 0.3, 0.9], (), [], SETTINGS)
    assert lost["weakest_frames"] == lost["lost_frames"] == [1, 3, 4]
    assert "the weakest frames are 1, 3–4" in lost["says"]


def test_where_all_frames_are_alike_none_is_the_weakest():
    alike = verdict([0.91, 0.9, 0.91, 0.9], (), [], SETTINGS)
    assert "weakest" not in alike["says"] and alike["weakest_frames"] == []
    assert verdict([], (), [], SETTINGS)["weakest_frames"] == []


@given(st.sets(st.integers(0, 60)))
def test_ranges_name_every_frame_once(frames):
    named = []
    for part in filter(None, frame_ranges(sorted(frames)).split(", ")):
        first, _, last = part.partition("–")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(frames)


def test_colours_unlike_the_video_are_said_and_not_called_good() -> None:
    judged = verdict([0.95] * 10, (), [], SETTINGS, psnr=[12.4] * 10)
    assert judged["level"] == "fair" and "12.4 dB" in judged["says"]
    close = verdict([0.95] * 10, (), [], SETTINGS, psnr=[20.0] * 10)
    assert close["level"] == "good" and "dB" not in close["says"]


def test_a_stretch_of_frames_unlike_the_video_is_not_called_good() -> None:
    some = verdict([0.95] * 10, (), [], SETTINGS, psnr=[24.0] * 8 + [14.0] * 2)
    assert some["level"] == "fair" and "in 2 of 10 frames" in some["says"]
    one = verdict([0.95] * 10, (), [], SETTINGS, psnr=[24.0] * 9 + [14.0])
    assert one["level"] == "good"
    outside = verdict([0.95] * 10, {8, 9}, [], SETTINGS, psnr=[24.0] * 8 + [14.0] * 2)
    assert outside["level"] == "good"
