"""The sheet's depths: what the network says, smoothed, around the picture's outline."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.generators.pictures import distance_to
from v2m4.generators.inflate.heights import Heights, round_heights
from v2m4.generators.inflate.outline import Crop
from v2m4.generators.sculpt.network import GRID, LAYERS
from v2m4.generators.sculpt.picture import Square
from v2m4.generators.sculpt.sheet import sheet_heights
from v2m4.settings import InflateSettings, SculptSettings

SIDE, RADIUS = 200, 60


def disc_heights(entry: np.ndarray, exit_: np.ndarray, own_depth: float = 1.0) -> tuple[Heights, Heights]:
    """The sheet over a disc in the middle of a picture that is its own crop and square, where the network sees a single
    layer (GRID,GRID); and what the outline alone says."""
    distance = -distance_to((SIDE / 2, SIDE / 2, SIDE / 2, SIDE / 2, RADIUS), SIDE).astype(np.float32)
    crop = Crop(np.zeros((SIDE, SIDE, 4), np.float32), np.zeros(2), np.ones(2))
    layers = torch.zeros(1, 2 * LAYERS, GRID, GRID)
    layers[0, 0], layers[0, 1] = torch.from_numpy(entry), torch.from_numpy(exit_)
    places = (np.arange(GRID) + 0.5) * SIDE / GRID - SIDE / 2
    inside = np.hypot(places[:, None], places) < RADIUS
    square = Square(np.array([0.5, 0.5]), 1.0)
    alone = round_heights(distance, InflateSettings())
    settings = SculptSettings(own_depth=own_depth)
    return sheet_heights(layers, inside, square, crop, SIDE, alone, settings), alone


def half_depth(heights: Heights) -> np.ndarray:
    return np.sqrt(np.maximum(heights.distance, 0) * heights.squared_per_distance)


def test_a_tilted_slab_stays_tilted_and_as_thick_as_it_is() -> None:
    slope = np.tile(np.linspace(-0.2, 0.2, GRID, dtype=np.float32), (GRID, 1))
    heights, _ = disc_heights(slope - 0.1, slope + 0.1)
    assert heights.middle is not None
    row = slice(SIDE // 2 - 30, SIDE // 2 + 30)
    # Depth grows to the right, so height over the plane falls; lengths are in pixels of a square SIDE wide.
    expected = -np.interp(np.arange(SIDE) + 0.5, (np.arange(GRID) + 0.5) * SIDE / GRID, slope[0]) * SIDE
    np.testing.assert_allclose(heights.middle[SIDE // 2, row], expected[row], atol=1.5)
    assert half_depth(heights)[SIDE // 2, SIDE // 2] == pytest.approx(0.1 * SIDE, rel=0.1)


def test_a_ball_stays_a_ball_and_its_rim_round() -> None:
    places = (np.arange(GRID) + 0.5) / GRID - 0.5
    radius = RADIUS / SIDE
    half = np.sqrt(np.maximum(radius**2 - places[:, None] ** 2 - places**2, 0)).astype(np.float32)
    heights, _ = disc_heights(-half, half)
    away = np.hypot(*(np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2))
    inside = away < RADIUS - 2
    expected = np.sqrt(np.maximum(RADIUS**2 - away**2, 0))
    assert np.abs(half_depth(heights) - expected)[inside].max() < 0.12 * RADIUS


def test_at_the_share_zero_the_outline_alone_decides_the_thickness() -> None:
    flat = np.zeros((GRID, GRID), np.float32)
    heights, alone = disc_heights(flat - 0.05, flat + 0.05, own_depth=0.0)
    np.testing.assert_allclose(heights.squared_per_distance, alone.squared_per_distance, rtol=1e-5)


def test_single_wrong_columns_leave_no_spike() -> None:
    entry = np.full((GRID, GRID), -0.1, np.float32)
    entry[GRID // 2, GRID // 2] = -0.6
    heights, _ = disc_heights(entry, np.full((GRID, GRID), 0.1, np.float32))
    smooth, _ = disc_heights(np.full((GRID, GRID), -0.1, np.float32), np.full((GRID, GRID), 0.1, np.float32))
    assert heights.middle is not None and smooth.middle is not None
    np.testing.assert_allclose(heights.middle, smooth.middle, atol=0.5)
