"""What is added to a motion is smoothed as far as it shakes, and no further."""

from __future__ import annotations

import numpy as np

from v2m4.settings import CalmingSettings, changed
from v2m4.stages.registration.calming import calmed

FRAMES = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]
JOINED = np.array([False] + [True] * 11)
TIMES = np.array(FRAMES) / 60
MOTION = np.stack([np.sin(3 * TIMES), TIMES, TIMES**2], axis=1)[:, None] * np.linspace(1, 2, 5)[:, None]  # (12,5,3)
SLOW = 0.1 * np.cos(2 * TIMES)[:, None, None] * np.ones((1, 5, 3))
NOISE = 0.001 * np.random.default_rng(0).normal(size=MOTION.shape)
SETTINGS = CalmingSettings()


def shaking(poses: np.ndarray) -> float:
    """Mean second difference where frames follow each other."""
    return float(np.linalg.norm(np.diff(poses[3:], n=2, axis=0), axis=2).mean())


def test_what_shakes_is_smoothed_and_slow_shifts_stay() -> None:
    out = calmed(MOTION, MOTION + SLOW + NOISE, FRAMES, JOINED, 0, SETTINGS)
    assert shaking(MOTION + SLOW + NOISE) > 2 * shaking(MOTION)
    assert shaking(out) < 1.3 * shaking(MOTION)
    assert np.abs(out - MOTION - SLOW).mean() < np.abs(NOISE).mean()


def test_what_is_calm_and_the_anchor_are_left_alone() -> None:
    calm = MOTION + SLOW
    assert calmed(MOTION, calm, FRAMES, JOINED, 0, SETTINGS) is calm
    out = calmed(MOTION, calm + NOISE, FRAMES, JOINED, 4, SETTINGS)
    np.testing.assert_allclose(out[4], (calm + NOISE)[4], atol=1e-6)


def test_nothing_is_drawn_over_a_cut() -> None:
    cut = JOINED.copy()
    cut[6] = False
    shifted = MOTION + np.where(np.arange(12) < 6, 0.0, 1.0)[:, None, None] + NOISE
    out = calmed(MOTION, shifted, FRAMES, cut, 0, SETTINGS)
    assert np.abs((out - MOTION)[6] - 1).max() < 0.1 and np.abs((out - MOTION)[5]).max() < 0.1
    assert calmed(MOTION[:2], shifted[:2], FRAMES[:2], cut[:2], 0, SETTINGS) is not None


def test_what_the_picture_tells_keeps_its_place_better_than_the_rest() -> None:
    told = np.zeros((12, 5), bool)
    told[:, :2] = True
    shifted = MOTION + SLOW + 10 * NOISE
    out = calmed(MOTION, shifted, FRAMES, JOINED, 0, changed(SETTINGS, {"told": 30.0}), told)
    off = np.linalg.norm(out - shifted, axis=2).mean(axis=0)  # (5,)
    assert off[:2].max() < 0.5 * off[2:].min()
    alike = calmed(MOTION, shifted, FRAMES, JOINED, 0, SETTINGS, ~np.ones((12, 5), bool))
    np.testing.assert_allclose(alike, calmed(MOTION, shifted, FRAMES, JOINED, 0, SETTINGS), atol=1e-12)


def test_shifts_are_those_of_least_squares() -> None:
    """One strength, against a dense solution vertex by vertex."""
    told = np.random.default_rng(1).random((12, 5)) < 0.5
    settings = changed(SETTINGS, {"doublings": 1, "gentlest": 0.7, "told": 4.0, "allowed": 1.0})
    shifted = MOTION + SLOW + NOISE
    out = calmed(MOTION, shifted, FRAMES, JOINED, 3, settings, told)
    second = np.zeros((10, 12))
    for row in range(10):  # of frames apart by one step or two
        one, two = np.diff(FRAMES)[row : row + 2]
        second[row, row : row + 3] = np.array([1 / one, -1 / one - 1 / two, 1 / two]) * 2 / (one + two)
    for vertex in range(5):
        weight = np.where(told[:, vertex], 4.0, 1.0)
        weight[3] = 1e6
        system = np.diag(weight) + 0.7 * second.T @ second
        expected = np.linalg.solve(system, weight[:, None] * (shifted - MOTION)[:, vertex])
        np.testing.assert_allclose(out[:, vertex], MOTION[:, vertex] + expected, atol=1e-9)
