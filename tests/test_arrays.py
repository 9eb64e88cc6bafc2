"""Sums of a short last axis: NumPy's own numbers, to the bit."""

import numpy as np
import pytest

from v2m4.arrays import max_last, norm_last, sum_last


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1000, 3), (40, 50, 3), (1000, 2), (0, 3), (5, 1)])
def test_they_are_numpys_to_the_bit(shape, kind):
    x = np.random.default_rng(0).standard_normal(shape).astype(kind)
    for ours, theirs in (
        (sum_last(x), x.sum(-1)),
        (max_last(x), x.max(-1)),
        (norm_last(x), np.linalg.norm(x, axis=-1)),
    ):
        assert ours.dtype == kind
        np.testing.assert_array_equal(ours, theirs)
