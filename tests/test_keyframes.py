"""Which frames become keyframes: evenly, or more of them where the object changes faster."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.keyframes import change, choose_anchor, choose_keyframes, outline_length
from v2m4.settings import AnchorSettings, KeyframeSettings, SqueezeSettings
from v2m4.video import write_png

SIDE = 96


def clip_of(folder, bends, shift=0.0) -> Clip:
    """A bar with an arm at the angle ``bends[i]``; ``shift`` pixels to the right per frame."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, bend in enumerate(bends):
        frame = np.zeros((SIDE, SIDE, 4), np.uint8)
        x = 40 + shift * i
        cv2.line(frame, (round(x), 75), (round(x), 35), (200, 120, 60, 255), 14)
        end = (round(x + 30 * np.cos(bend)), round(40 - 30 * np.sin(bend)))
        cv2.line(frame, (round(x), 40), end, (90, 120, 220, 255), 10)
        write_png(folder / f"{i:05d}.png", frame)
    count = len(bends)
    return Clip(
        folder, "bar", tuple(i / 24 for i in range(count)), count / 24, SIDE, (SIDE, SIDE), 1.0, (0.0, 0.0), True
    )


@given(count=st.integers(2, 200), stride=st.integers(1, 30))
def test_fixed_takes_every_nth_frame_and_the_last(count, stride):
    clip = Clip(None, "", tuple(range(count)), count, 8, (8, 8), 1.0, (0.0, 0.0), True)  # type: ignore[arg-type]
    chosen = choose_keyframes(clip, KeyframeSettings(mode="fixed", stride=stride))
    assert chosen[0] == 0 and chosen[-1] == count - 1
    assert all(b % stride == 0 for b in chosen[:-1])
    assert max(np.diff(chosen)) <= stride


def test_adaptive_crowds_where_the_motion_is_fast(tmp_path):
    bends = np.concatenate([np.full(18, 0.0), np.linspace(0, 2.6, 12), np.full(18, 2.6)])
    settings = KeyframeSettings(stride=8, min_stride=2)
    chosen = np.array(choose_keyframes(clip_of(tmp_path / "a", bends), settings))
    assert chosen[0] == 0 and chosen[-1] == 47
    gaps = np.diff(chosen)
    assert gaps.max() <= 8 and gaps.min() >= 2
    fast = gaps[(chosen[:-1] >= 17) & (chosen[1:] <= 31)]
    slow = gaps[chosen[1:] <= 17]
    assert fast.mean() <= slow.mean() / 2


def test_moving_across_the_picture_needs_no_more_keyframes(tmp_path):
    settings = KeyframeSettings(stride=6, min_stride=1)
    chosen = choose_keyframes(clip_of(tmp_path / "a", np.full(13, 0.5), shift=1.0), settings)
    assert chosen == (0, 6, 12)


def test_a_turning_texture_counts_as_motion():
    a = np.ones((32, 32, 4), np.float32)
    b = a.copy()
    b[::2, :, :3] = 0
    assert change(a, a, KeyframeSettings()) == 0
    assert change(a, b, KeyframeSettings()) > 0.3
    assert change(np.zeros_like(a), np.zeros_like(a), KeyframeSettings()) == 0


def test_two_frames_are_both_keyframes(tmp_path):
    assert choose_keyframes(clip_of(tmp_path / "a", [0.0, 0.1]), KeyframeSettings()) == (0, 1)


def test_a_stride_of_zero_is_refused(tmp_path):
    with pytest.raises(V2M4Error, match="stride"):
        choose_keyframes(clip_of(tmp_path / "a", [0.0, 0.1]), KeyframeSettings(stride=0))


def test_the_anchor_shows_the_object_whole(tmp_path):
    clip = clip_of(tmp_path / "a", [0.3, 0.35, 0.4])
    cropped = clip.frame(1).copy()
    cropped[:, :] = np.roll(cropped, -38, axis=1)
    cropped[:, 60:] = 0
    write_png(clip.path(0), cropped)
    write_png(clip.path(2), np.zeros_like(cropped))
    assert choose_anchor(clip, (0, 1, 2), KeyframeSettings()) == 1


