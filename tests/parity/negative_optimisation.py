"""Runs the negative-embedding fixture: cheap stand-ins for networks and image distances, everything else for real."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from v2m4.generators.trellis.sampler import SamplerSettings, clean_estimate, time_points
from v2m4.settings import Settings, changed
from v2m4.stages.refinement import Comparison, Iteration, optimise_negative


class StandIn:
    """A latent object whose velocity and renderings are the formulas of the fixture's note."""

    first = None

    def __init__(self, given: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        self.cond, self.noise = given["cond"], given["noise"]
        self.states = self.noise[None]
        self.negative = torch.zeros_like(self.cond)
        self.given, self.size = given, config["image_size"]
        self.mean = torch.tensor(config["normalization"]["mean"])
        self.std = torch.tensor(config["normalization"]["std"])
        sampler = config["sampler"]
        self.guidance = sampler["cfg_strength"]
        self.times = time_points(sampler["steps"], sampler["rescale_t"]).tolist()

    def at_work(self) -> nullcontext[None]:
        return nullcontext()

    def velocity(self, x: Tensor, t: float, cond: Tensor) -> Tensor:
        time = torch.tensor(t, dtype=torch.float32)
        return 0.8 * x * (0.5 + time / 1000) + torch.tanh(cond.mean(1))[0] * torch.cos(time / 300)

    def clean_estimate(self, x: Tensor, v: Tensor, t: float) -> Tensor:
        return clean_estimate(x, v, t, SamplerSettings().sigma_min)

    def denormalise(self, x: Tensor) -> Tensor:
        return x * self.std + self.mean

    def pictures(self, slat: Tensor) -> Tensor:
        """(2,S,S,3): the stand-in renderings of mesh and Gaussians."""
        row = torch.arange(self.size**2) % len(slat)
        both = [torch.sigmoid(slat @ self.given[name].T)[row] for name in ("A", "B")]
        return torch.stack(both).view(2, self.size, self.size, 3)


class SmallSquares:
    """Stand-in for DreamSim: mean squared difference of 224 x 224 bicubic copies."""

    def prepare(self, reference: Tensor) -> Tensor:
        return self._small(reference[None])

    def __call__(self, prepared: Tensor, images: Tensor) -> Tensor:
        return ((self._small(images) - prepared) ** 2).mean((1, 2, 3))

    def _small(self, images: Tensor) -> Tensor:
        return functional.interpolate(images.permute(0, 3, 1, 2), (224, 224), mode="bicubic", align_corners=False)


class Absolute:
    """Stand-in for LPIPS: mean absolute difference."""

    def prepare(self, reference: Tensor) -> Tensor:
        return reference

    def __call__(self, prepared: Tensor, images: Tensor) -> Tensor:
        return (images - prepared).abs().mean((1, 2, 3))


def run(given: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the fixture's `out.*` should be, from its `in.*` and configuration."""
    source = StandIn(given, config)
    appendix = {"iterations_grow_every": 5, "lr": 0.1, "restart": False}
    settings = changed(Settings.of("paper").refinement, appendix | {"iterations": config["start_optimize_iter"]})
    comparison = Comparison(
        given["refer_image"].permute(1, 2, 0), {"dreamsim": SmallSquares(), "lpips": Absolute()}, settings
    )
    losses, steps = [], []
    for event in optimise_negative(
        source, lambda slat, index: (comparison(source.pictures(slat))[i] for i in range(2)), settings
    ):
        if isinstance(event, Iteration):
            losses.append(event.loss)
        else:
            steps.append(event)
    return {
        "inner_iterations": torch.tensor([s.iterations for s in steps], dtype=torch.int32),
        "loss": torch.tensor(losses),
        "neg_after_step": torch.stack([s.negative for s in steps]),
        "x_t": torch.stack([s.x for s in steps]),
        "x_0": torch.stack([s.x0 for s in steps]),
    }
