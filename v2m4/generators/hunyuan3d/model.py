"""Hunyuan3D-2's networks and the way its flow is asked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.generators.hunyuan3d.network import HunyuanDiT
from v2m4.generators.hunyuan3d.sampling import consistency_sigmas, flow_grid, model_time, sigmas
from v2m4.generators.vecset.flow import FlowGrid, Velocity
from v2m4.generators.vecset.model import VecsetModel


@dataclass
class HunyuanModel(VecsetModel[Tensor]):
    """phases: of a network distilled for consistency, at how many of the training's times; None for others."""

    denoiser: HunyuanDiT
    phases: int | None = None

    def flow_grid(self, steps: int) -> FlowGrid:
        """The grid of times that the network was trained or distilled for."""
        return flow_grid(sigmas(steps) if self.phases is None else consistency_sigmas(steps, self.phases))

    def velocity(self, x: Tensor, time: Tensor, context: Tensor, guidance: float | None = None) -> Tensor:
        """As in `VecsetModel`; `guidance`: what a distilled network is told."""
        strength = None if guidance is None else torch.full_like(time, guidance)
        out: Tensor = self.denoiser(x, model_time(time, x.dtype), context, strength)
        return out

    def sample(
        self,
        tokens: Tensor,
        noise: Tensor,
        grid: FlowGrid,
        guidance: float | None,
        velocity: Velocity[Tensor] | None = None,
    ) -> Tensor:
        """As in `VecsetModel`; a distilled network is told the guidance instead of being asked twice."""
        if not self.denoiser.config.guidance_embed:
            return super().sample(tokens, noise, grid, guidance, velocity)

        def told(x: Tensor, time: Tensor, context: Tensor) -> Tensor:
            return self.velocity(x, time, context, guidance)

        return super().sample(tokens, noise, grid, None, velocity or told)