def test_the_anchor_shows_limbs_apart_rather_than_reaching_far(tmp_path):
    """Two legs that lie on one another reach as far as the stride is wide; the hull is the larger, the outline not."""
    clip = clip_of(tmp_path / "a", [0.0] * 3)
    strides = ([(40, 90), (42, 90)], [(20, 88), (60, 88)], [(75, 90), (77, 90)])
    for i, feet in enumerate(strides):
        frame = np.zeros((SIDE, SIDE, 4), np.uint8)
        cv2.ellipse(frame, (40, 40), (30, 12), 0, 0, 360, (200, 120, 60, 255), -1)
        for foot in feet:
            cv2.line(frame, (40, 45), foot, (90, 120, 220, 255), 5)
        write_png(clip.path(i), frame)
    assert choose_anchor(clip, (0, 1, 2), KeyframeSettings()) == 1


def test_the_anchor_shows_limbs_that_do_not_touch(tmp_path):
    """Feet that touch enclose some background, whose outline says nothing of limbs that are apart."""
    clip = clip_of(tmp_path / "a", [0.0] * 2)
    for i, feet in enumerate(([(30, 90), (30, 90)], [(10, 75), (50, 75)])):
        frame = np.zeros((SIDE, SIDE, 4), np.uint8)
        cv2.ellipse(frame, (30, 40), (26, 12), 0, 0, 360, (200, 120, 60, 255), -1)
        for hip, foot in zip((10, 50), feet, strict=True):
            cv2.line(frame, (hip, 45), foot, (90, 120, 220, 255), 3)
        write_png(clip.path(i), frame)
    assert choose_anchor(clip, (0, 1), KeyframeSettings()) == 1


def test_the_anchor_is_where_nothing_is_much_longer_or_shorter_than_elsewhere(tmp_path):
    """A spotted thing is seen from its side most of the time, then turns away: most frames are alike, but the end is
    told better from the middle of the turn."""
    widths = [1.0] * 5 + [0.88, 0.78, 0.68, 0.6]
    clip = clip_of(tmp_path / "a", [0.0] * len(widths))
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    for i, width in enumerate(widths):
        x, y = columns / width, rows
        grey = 128 + 100 * np.sin(x / 3 + 0.7 * np.sin(y / 5)) * np.cos(y / 4 + 0.5 * np.sin(x / 6))
        frame = np.dstack([grey] * 3 + [255 * (np.hypot(x, y) < 38)]).astype(np.uint8)
        write_png(clip.path(i), frame)
    best = AnchorSettings(area_weight=0.0, limbs_weight=0.0, middle_weight=0.0, likeness=100.0)
    everywhere = tuple(range(len(widths)))
    assert widths[choose_anchor(clip, everywhere, KeyframeSettings(best=best))] in (0.88, 0.78)
    blind = replace(best, squeeze=SqueezeSettings(clear=1.0))
    assert widths[choose_anchor(clip, everywhere, KeyframeSettings(best=blind))] == 1.0


@given(radius=st.floats(20, 60), size=st.floats(60, 200))
@settings(deadline=None, max_examples=20)
def test_an_outline_is_as_long_for_its_area_however_large_it_is(radius, size):
    y, x = np.mgrid[: SIDE * 2, : SIDE * 2]
    disc = (np.hypot(x - SIDE, y - SIDE) < radius).astype(np.uint8)
    assert outline_length(disc, size) == pytest.approx(2 * np.sqrt(np.pi), rel=0.07)
    ring = disc * (np.hypot(x - SIDE, y - SIDE) > radius / 2)
    assert outline_length(ring, size) == outline_length(disc, size)


@pytest.mark.parametrize("mode", ["fixed", "adaptive"])
def test_frames_without_the_object_are_no_keyframes(tmp_path, mode):
    clip = clip_of(tmp_path / "a", np.linspace(0, 1.5, 16))
    empty = (0, 6, 7, 8, 15)
    for index in empty:
        write_png(clip.path(index), np.zeros((SIDE, SIDE, 4), np.uint8))
    chosen = choose_keyframes(clip, KeyframeSettings(mode=mode, stride=4), empty)
    assert not set(chosen) & set(empty)
    assert (chosen[0], chosen[-1]) == (1, 14)
    assert mode == "fixed" or {5, 9} <= set(chosen)


def test_the_rim_of_a_gap_stays_a_keyframe_beside_the_end(tmp_path):
    clip = clip_of(tmp_path / "a", np.linspace(0, 0.4, 12))
    settings = KeyframeSettings(mode="adaptive", stride=8, min_stride=4)
    assert choose_keyframes(clip, settings, (4, 5, 6, 7))[-3:] == (3, 8, 11)


def test_a_clip_that_hardly_shows_the_object_is_refused(tmp_path):
    with pytest.raises(V2M4Error, match="found in 1 of the 3 frames"):
        choose_keyframes(clip_of(tmp_path / "a", [0.0, 0.1, 0.2]), KeyframeSettings(), (0, 2))
