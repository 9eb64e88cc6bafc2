"""Particle swarm optimisation (Kennedy and Eberhart 1995) of the camera's six numbers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from v2m4.stages.progress import between


@dataclass(frozen=True)
class Swarm:
    """positions, velocities and each particle's own best: (N,D); own_scores: (N,), lower is better."""

    positions: Tensor
    velocities: Tensor
    own_best: Tensor
    own_scores: Tensor

    @staticmethod
    def at(positions: Tensor) -> Swarm:
        """A swarm at rest that has not been scored yet."""
        scores = torch.full_like(positions[:, 0], torch.inf)
        return Swarm(positions, torch.zeros_like(positions), positions, scores)

    @property
    def best(self) -> tuple[Tensor, float]:
        """The best position (D,) any particle has been at, and its score."""
        index = int(self.own_scores.argmin())
        return self.own_best[index], float(self.own_scores[index])

    def scored(self, scores: Tensor) -> Swarm:
        """The particles remember their present positions where these scored better than any before."""
        better = scores < self.own_scores
        return replace(
            self,
            own_best=torch.where(better[:, None], self.positions, self.own_best),
            own_scores=torch.where(better, scores, self.own_scores),
        )

    def moved(self, inertia: float, to_own: Tensor, to_global: Tensor) -> Swarm:
        """One step: v = inertia v + r1 (own best - x) + r2 (global best - x), x = x + v; r1 and r2 (N,D) in [0,1]."""
        velocities = (
            inertia * self.velocities
            + to_own * (self.own_best - self.positions)
            + to_global * (self.best[0] - self.positions)
        )
        return replace(self, positions=self.positions + velocities, velocities=velocities)


def particle_swarm(
    start: Tensor,
    evaluate: Callable[[Tensor], Generator[float, None, Tensor]],
    *,
    iterations: int,
    inertia: float,
    memory: bool,
    rng: torch.Generator,
) -> Generator[float, None, tuple[Tensor, float]]:
    """Minimise from positions (N,D); returns the best position (D,) and its score; yields the share done.

    evaluate: scores (N,) of positions (N,D), yielding the share done. memory: particles keep their velocity; without,
    it is drawn anew from [-1,1] in every iteration, as the authors' release does, which makes the swarm a random
    search around its best positions.
    """
    swarm = Swarm.at(start)
    for iteration in range(iterations):
        scoring = evaluate(swarm.positions)
        swarm = swarm.scored((yield from between(scoring, iteration / iterations, (iteration + 1) / iterations)))
        if not memory:
            swarm = replace(swarm, velocities=2 * torch.rand(start.shape, generator=rng) - 1)
        to_own, to_global = torch.rand(2, *start.shape, generator=rng)
        swarm = swarm.moved(inertia, to_own, to_global)
    return swarm.best
