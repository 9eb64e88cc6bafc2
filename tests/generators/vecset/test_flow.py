"""The sampler and the three grids of times."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.generators.craftsman3d import sampling as craftsman3d
from v2m4.generators.hunyuan3d import sampling as hunyuan3d
from v2m4.generators.triposg import sampling as triposg
from v2m4.generators.vecset.flow import euler, guided, last, shifted


@settings(deadline=None)
@given(st.integers(1, 60), st.floats(0.5, 5))
def test_a_straight_flow_is_followed_exactly(steps: int, shift: float) -> None:
    noise, data = torch.randn(1, 4, 3), torch.randn(1, 4, 3)

    def to_data(x: Tensor, time: Tensor, context: object) -> Tensor:
        return data - noise

    reached = last(euler(to_data, noise, triposg.flow_grid(steps, shift), None, None, torch.float32))
    torch.testing.assert_close(reached, data, rtol=1e-4, atol=1e-4)
    if steps > 1:
        grid = hunyuan3d.flow_grid(hunyuan3d.sigmas(steps, shift))
        torch.testing.assert_close(
            last(euler(to_data, noise, grid, None, None, torch.float32)), data, atol=1e-4, rtol=0
        )


@settings(deadline=None)
@given(st.integers(2, 60))
def test_only_craftsman_leaves_a_little_noise(steps: int) -> None:
    left = craftsman3d.sigmas(steps)[-1]
    assert 0 < left < 0.01
    assert craftsman3d.flow_grid(steps).steps.sum() == pytest.approx(left - 1)
    assert triposg.sigmas(steps)[-1] == 0
    assert hunyuan3d.flow_grid(hunyuan3d.sigmas(steps)).steps.sum() == pytest.approx(1)


@settings(deadline=None)
@given(st.integers(1, 10))
def test_consistency_times_grow_to_the_end(steps: int) -> None:
    times = hunyuan3d.consistency_sigmas(steps)
    assert len(times) == steps + 1
    assert times[0] == 0
    assert times[-1] == 1
    assert (np.diff(times) > 0).all()


@settings(deadline=None)
@given(st.floats(0.2, 8))
def test_shifting_keeps_the_ends_and_the_order(shift: float) -> None:
    levels = shifted(np.linspace(0, 1, 20), shift)
    assert levels[0] == 0
    assert levels[-1] == pytest.approx(1)
    assert (np.diff(levels) > 0).all()
    np.testing.assert_allclose(shifted(levels, 1 / shift), np.linspace(0, 1, 20), atol=1e-9)


@settings(deadline=None)
@given(st.floats(0, 10))
def test_guidance_starts_from_nothing_and_goes_through_the_picture(strength: float) -> None:
    nothing, picture = torch.randn(1, 3, 2), torch.randn(1, 3, 2)
    mixed = guided(torch.cat([nothing, picture]), strength)
    torch.testing.assert_close(mixed, (1 - strength) * nothing + strength * picture, rtol=1e-4, atol=1e-4)


def test_both_conditions_are_asked_in_one_batch_with_the_same_state_and_time() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def network(x: Tensor, time: Tensor, context: object) -> Tensor:
        seen.append((x, time))
        return torch.zeros_like(x)

    noise = torch.randn(1, 3, 2)
    list(euler(network, noise, triposg.flow_grid(2), None, 7.0, torch.float16))
    (x, time), _ = seen
    assert x.dtype == torch.float16
    assert torch.equal(x[0], x[1])
    assert time.tolist() == [1000.0, 1000.0]


def test_times_are_rounded_as_the_released_half_precision_rounds_them() -> None:
    times = hunyuan3d.model_time(torch.tensor([1 / 49]), torch.float16)
    assert times.dtype == torch.float16
    assert float(times) == float(torch.tensor(1000 / 49).half() / 1000)


def test_no_steps_are_refused() -> None:
    for grid in (triposg.flow_grid, craftsman3d.flow_grid):
        with pytest.raises(V2M4Error, match="at least one step"):
            grid(0)
