"""Euler sampler of a rectified flow, with classifier-free guidance inside an interval of time.

Time runs from 1 (noise) to 0 (data). Guidance interval: Kynkäänniemi et al. (arXiv 2404.07724). The guidance weight w
counts from the conditional prediction: v = (1 + w) v(cond) - w v(negative).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.errors import V2M4Error

MultiImage = Literal["stochastic", "multidiffusion"]


@dataclass(frozen=True)
class SamplerSettings:
    """Numbers of the sampler; the defaults are those of the released image-large model."""

    steps: int = 25
    guidance: float = 5.0
    interval: tuple[float, float] = (0.5, 1.0)
    """Times (both ends included) at whose steps guidance is on."""
    rescale_t: float = 3.0
    """Larger values spend more of the steps near the noise."""
    sigma_min: float = 1e-5

    def is_guided(self, t: float) -> bool:
        """Whether the step that starts at time `t` is guided."""
        return self.guidance != 0 and self.interval[0] <= t <= self.interval[1]


class VelocityModel(Protocol):
    """A flow network with everything but state, time and condition bound.

    `x` and `cond` may hold k copies of the batch along axis 0; `t` is in thousandths.
    """

    def __call__(self, x: Tensor, t: float, cond: Tensor) -> Tensor:
        """Velocity like `x`."""
        ...


@dataclass(frozen=True)
class Step:
    """One step from `t` to `t_next`: the state after it, and the clean estimate made at its start."""

    index: int
    t: float
    t_next: float
    x: Tensor
    x0: Tensor
    guided: bool


def time_points(steps: int, rescale_t: float) -> NDArray[np.float64]:
    """The `steps` + 1 times from 1 to 0, float64."""
    if steps < 1:
        raise V2M4Error(f"TRELLIS needs at least one sampling step, not {steps}.")
    s = np.linspace(1, 0, steps + 1)
    return rescale_t * s / (1 + (rescale_t - 1) * s)


def clean_estimate(x: Tensor, v: Tensor, t: float, sigma_min: float) -> Tensor:
    """The data that velocity `v` at state `x` and time `t` points to."""
    return (1 - sigma_min) * x - (sigma_min + (1 - sigma_min) * t) * v


def guided_velocity(
    model: VelocityModel, x: Tensor, t: float, cond: Tensor, negative: Tensor, guidance: float, paired: bool = True
) -> Tensor:
    """(1 + guidance) v(cond) - guidance v(negative) at time `t` in [0, 1].

    `paired` evaluates both in one call of twice the batch, which suits a GPU; otherwise one after the other, which
    takes less memory and lets the caller's gradients flow.
    """
    if paired:
        both = model(torch.cat([x, x]), 1000 * t, torch.cat([cond, negative]))
        v_cond, v_negative = both.chunk(2)
    else:
        v_cond, v_negative = model(x, 1000 * t, cond), model(x, 1000 * t, negative)
    return (1 + guidance) * v_cond - guidance * v_negative


def velocity(
    model: VelocityModel,
    x: Tensor,
    t: float,
    cond: Tensor,
    negative: Tensor,
    settings: SamplerSettings,
    multi_image: MultiImage = "stochastic",
    step: int = 0,
    paired: bool = True,
) -> Tensor:
    """Velocity at time `t`, guided if `settings` say so, for one or several conditioning images.

    `cond` (K, T, C) with K a multiple k of the batch size B holds k images per item, image by image. "stochastic"
    takes image `step` mod k, "multidiffusion" averages the velocities of all.
    """
    images = cond.split(negative.shape[0])
    if multi_image == "stochastic":
        images = (images[step % len(images)],)
    if not settings.is_guided(t):
        return _mean([model(x, 1000 * t, image) for image in images])
    if len(images) == 1:
        return guided_velocity(model, x, t, images[0], negative, settings.guidance, paired)
    v_cond = _mean([model(x, 1000 * t, image) for image in images])
    return (1 + settings.guidance) * v_cond - settings.guidance * model(x, 1000 * t, negative)


def _mean(velocities: list[Tensor]) -> Tensor:
    return velocities[0] if len(velocities) == 1 else torch.stack(velocities).mean(0)


def sample(
    model: VelocityModel,
    noise: Tensor,
    cond: Tensor,
    negative: Tensor,
    settings: SamplerSettings,
    multi_image: MultiImage = "stochastic",
    paired: bool = True,
) -> Iterator[Step]:
    """Integrate from `noise` at time 1 to data at time 0; yields every step, the last one's `x` is the sample."""
    x = noise
    times = time_points(settings.steps, settings.rescale_t).tolist()
    for i, (t, t_next) in enumerate(pairwise(times)):
        v = velocity(model, x, t, cond, negative, settings, multi_image, i, paired)
        x0 = clean_estimate(x, v, t, settings.sigma_min)
        x = x - (t - t_next) * v
        yield Step(i, t, t_next, x, x0, settings.is_guided(t))
