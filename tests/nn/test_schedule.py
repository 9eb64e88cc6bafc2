"""How learning rates fall."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2m4.nn.schedule import half_cosine


def test_the_rate_falls_from_start_to_end() -> None:
    rates = [half_cosine(n / 10, 0.1, 0.001) for n in range(11)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.001)
    assert all(a > b for a, b in itertools.pairwise(rates))


@given(st.floats(0, 1), st.floats(1e-6, 1), st.floats(0, 1))
def test_what_is_above_the_middle_before_half_time_is_below_it_after(progress: float, start: float, end: float) -> None:
    assert half_cosine(progress, start, end) + half_cosine(1 - progress, start, end) == pytest.approx(start + end)
