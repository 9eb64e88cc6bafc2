"""Depth from the medial axis, and the two sides that follow from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generators.pictures import distance_to
from v2m4.generators.inflate.heights import Heights, _parabolas, round_heights
from v2m4.settings import InflateSettings

SIDE = 200
ROUND = InflateSettings(trunk=10)


def half_depth(capsule: tuple[float, ...], options: InflateSettings = ROUND) -> np.ndarray:
    """(SIDE,SIDE) over a capsule (x0, y0, x1, y1, radius)."""
    heights = round_heights(-distance_to(capsule, SIDE).astype(np.float32), options)
    return np.sqrt(np.maximum(heights.distance, 0) * heights.squared_per_distance)


@pytest.mark.parametrize("capsule", [(30, 100, 170, 100, 14), (100, 100, 100, 100, 60)])
def test_limbs_are_cylinders_and_round_trunks_are_balls(capsule: tuple[float, ...]) -> None:
    found = half_depth(capsule)[:, SIDE // 2]
    away = np.abs(np.arange(SIDE) + 0.5 - SIDE / 2)
    expected = np.sqrt(np.maximum(capsule[4] ** 2 - away**2, 0))
    assert np.abs(found - expected).max() < 0.15 * capsule[4]


def test_a_smaller_trunk_flattens_what_is_thick_and_leaves_limbs_alone() -> None:
    limb, trunk = (30, 100, 170, 100, 8), (100, 100, 100, 100, 80)
    flat = InflateSettings(trunk=0.2)
    assert half_depth(trunk, flat).max() < 0.6 * half_depth(trunk).max()
    assert half_depth(limb, flat).max() == pytest.approx(half_depth(limb).max(), rel=0.05)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9))
def test_the_envelope_is_the_highest_of_the_paraboloids(seed: int, height: int, width: int) -> None:
    value = np.random.default_rng(seed).uniform(0, 30, (height, width))
    y, x = np.mgrid[:height, :width]
    plain = [[(value - (y - v) ** 2 - (x - h) ** 2).max() for h in range(width)] for v in range(height)]
    np.testing.assert_allclose(_parabolas(value), plain)


def test_the_far_side_mirrors_the_near_one_in_the_picture_plane() -> None:
    random = np.random.default_rng(0)
    distance, squared, middle = random.random((3, 4, 5)).astype(np.float32)
    tilted, flat = Heights(distance, squared, middle), Heights(distance, squared)
    np.testing.assert_array_equal(tilted.front[:2], tilted.back[:2])
    np.testing.assert_array_equal(tilted.front[2], -tilted.back[2])
    assert flat.is_mirrored and not tilted.is_mirrored and not flat.front[2].any()
