"""Recorded functions give the values and slopes of the functions themselves, also when they share memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def wave(x: Tensor, shift: Tensor) -> Tensor:
    return (x + shift).sin().exp() @ x.T


def square(x: Tensor) -> Tensor:
    return (x.square() + x.cos()).cumsum(0)


def test_values_and_slopes_are_those_of_the_function() -> None:
    from v2m4.nn.cuda_graphs import GraphPool, Recorded

    rng = torch.Generator().manual_seed(0)
    example, shift = torch.zeros(16, 16, device="cuda"), torch.ones(16, device="cuda")
    recorded = Recorded(wave, 0, example, shift, pool=GraphPool())
    for _ in range(3):
        x = torch.randn(16, 16, generator=rng).cuda().requires_grad_()
        weight = torch.randn(16, 16, generator=rng).cuda()
        shift = torch.randn(16, generator=rng).cuda()
        expected = wave(x, shift)
        (slope,) = torch.autograd.grad(expected, x, weight)
        found = recorded(x, shift)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found, x, weight)[0], slope)
    with torch.no_grad():
        assert not recorded(x, shift).requires_grad


def test_functions_that_share_memory_may_be_interleaved() -> None:
    from v2m4.nn.cuda_graphs import GraphPool, Recorded

    pool, example = GraphPool(), torch.zeros(16, 16, device="cuda")
    first = Recorded(square, 0, example, pool=pool)
    second = Recorded(lambda x: square(x) * 2, 0, example, pool=pool)
    x = torch.randn(16, 16, generator=torch.Generator().manual_seed(0)).cuda().requires_grad_()
    (first(x).sum() + second(x).sum() + first(x).sum() * 0).backward()
    expected = torch.autograd.grad(3 * square(x).sum(), x)[0]
    torch.testing.assert_close(x.grad, expected)


def test_a_replayed_function_gives_its_values_for_all_shapes() -> None:
    from v2m4.nn.cuda_graphs import Replayed

    rng = torch.Generator().manual_seed(0)
    replayed = Replayed(wave)
    shift = torch.ones(16, device="cuda")
    kept = []
    for call in range(8):
        x = torch.randn(16 if call % 2 else 4, 16, generator=rng).cuda()
        kept.append((replayed(x, shift), wave(x, shift)))
    for found, expected in kept:  # none was overwritten by a later one
        torch.testing.assert_close(found, expected)


WAITING = """
import torch
from v2m4.nn.cuda_graphs import Repeated, Replayed
def waiting(x):
    return x * float(x.sum())
replayed, x, total = Replayed(waiting), torch.ones(4, device="cuda"), torch.zeros(4, device="cuda")
for _ in range(4):
    torch.testing.assert_close(replayed(x), waiting(x))
repeated = Repeated(lambda: total.add_(waiting(x)), x.device)
for _ in range(6):
    repeated()
torch.testing.assert_close(total, torch.full_like(total, 24.0))
"""


def test_what_waits_for_the_device_is_called_as_it_is() -> None:
    """In a process of its own, for what a broken recording leaves behind is up to the driver."""
    done = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("could not be recorded") == 2


def test_a_repeated_step_goes_on_from_where_it_is() -> None:
    from v2m4.nn.cuda_graphs import Repeated

    results = []
    for device in ("cpu", "cuda"):
        x = torch.linspace(-2, 2, 16).to(device).requires_grad_()
        optimiser = torch.optim.Adam([x], lr=0.1, capturable=device == "cuda")

        def step(x: Tensor = x, optimiser: torch.optim.Optimizer = optimiser) -> None:
            optimiser.zero_grad(set_to_none=False)
            (x.sin() + 0.1 * x.square()).sum().backward()
            optimiser.step()

        repeated = Repeated(step, x.device)
        for _ in range(20):
            repeated()
        results.append(x.detach().cpu())
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


def test_work_side_by_side_is_recorded_with_its_slopes() -> None:
    from v2m4.nn.cuda_graphs import GraphPool, Recorded, side_by_side

    def both(x: Tensor) -> Tensor:
        y = x * 2
        first, second = side_by_side([lambda: square(y), lambda: y.sin() @ y.T])
        return first + second

    rng = torch.Generator().manual_seed(0)
    recorded = Recorded(both, 0, torch.zeros(64, 64, device="cuda"), pool=GraphPool())
    for _ in range(3):
        x, weight = (torch.randn(64, 64, generator=rng).cuda() for _ in range(2))
        x.requires_grad_()
        expected, found = both(x), recorded(x)
        torch.testing.assert_close(found, expected)
        slopes = (torch.autograd.grad(value, x, weight)[0] for value in (found, expected))
        torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-4)
