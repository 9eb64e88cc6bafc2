"""The triangulation's compiled loop against a plain one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generators.pictures import distance_to
from v2m4.generators.inflate.triangulation_numba import sample_interior


def sample_plainly(distance: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Pixel centres in reading order, each taken if it is inside and no earlier one is within 0.9 of its size."""
    taken: list[tuple[int, int]] = []
    for (y, x), away in np.ndenumerate(distance):
        gaps = [np.hypot(y - v, x - h) for v, h in taken]
        if away >= 0.6 * size[y, x] and all(gap >= 0.9 * size[y, x] for gap in gaps):
            taken.append((y, x))
    return np.array([(x + 0.5, y + 0.5) for y, x in taken]).reshape(-1, 2)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.5, 6), st.floats(0, 4))
def test_interior_points_are_those_of_the_plain_greedy_thinning(seed: int, least: float, growth: float) -> None:
    random = np.random.default_rng(seed)
    distance = -distance_to((*random.uniform(5, 25, 4), random.uniform(3, 12)), 30).astype(np.float32)
    size = (least + growth * random.random()) * np.ones((30, 30), np.float32)
    size += np.linspace(0, growth, 30, dtype=np.float32)
    np.testing.assert_array_equal(sample_interior(distance, size, 0.6, 0.9), sample_plainly(distance, size))
