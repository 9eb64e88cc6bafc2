"""Slopes of surfaces, and which of several readings is taken."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from v2m4.generators.sculpt.leaning import bins_around, sheared, slopes_of, spread_of, surest
from v2m4.generators.sculpt.network import LEANS, STEEPEST

SIGNED = st.floats(-2, 2)
SIDE = 32


def somewhere() -> Tensor:
    inside = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    inside[:, 5:22, 3:15] = True
    return inside


@given(right=SIGNED, down=SIGNED, more=SIGNED, seed=st.integers(0, 50))
def test_what_is_sheared_leans_by_as_much_more_and_is_as_far_as_before(
    right: float, down: float, more: float, seed: int
) -> None:
    inside, rough = somewhere(), torch.rand(1, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    before = slopes_of(rough[:, 0], inside)
    there = sheared(rough, torch.tensor([[right, down]]), inside)
    torch.testing.assert_close(
        slopes_of(there[:, 0], inside), before + torch.tensor([[right, down]]), atol=3e-4, rtol=0
    )
    torch.testing.assert_close(there[:, 0][inside].mean(), rough[:, 0][inside].mean(), atol=1e-4, rtol=0)
    # Outside may stand anything.
    wild = torch.where(inside, there[:, 0], torch.nan)
    torch.testing.assert_close(slopes_of(wild, inside), slopes_of(there[:, 0], inside))


@given(right=SIGNED, down=SIGNED)
def test_bins_lie_around_the_slopes_and_turn_over_with_them(right: float, down: float) -> None:
    weight = bins_around(torch.tensor([[right, down]]), 0.8)
    assert float(weight.sum()) == pytest.approx(1, abs=1e-5)
    angles = torch.linspace(-STEEPEST, STEEPEST, LEANS)
    assert float((weight.sum(1) * angles).sum()) == pytest.approx(math.atan(right), abs=0.02)
    assert float((weight.sum(2) * angles).sum()) == pytest.approx(math.atan(down), abs=0.02)
    torch.testing.assert_close(bins_around(torch.tensor([[-right, down]]), 0.8), weight.flip(-1), atol=1e-5, rtol=1e-3)


def test_of_two_readings_the_likelier_is_taken_for_what_is_wide_and_their_middle_for_what_is_narrow() -> None:
    likely = 0.6 * bins_around(torch.tensor([[0.8, 0.0]]), 0.8) + 0.4 * bins_around(torch.tensor([[-0.8, 0.0]]), 0.8)
    logits = likely.clamp_min(1e-9).log()
    assert float(surest(logits, torch.tensor([0.3]), 0.12)) == pytest.approx(0.8, abs=0.05)
    assert float(surest(logits.flip(-1), torch.tensor([0.3]), 0.12)) == pytest.approx(-0.8, abs=0.05)
    # A certain one is found between the bins.
    for slope in (0.0, 0.33, -1.2):
        sure = bins_around(torch.tensor([[slope, 0.4]]), 0.8).clamp_min(1e-9).log()
        assert float(surest(sure, torch.tensor([0.2]), 0.12)) == pytest.approx(slope, abs=0.05)


def test_the_spread_is_that_of_places_to_the_right() -> None:
    inside = somewhere()
    assert float(spread_of(inside)) == pytest.approx(12 / SIDE / math.sqrt(12), rel=0.01)
    assert float(spread_of(inside.transpose(1, 2))) == pytest.approx(17 / SIDE / math.sqrt(12), rel=0.01)
