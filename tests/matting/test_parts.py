"""The parts of matting, each against what it promises: the cut, the pieces and holes, the edges, the modes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2m4.events import drain
from v2m4.masks import mask_iou
from v2m4.matting.background import learn
from v2m4.matting.background_labels import (
    _bridges,
    _distance_varies,
    _Views,
    _with_resting_parts,
    find_changes,
    label_background,
)
from v2m4.matting.colour_modes import ALWAYS_COVERED, MODES, ModeLabelling, find_modes
from v2m4.matting.flat import fit_surface
from v2m4.matting.graph_cut import contour_weight, cut
from v2m4.matting.mask_cleanup import fill_speckles, keep_object
from v2m4.matting.soft_edges import soften
from v2m4.settings import BackgroundSettings, FlatSettings, GraphCutSettings, MaskCleanupSettings, MattingSettings

BACKGROUND, CLEANUP, CUT, MATTING = BackgroundSettings(), MaskCleanupSettings(), GraphCutSettings(), MattingSettings()


def disc(side: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    return np.hypot(x, y) < radius


def test_the_cut_follows_the_evidence_and_ignores_specks():
    rng = np.random.default_rng(0)
    truth = disc(120, 35)
    evidence = np.where(truth, -1.0, 1.0)
    evidence[rng.random(truth.shape) < 0.15] *= -1
    labels = cut(evidence.astype(np.float32), np.full(truth.shape, 1.5, np.float32), CUT) > 0.5
    assert mask_iou(labels, truth) > 0.97


def test_the_cut_prefers_edges_of_the_picture():
    picture = np.full((64, 64, 3), 200, np.uint8)
    picture[:, 40:] = 60
    evidence = np.zeros((64, 64), np.float32)
    evidence[:, :10], evidence[:, -4:] = -2, 2
    labels = cut(evidence, contour_weight(picture, 1.5, 16.0, CUT), GraphCutSettings(iterations=600)) > 0.5
    assert abs(int(labels[32].sum()) - 40) <= 1


def test_the_cut_reaches_the_minimum_that_exhaustive_search_finds():
    rng = np.random.default_rng(3)
    evidence = rng.normal(0, 1, (3, 4)).astype(np.float32)
    weight = np.full((3, 4), 0.4, np.float32)

    def energy(x: np.ndarray) -> float:
        gx = np.diff(x, axis=1, append=x[:, -1:])
        gy = np.diff(x, axis=0, append=x[-1:])
        return float((evidence * x).sum() + (weight * np.hypot(gx, gy)).sum())

    best = min(energy(np.array(bits, np.float64).reshape(3, 4)) for bits in itertools.product((0, 1), repeat=12))
    found = energy((cut(evidence, weight, GraphCutSettings(iterations=2000)) > 0.5).astype(np.float64))
    assert found == pytest.approx(best, abs=0.05)


def test_pieces_belong_by_size_and_nearness():
    mask = np.zeros((200, 200), bool)
    mask[50:150, 50:100] = True
    mask[152:160, 60:80] = True
    mask[80:110, 110:120] = True
    far_speck, far_piece = mask.copy(), mask.copy()
    far_speck[190:195, 190:195] = True
    far_piece[0:20, 180:200] = True
    assert (keep_object(far_speck, CLEANUP) == mask).all()
    assert (keep_object(far_piece, CLEANUP) == mask).all()


def test_small_holes_are_filled_and_gaps_between_limbs_stay():
    mask = disc(128, 60)
    mask[30, 60:62] = False
    gap = disc(128, 12)
    mask &= ~gap
    background = np.zeros(mask.shape, np.float32)
    background[gap] = 1
    filled = fill_speckles(mask, CLEANUP, background)
    assert filled[30, 60] and not filled[64, 64]
    assert fill_speckles(mask, CLEANUP, np.zeros_like(background))[64, 64]


@given(value=st.integers(0, 255), shift=st.floats(0, 1))
def test_alpha_of_an_edge_is_its_coverage(value, shift):
    background = np.full((40, 60, 3), value, np.float32)
    front = np.array([255 - value // 2, (value + 128) % 256, 90.0])
    coverage = np.clip(30 + shift - np.arange(60), 0, 1)
    rgb = (front * coverage[None, :, None] + background * (1 - coverage[None, :, None])).round().astype(np.uint8)
    mask = np.broadcast_to(coverage > 0.5, (40, 60))
    rgba = soften(np.broadcast_to(rgb, (40, 60, 3)), mask, background, MATTING)
    contrast = float(np.linalg.norm(front - value))
    if contrast > 120:
        assert rgba[20, 30, 3] / 255 == pytest.approx(shift, abs=0.08)
        assert np.abs(rgba[20, 29, :3] - front).max() < 12
    assert not rgba[:, 40:].any() and (rgba[:, :26, 3] == 255).all()


def test_an_empty_mask_gives_an_empty_picture():
    assert not soften(np.full((8, 8, 3), 9, np.uint8), np.zeros((8, 8), bool), None, MATTING).any()


@given(
    st.tuples(st.integers(60, 190), st.integers(60, 190), st.integers(60, 190)), st.floats(-40, 40), st.floats(-20, 20)
)
def test_a_surface_follows_gradients_and_the_object_does_not_bend_it(colour, slope, bend):
    y, x = np.mgrid[0:120, 0:160] / 60 - 1
    truth = np.array(colour) + (slope * y + bend * (x - 0.33) ** 2)[..., None]
    rgb = truth.round().clip(0, 255).astype(np.uint8)
    rgb[30:110, 40:120] = (250, 20, 20)
    surface = fit_surface(rgb, FlatSettings())
    assert surface.plain_rim > 0.95
    assert np.abs(surface.colours(120, 160) - truth).max() < 4


def test_modes_are_the_recurring_colours_most_frequent_first():
    frames = np.zeros((10, 1, 1, 3), np.uint8)
    frames[[1, 4, 7], 0, 0] = (200, 10, 10)
    frames[9, 0, 0] = (10, 10, 200)
    shown, sizes, colours = find_modes(frames, 20.0, 8)
    assert sizes[0, 0].tolist() == [6, 3, 1]
    assert shown[:, 0, 0].tolist() == [0, 1, 0, 0, 1, 0, 0, 1, 0, 2]
    assert colours[0, 0, 1] == pytest.approx([200, 10, 10])


def test_a_colour_that_recurs_is_found_after_many_others():
    """A shaded object shows a pixel one colour after the other before it leaves the background in sight."""
    shades = np.arange(20, dtype=np.uint8)[:, None] * 12
    frames = np.concatenate([shades.repeat(3, 1), np.full((20, 3), (10, 90, 200), np.uint8)])[:, None, None]
    shown, sizes, colours = find_modes(frames, 18.0, 8)
    assert sizes[0, 0, 0] == 20 and colours[0, 0, 0] == pytest.approx([10, 90, 200])
    assert (shown[20:] == 0).all() and (shown[:20] > 0).all()


def test_the_labelling_matches_exhaustive_search_on_a_row_of_pixels():
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 3, (6, 1, 5, 1)) * np.array([90, 60, 80])
    frames = frames.astype(np.uint8)
    shown, _, _ = find_modes(frames, 20.0, 8)
    unary = rng.random((1, 5, MODES + 1)).astype(np.float32)

    def energy(labels) -> float:
        total = sum(unary[0, i, k] for i, k in enumerate(labels))
        for t in range(6):
            seen = [k < MODES and shown[t, 0, i] == k for i, k in enumerate(labels)]
            for i in range(4):
                step = np.abs(frames[t, 0, i].astype(int) - frames[t, 0, i + 1]).max()
                total += (seen[i] != seen[i + 1]) * (0.3 + 0.7 * np.exp(-((step / 14.0) ** 2))) / 6
        return float(total)

    found = ModeLabelling(frames, shown, 14.0, 0.3).solve(unary, 8)[0]
    best = min(itertools.product(range(MODES + 1), repeat=5), key=energy)
    assert energy(found) == pytest.approx(energy(best), abs=1e-5)


def test_a_background_covered_most_of_the_time_is_still_found():
    rng = np.random.default_rng(2)
    wall = rng.integers(0, 256, (8, 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    frames = np.repeat(wall[None], 20, axis=0)
    for t in range(20):
        sway, bob = (round(5 * f(t / 20 * 2 * np.pi)) for f in (np.sin, np.cos))
        frames[t, 16 + bob : 48 + bob, 18 + sway : 46 + sway] = (230, 120, 30)
    background, _ = drain(learn(frames, 18.0, BACKGROUND))
    # A median over time takes the swept strip, covered in most frames, for orange.
    strip = (slice(26, 38), slice(18, 20))
    assert np.nanmean(np.abs(background.colours[strip] - wall[strip])) < 6
    assert np.isnan(background.colours[24:40, 28:36]).all()


def test_what_the_object_passes_is_background_although_it_has_its_colour():
    rng = np.random.default_rng(4)
    wall = rng.integers(0, 200, (12, 12, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    wall[..., 0] //= 3
    post = (slice(20, 76), slice(44, 52))
    wall[post] = (230, 120, 30)
    frames = np.repeat(wall[None], 20, axis=0)
    for t in range(20):
        frames[t, 36:60, 3 * t + 6 : 3 * t + 30] = (230, 60, 34)
        frames[t, 40:56, 3 * t + 12 : 3 * t + 24] = (230, 120, 30)
    background, _ = drain(learn(frames, 18.0, BACKGROUND))
    assert np.isfinite(background.colours).all()
    assert np.abs(background.colours - wall).max(-1).mean() < 2


def mosaic(seed: int) -> np.ndarray:
    """(96,96,3) a wall of coloured tiles."""
    return np.random.default_rng(seed).integers(0, 200, (12, 12, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)


def test_still_things_of_the_colour_of_an_object_that_moves_away_are_background():
    wall = mosaic(4)
    wall[..., 0] //= 3
    wall[76:, :] = wall[30:54, 62:80] = (120, 130, 110)  # a floor below where it starts, and a thing beside its way
    frames = np.repeat(wall[None], 20, axis=0)
    for t in range(20):
        share = (t / 19) ** 3 * (10 - 15 * t / 19 + 6 * (t / 19) ** 2)  # it starts and ends gently
        top, left = round(62 - 58 * share), round(12 + 38 * share)
        frames[t, top : top + 26, left : left + 22] = (120, 130, 110)
        frames[t, top + 6 : top + 12, left + 5 : left + 17] = (30, 30, 40)
    labels, _, _ = drain(label_background(frames, 18.0, BACKGROUND))
    assert (labels == ALWAYS_COVERED)[78:].mean() < 0.05
    assert (labels == ALWAYS_COVERED)[32:52, 64:78].mean() < 0.05


def views(moving: np.ndarray) -> _Views:
    """What the frames show where an object is at the (T,h,w) places ``moving`` and the rest stands still."""
    shape = moving.shape[1:]
    nothing = np.zeros((*shape, 3), np.float32)
    changes = find_changes(nothing + 1, 0.9)
    return _Views(
        np.where(moving, 1, 0).astype(np.uint8), None, nothing[..., None], nothing, changes, nothing, BACKGROUND.speck
    )


def test_a_resting_part_is_kept_if_it_is_large_and_touched_all_the_time():
    moving = np.zeros((10, 60, 60), bool)
    for t in range(10):
        moving[t, 10 + t : 22 + t, 30:42] = True  # it stays beside the column at 16 to 30, and leaves the rows below 16
    bold = np.zeros((60, 60), np.uint8)
    body, far, below, speck = (np.s_[8:40, 16:30], np.s_[8:40, 0:10], np.s_[44:58, 20:50], np.s_[15:18, 43:46])
    for place in (body, far, below, speck):
        bold[place] = ALWAYS_COVERED
    kept = _with_resting_parts(views(moving), np.zeros_like(bold), bold, BACKGROUND) == ALWAYS_COVERED
    assert kept[body].all()
    assert kept.sum() == kept[body].size
    # One that sways in its place may stand on all of them.
    swaying = np.stack([np.roll(moving[4], t % 2, axis=1) for t in range(10)])
    assert (_with_resting_parts(views(swaying), np.zeros_like(bold), bold, BACKGROUND) == bold).all()


def test_distances_from_what_moves_tell_what_is_left_behind():
    moving = np.zeros((12, 40, 80), bool)
    for t in range(12):
        moving[t, 12:24, 4 + 5 * t : 16 + 5 * t] = True
    varies = _distance_varies(moving, BACKGROUND)
    assert varies[18, 4] > 1 and varies[18, 76] > 1
    swaying = np.stack([np.roll(moving[5], round(3 * np.sin(t)), axis=1) for t in range(12)])
    assert _distance_varies(swaying, BACKGROUND).max() < 0.5
    assert (_distance_varies(np.zeros_like(moving), BACKGROUND) == 0).all()


def test_narrow_gaps_between_parts_are_bridged_and_wide_ones_stay():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 5:20] = mask[10:30, 24:34] = mask[10:30, 50:58] = True
    bridged = _bridges(mask, 3)
    assert bridged[12:28, 20:24].all() and not bridged[:, 38:46].any()
    assert (bridged | ~mask).all() and not bridged[:8].any()
