"""Algorithm 1 of the paper: sampling, stereo, swarm and descent over the six numbers of a roll-free camera.

The numbers, in the order of every (N,6) tensor here: yaw, pitch, radius, look-at x, y, z.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor

from v2m4.events import Phase, Progress, StageRun
from v2m4.geometry.camera import FOV_DEG, Camera, orbit_extrinsics, orbit_parameters
from v2m4.render import render
from v2m4.settings import Algorithm1Settings, CameraSettings, DescentSettings
from v2m4.stages.camera.scoring import Scorer, resized
from v2m4.stages.camera.stereo_step import stereo_camera
from v2m4.stages.camera.swarm import particle_swarm
from v2m4.stages.progress import reported
from v2m4.stereo import Locator, Stereo


def camera_of(numbers: Tensor) -> Camera:
    """The camera(s) of six numbers (…,6)."""
    yaw, pitch, radius = numbers[..., :3].unbind(-1)
    return Camera(orbit_extrinsics(yaw, pitch, radius, numbers[..., 3:]), FOV_DEG)


def numbers_of(camera: Camera) -> Tensor:
    """The six numbers (…,6) of cameras; roll is dropped."""
    yaw, pitch, radius, lookat = orbit_parameters(camera.world_to_camera)
    return torch.cat([torch.stack([yaw, pitch, radius], dim=-1), lookat], dim=-1)


def sample_cameras(count: int, settings: Algorithm1Settings, rng: torch.Generator) -> Tensor:
    """(N,6) random cameras: directions uniform on the sphere, the square of the radius uniform, look-at in a cube."""
    u = torch.rand(count, 6, generator=rng)
    low, high = settings.radius_min**2, settings.radius_max**2
    return torch.cat(
        [
            (2 * u[:, :1] - 1) * math.pi,
            torch.asin(2 * u[:, 1:2] - 1),
            ((high - low) * u[:, 2:3] + low).sqrt(),
            (2 * u[:, 3:] - 1) * settings.lookat_range,
        ],
        dim=1,
    )


def search_six_numbers(
    scorer: Scorer,
    settings: CameraSettings,
    stereo: Stereo | Locator | None,
    rng: torch.Generator,
    keyframe: int,
    start: Camera | None,
    phases: dict[Phase, tuple[float, float]],
) -> StageRun[Camera]:
    """Run the phases that the settings ask for; each adds its score and overlap to ``phases``.

    start: a camera that is scored along with the samples.
    """

    def evaluate(numbers: Tensor) -> Generator[float, None, Tensor]:
        return scorer.score_all(camera_of(numbers))

    def shown(numbers: Tensor, phase: Phase, score: float) -> StageRun[None]:
        view = scorer.view(camera_of(numbers), phase, keyframe, score)
        phases[phase] = (view.score, view.overlap)
        yield view

    samples = sample_cameras(settings.algorithm1.samples, settings.algorithm1, rng)
    if start is not None:
        samples = torch.cat([numbers_of(Camera(start.world_to_camera.cpu().reshape(1, 4, 4))), samples])
    scores = yield from reported(evaluate(samples), keyframe, 0.0, 0.3)
    order = scores.argsort()
    best, score = samples[order[0]], float(scores[order[0]])
    yield from shown(best, "sampling", score)
    swarm = samples[order[: settings.algorithm1.swarm.size]]

    if settings.stereo.enabled and stereo is not None:
        views = camera_of(samples[order[: settings.stereo.top_views]])
        found = yield from reported(stereo_camera(scorer, views, stereo, settings.stereo, rng), keyframe, 0.3, 0.5)
        if found is None:
            yield Progress("camera", 0.5, keyframe, "The stereo step found no camera.")
        else:
            numbers = numbers_of(Camera(found.world_to_camera.cpu()))
            own_score = float((yield from reported(evaluate(numbers[None]), keyframe, 0.5, 0.5)))
            yield from shown(numbers, "stereo", own_score)
            if own_score < score:
                best, score = numbers, own_score
            swarm = torch.cat([numbers[None], samples[order[: settings.algorithm1.swarm.size - 1]]])

    if settings.algorithm1.swarm.enabled:
        flight = particle_swarm(
            swarm,
            evaluate,
            iterations=settings.algorithm1.swarm.iterations,
            inertia=settings.algorithm1.swarm.inertia,
            memory=settings.algorithm1.swarm.memory,
            rng=rng,
        )
        found_numbers, found_score = yield from reported(flight, keyframe, 0.5, 0.85)
        if found_score <= score:
            best, score = found_numbers, found_score
        yield from shown(best, "swarm", score)

    if settings.algorithm1.descent.enabled:
        best = yield from reported(descend(scorer, best, settings.algorithm1.descent), keyframe, 0.85, 1.0)
        yield from shown(best, "descent", float(scorer.score(camera_of(best[None]))))
    return camera_of(best)


def descend(scorer: Scorer, numbers: Tensor, settings: DescentSettings) -> Generator[float, None, Tensor]:
    """Gradient descent on the six numbers (6,): the masks' mean squared difference x (pixels / mask pixels).

    Adam; the numbers with the lowest loss are kept. Yields the share done after every step.
    """
    mask = resized(scorer.frame[..., 3:], settings.size)[..., 0]
    weight = mask.numel() / float(mask.sum().clamp_min(1.0))
    unknown = numbers.to(scorer.frame.device).clone().requires_grad_()
    optimiser = torch.optim.Adam([unknown], lr=settings.lr)
    best, lowest = numbers, math.inf
    for step in range(settings.iterations):
        drawn = render(scorer.mesh, camera_of(unknown), settings.size, ("mask",)).mask
        assert drawn is not None
        loss = weight * (drawn[0] - mask).square().mean()
        if float(loss.detach()) < lowest:
            best, lowest = unknown.detach().cpu().clone(), float(loss.detach())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield (step + 1) / settings.iterations
    return best
