"""Algorithm 1 of the paper: sampling, stereo, swarm and descent over the six numbers of a roll-free camera."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from v2m4.events import Phase, Progress, StageRun
from v2m4.geometry.camera import Camera
from v2m4.settings import CameraSettings
from v2m4.stages.camera.descent import descend
from v2m4.stages.camera.scoring import Scorer
from v2m4.stages.camera.six_numbers import camera_of, numbers_of, sample_cameras
from v2m4.stages.camera.stereo_step import stereo_camera
from v2m4.stages.camera.swarm import particle_swarm
from v2m4.stages.progress import reported
from v2m4.stereo import Locator, Stereo


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

    # 1. Sampling: random cameras (N,6), and the previous keyframe's; the best ones are the swarm's start.
    samples = sample_cameras(settings.algorithm1.samples, settings.algorithm1, rng)
    if start is not None:
        samples = torch.cat([numbers_of(Camera(start.world_to_camera.cpu().reshape(1, 4, 4))), samples])  # (N+1,6)
    scores = yield from reported(evaluate(samples), keyframe, 0.0, 0.3)
    order = scores.argsort()  # best first
    best, score = samples[order[0]], float(scores[order[0]])
    yield from shown(best, "sampling", score)
    swarm = samples[order[: settings.algorithm1.swarm.size]]  # (P,6)

    # 2. Stereo between the frame and the best views: a particle more, in the worst one's place.
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
            swarm = torch.cat([numbers[None], samples[order[: settings.algorithm1.swarm.size - 1]]])  # (P,6)

    # 3. The swarm, which never ends worse than it began.
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

    # 4. Descent on the masks alone. It ends the search: what it finds is taken even if its score is higher.
    if settings.algorithm1.descent.enabled:
        best = yield from reported(descend(scorer, best, settings.algorithm1.descent), keyframe, 0.85, 1.0)
        yield from shown(best, "descent", float(scorer.score(camera_of(best[None]))))
    return camera_of(best)
