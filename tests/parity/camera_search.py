"""The camera search's own pieces against the release: how cameras are drawn, the swarm, and the stereo step's fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.parity.runner import Check, Measure, compare, group
from v2m4.events import drain
from v2m4.geometry.camera import FOV_DEG, Camera
from v2m4.settings import Algorithm1Settings, StereoStepSettings
from v2m4.stages.camera.six_numbers import sample_cameras
from v2m4.stages.camera.stereo_fit import (
    camera_by_descent,
    camera_by_pnp,
    similarity_by_chamfer,
    similarity_by_matches,
    subset,
)
from v2m4.stages.camera.swarm import Swarm

Tensors = dict[str, Tensor]


def check_sampling(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Quantiles, means and deviations of the six numbers, as shares of each one's range, and their correlations."""
    columns = json.loads(meta["columns"])
    samples = sample_cameras(200_000, Algorithm1Settings(), torch.Generator().manual_seed(0)).double()
    levels = tensors["out.quantile_levels"]
    inner = (levels >= 0.01) & (levels <= 0.99)
    measures = []
    for column, name in enumerate(columns):
        width = float(tensors["out.maximum"][column] - tensors["out.minimum"][column])
        found = torch.quantile(samples[:, column], levels[inner])
        error = float((found - tensors["out.quantiles"][column, inner]).abs().max()) / width
        measures.append(Measure(f"quantiles of {name}", error, 5e-3))
        for what, value in (("mean", samples[:, column].mean()), ("std", samples[:, column].std())):
            difference = float((value - tensors[f"out.{what}"][column]).abs())
            measures.append(Measure(f"{what} of {name}", difference / width, 5e-3))
    correlation = float((torch.corrcoef(samples.T) - tensors["out.correlation"]).abs().max())
    return [*measures, Measure("correlation", correlation, 1.5e-2)]


def check_swarm(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Every particle in every iteration, given the random numbers the release drew."""
    inertia = json.loads(meta["config"])["inertia"]
    swarm = Swarm.at(tensors["in.initial_swarm"])
    positions, scores = [], []
    for velocities, to_own, to_global in zip(
        tensors["in.uniform_velocity"], tensors["in.r1"], tensors["in.r2"], strict=True
    ):
        positions.append(swarm.positions)
        d = (swarm.positions - tensors["in.target"]) * torch.tensor([1, 1.3, 0.5, 2, 2, 2])
        scores.append(d.square().sum(1) + 0.3 * (1 - torch.cos(3 * d)).sum(1))
        swarm = replace(swarm.scored(scores[-1]), velocities=velocities).moved(inertia, to_own, to_global)
    got = {"swarm": torch.stack(positions), "scores": torch.stack(scores), "global_best": swarm.best[0]}
    return compare(got, group(tensors, "out"), 1e-4)


def check_stereo_guess(path: Path, meta: Mapping[str, Any], tensors: Tensors) -> list[Measure]:
    """Where the true points are seen by the cameras that the two ways find, against the true camera's picture.

    In units of normalised device coordinates, as the release's own `mean_reprojection_distance_ndc`.
    """
    masks = tensors["in.masks"].bool()
    own = int(masks[0].sum())
    predicted, true = tensors["in.world_points_foreground"], tensors["in.gt_points"]
    row, column = masks[0].nonzero().float().unbind(1)
    # The fixture's points lie at the pixels' corners, as the release counts; ours lie at their centres.
    pixels = torch.stack([column, row], dim=1) / masks.shape[-1]
    truth = Camera(tensors["in.reference_extrinsics"])
    rng, settings = torch.Generator().manual_seed(0), StereoStepSettings()

    def distance(camera: Camera | None) -> float:
        assert camera is not None
        return float((2 * (camera.project(true)[0] - truth.project(true)[0])).norm(dim=1).mean())

    clouds = [
        cloud[subset(len(cloud), settings.keep, settings.least_points, len(cloud), rng)]
        for cloud in (predicted[own:], true)
    ]
    descended = drain(similarity_by_chamfer(clouds[0], clouds[1], settings, rng))
    start = Camera(tensors["in.prior_extrinsics"][0])
    posed = drain(camera_by_descent(descended.apply(predicted[:own]), pixels, start, settings))
    matched = similarity_by_matches(predicted[own:], true, torch.ones(len(true)), settings, rng)
    direct = camera_by_pnp(
        matched.apply(predicted[:own]), pixels, FOV_DEG, settings, tolerance=settings.match_tolerance
    )
    return [Measure("descents", distance(posed), 4e-2), Measure("closed forms", distance(direct), 1e-3)]


def _named(name: str) -> Any:
    return lambda path, meta: path.name.startswith(name) and path.suffix == ".safetensors"


CHECKS = [
    Check("v2m4", _named("camera_sampling_stats"), check_sampling),
    Check("v2m4", _named("particle_swarm"), check_swarm),
    Check("v2m4", _named("stereo_guess"), check_stereo_guess),
]
