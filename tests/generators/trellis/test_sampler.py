"""The Euler sampler: its times, its guidance, and several images at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.generators.trellis.sampler import SamplerSettings, clean_estimate, sample, time_points


def towards(cond: Tensor) -> Tensor:
    return cond.mean(1)


def straight(x: Tensor, t: float, cond: Tensor) -> Tensor:
    """The velocity of a straight path that ends in the condition's mean: (state - end) / t."""
    return (x - towards(cond)) / (t / 1000)


@given(steps=st.integers(1, 60), rescale=st.floats(0.2, 10))
def test_time_falls_from_one_to_zero(steps: int, rescale: float) -> None:
    t = time_points(steps, rescale)
    assert len(t) == steps + 1
    assert t[0] == pytest.approx(1)
    assert t[-1] == 0
    assert np.all(np.diff(t) < 0)


def test_no_steps_is_refused() -> None:
    with pytest.raises(V2M4Error, match="at least one"):
        time_points(0, 3.0)


@pytest.mark.parametrize("steps", [1, 7])
def test_straight_paths_are_followed_exactly(steps: int) -> None:
    cond, noise = torch.randn(2, 5, 3), torch.randn(2, 3)
    *_, last = sample(straight, noise, cond, torch.zeros(2, 5, 3), SamplerSettings(steps=steps, guidance=0))
    torch.testing.assert_close(last.x, towards(cond), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(last.x0, towards(cond), rtol=1e-3, atol=1e-3)


def test_guidance_pushes_away_from_the_negative_condition() -> None:
    cond, noise = torch.full((1, 2, 1), 2.0), torch.zeros(1, 1)
    settings = SamplerSettings(steps=4, guidance=3.0, interval=(0.0, 1.0))
    *_, last = sample(straight, noise, cond, torch.zeros(1, 2, 1), settings)
    assert last.x.item() == pytest.approx((1 + 3) * 2.0, rel=1e-5)


def test_guidance_is_on_only_inside_its_interval() -> None:
    settings = SamplerSettings()
    steps = list(sample(straight, torch.zeros(1, 1), torch.ones(1, 2, 1), torch.zeros(1, 2, 1), settings))
    assert [s.guided for s in steps] == [True] * 19 + [False] * 6
    assert settings.is_guided(0.5)
    assert not SamplerSettings(guidance=0).is_guided(0.7)


def test_pairs_and_single_evaluations_agree() -> None:
    rng = torch.Generator().manual_seed(0)
    cond, noise = torch.randn(2, 5, 3, generator=rng), torch.randn(2, 3, generator=rng)
    runs = [
        list(sample(straight, noise, cond, torch.zeros(2, 5, 3), SamplerSettings(steps=5), paired=paired))[-1].x
        for paired in (True, False)
    ]
    torch.testing.assert_close(*runs)


def test_stochastic_images_take_turns() -> None:
    seen = []

    def record(x: Tensor, t: float, cond: Tensor) -> Tensor:
        seen.append(cond[0, 0, 0].item())
        return torch.zeros_like(x)

    cond = torch.arange(3.0).view(3, 1, 1)
    list(sample(record, torch.zeros(1, 1), cond, torch.zeros(1, 1, 1), SamplerSettings(steps=5, guidance=0)))
    assert seen == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_multidiffusion_averages_the_images(guidance: float) -> None:
    cond, zero = torch.tensor([1.0, 4.0]).view(2, 1, 1), torch.zeros(1, 1, 1)
    settings = SamplerSettings(steps=3, guidance=guidance, interval=(0.0, 1.0))
    *_, several = sample(straight, torch.ones(1, 1), cond, zero, settings, multi_image="multidiffusion")
    *_, mean = sample(straight, torch.ones(1, 1), cond.mean(0, keepdim=True), zero, settings)
    torch.testing.assert_close(several.x, mean.x)


def test_the_clean_estimate_ends_a_straight_path() -> None:
    end, noise, t = torch.randn(3), torch.randn(3), 0.4
    x = (1 - t) * end + (1e-5 + (1 - 1e-5) * t) * noise
    v = (1 - 1e-5) * noise - end
    torch.testing.assert_close(clean_estimate(x, v, t, 1e-5), end, rtol=1e-4, atol=1e-4)
