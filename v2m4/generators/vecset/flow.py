"""Euler steps of a rectified flow (Liu et al., arXiv 2209.03003) with classifier-free guidance (arXiv 2207.12598)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from v2m4.errors import V2M4Error

Numbers = NDArray[np.float64]
Context = TypeVar("Context")
Context_contra = TypeVar("Context_contra", contravariant=True)


@dataclass(frozen=True)
class FlowGrid:
    """The steps x += step * v(x, time).

    times: (N,) what the network is told; steps: (N,) signed lengths, negative where the velocity points to the noise.
    """

    times: Numbers
    steps: Numbers

    def __post_init__(self) -> None:
        if len(self.times) < 1:
            raise V2M4Error("Sampling needs at least one step. Raise the generator's steps.")


class Velocity(Protocol[Context_contra]):
    """How a flow network is asked: states (B, L, C) at one time to velocities, given the conditions of all B."""

    def __call__(self, x: Tensor, time: Tensor, context: Context_contra) -> Tensor: ...


class FlowNetwork(nn.Module, ABC, Generic[Context]):
    """The transformer that tells velocities. Called with states (B, L, C), times (B,) and what `prepare` gave."""

    @abstractmethod
    def prepare(self, tokens: Tensor) -> Context:
        """What the steps need of the picture's tokens (B, T, C), computed once."""


def shifted(sigmas: Numbers, shift: float) -> Numbers:
    """Noise levels in [0, 1] with more of them near 1 where `shift` is above 1 (Esser et al., arXiv 2403.03206)."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def guided(velocity: Tensor, guidance: float) -> Tensor:
    """u + guidance (c - u) of a batch [u, c]: (2B, L, C) -> (B, L, C), in float32."""
    nothing, picture = velocity.float().chunk(2)
    return nothing + guidance * (picture - nothing)


def euler(
    network: Velocity[Context],
    noise: Tensor,
    grid: FlowGrid,
    context: Context,
    guidance: float | None,
    dtype: torch.dtype,
) -> Iterator[Tensor]:
    """Integrate from `noise` (B, L, C); yields the state after every step, in float32.

    The network gets states and times (one per item, float32) in `dtype` precision. With `guidance` its context holds
    the conditions of nothing, then those of the picture; without, those of the picture alone.
    """
    x = noise.float()
    times = torch.tensor(grid.times, dtype=torch.float32, device=x.device)
    for time, step in zip(times, grid.steps.tolist(), strict=True):
        state = x if guidance is None else torch.cat([x, x])
        v = network(state.to(dtype), time.expand(len(state)), context)
        x = x + step * (v.float() if guidance is None else guided(v, guidance))
        yield x


def last(states: Iterator[Tensor]) -> Tensor:
    """The sample that the steps end at."""
    for state in states:
        result = state
    return result
