"""The swarm follows the formula of the method, with the release's random numbers and with its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from v2m4.events import drain
from v2m4.stages.camera.swarm import Swarm, particle_swarm

DATA = Path(__file__).parents[2] / "parity" / "fixtures" / "v2m4"


def rugged(x: Tensor, target: Tensor) -> Tensor:
    """The fixture's function: a bowl with ripples."""
    d = (x - target) * torch.tensor([1, 1.3, 0.5, 2, 2, 2])
    return d.square().sum(1) + 0.3 * (1 - torch.cos(3 * d)).sum(1)


def test_the_release_s_swarm_is_reproduced_step_by_step() -> None:
    """`particle_swarm.safetensors` holds every random number the release drew, and where its particles went."""
    data = load_file(DATA / "particle_swarm.safetensors")
    swarm = Swarm.at(data["in.initial_swarm"])
    for k, expected in enumerate(data["out.swarm"]):
        assert torch.allclose(swarm.positions, expected, atol=1e-5)
        scores = rugged(swarm.positions, data["in.target"])
        assert torch.allclose(scores, data["out.scores"][k], atol=1e-4, rtol=1e-5)
        swarm = replace(swarm.scored(scores), velocities=data["in.uniform_velocity"][k])
        swarm = swarm.moved(0.5, data["in.r1"][k], data["in.r2"][k])
    assert torch.allclose(swarm.best[0], data["out.global_best"], atol=1e-5)


@pytest.mark.parametrize("memory", [True, False])
def test_it_comes_near_the_minimum_and_never_forgets_the_best(memory: bool) -> None:
    target = torch.tensor([0.3, -0.2, 0.5, 0.1, 0.4, -0.3])
    lowest: list[float] = []

    def evaluate(x: Tensor):
        yield 1.0
        scores = rugged(x, target)
        lowest.append(float(scores.min()))
        return scores

    rng = torch.Generator().manual_seed(0)
    start = 2 * torch.rand(60, 6, generator=rng) - 1
    best, score = drain(particle_swarm(start, evaluate, iterations=30, inertia=0.5, memory=memory, rng=rng))
    assert score == pytest.approx(min(lowest))
    assert score == pytest.approx(float(rugged(best[None], target)))
    assert score < (0.05 if memory else 0.5 * lowest[0])
