"""Camera search (section 4.1, algorithm 1): which camera shows the mesh as the frame does.

Re-posing, the step after it, is `v2m4.artefacts.posed_mesh`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from v2m4.events import Phase, Progress, StageRun
from v2m4.geometry.camera import FOV_DEG, Camera
from v2m4.geometry.mesh import Mesh
from v2m4.perceptual import Perceptual
from v2m4.settings import CameraSettings
from v2m4.stages.camera.algorithm1 import search_six_numbers
from v2m4.stages.camera.rigid_alignment import Poses
from v2m4.stages.camera.rigid_search import bounding_sphere, coarse_poses, crop_around, low_poly, refine_poses
from v2m4.stages.camera.scoring import Scorer, premultiplied
from v2m4.stages.camera.stereo_step import stereo_camera
from v2m4.stages.progress import reported
from v2m4.stereo import Locator, Stereo


@dataclass(frozen=True)
class FoundCamera:
    """camera: world_to_camera (4,4) on the CPU. score: see `Scorer.score`, lower is better. overlap: IoU of the masks.

    phases: score and overlap after each phase that ran.
    """

    camera: Camera
    score: float
    overlap: float
    phases: dict[Phase, tuple[float, float]] = field(default_factory=dict)


def search_camera(
    mesh: Mesh,
    reference: NDArray[np.uint8],
    settings: CameraSettings,
    perceptual: Perceptual,
    stereo: Stereo | Locator | None,
    rng: torch.Generator,
    keyframe: int,
    start: Camera | None,
    device: torch.device,
) -> StageRun[FoundCamera]:
    """Find the camera from which ``mesh`` looks like the ``reference`` frame.

    reference: (S,S,4) uint8, straight alpha, the whole padded frame. stereo: None does without the stereo step.
    rng: on the CPU. start: a camera to begin from, such as the previous keyframe's; used if ``warm_start`` is set.
    Yields Progress and a CameraView per phase. Raises V2M4Error if the frame's mask is empty.
    """
    frame = premultiplied(reference)
    scorer = Scorer(mesh, frame, settings.score, perceptual, device)
    phases: dict[Phase, tuple[float, float]] = {}
    near = start if settings.warm_start else None
    if settings.method == "algorithm1":
        camera = yield from search_six_numbers(scorer, settings, stereo, rng, keyframe, near, phases)
    else:
        camera = yield from _search_directions(scorer, frame, settings, stereo, rng, keyframe, near, phases)
    score, overlap = list(phases.values())[-1]
    return FoundCamera(Camera(camera.world_to_camera.cpu(), camera.fov_deg), score, overlap, phases)


def _search_directions(
    scorer: Scorer,
    frame: NDArray[np.float32],
    settings: CameraSettings,
    stereo: Stereo | Locator | None,
    rng: torch.Generator,
    keyframe: int,
    start: Camera | None,
    phases: dict[Phase, tuple[float, float]],
) -> StageRun[Camera]:
    """The fast way: near ``start`` first, everywhere only if that covers the object badly (`rigid_search`)."""
    mesh = scorer.mesh
    middle, _ = bounding_sphere(mesh)
    crop = crop_around(frame, FOV_DEG, settings.rigid)

    def shown(camera: Camera, phase: Phase) -> StageRun[float]:
        score = float(scorer.score(Camera(camera.world_to_camera[None], camera.fov_deg)))
        view = scorer.view(camera, phase, keyframe, score)
        phases[phase] = (view.score, view.overlap)
        yield view
        return view.overlap

    def first(poses: Poses) -> Camera:
        return Camera(crop.camera(poses.extrinsics(middle)).world_to_camera[0], FOV_DEG)

    # 1. From the camera that is given, if that is enough.
    near: list[Poses] = []
    if start is not None:
        near = [crop.poses(start, middle)]
        poses, _ = yield from reported(refine_poses(mesh, crop, near[0], settings.rigid), keyframe, 0.0, 0.3)
        if (yield from shown(first(poses), "descent")) >= settings.warm_overlap:
            return first(poses)
        near = [poses[:1]]
    # 2. The best of all directions, aligned to the frame.
    coarse = coarse_poses(
        low_poly(mesh, settings.rigid.low_poly), crop, settings.rigid, keep=settings.rigid.candidates - len(near)
    )
    found, _ = yield from reported(coarse, keyframe, 0.3 * len(near), 0.6)
    yield from shown(first(found), "sampling")
    found = Poses.joined([*near, found])
    poses, _ = yield from reported(refine_poses(mesh, crop, found, settings.rigid), keyframe, 0.6, 0.9)
    camera = first(poses)
    if not settings.stereo.enabled or stereo is None or scorer.overlap(camera) >= settings.rigid.stereo_below:
        yield from shown(camera, "descent")
        return camera

    # 3. Where the masks do not agree yet, a camera by dense stereo, aligned too; the better one stays.
    views = crop.camera(found[np.arange(min(settings.stereo.top_views, len(found)))].extrinsics(middle))
    located = yield from reported(stereo_camera(scorer, views, stereo, settings.stereo, rng), keyframe, 0.9, 0.95)
    if located is None:
        yield Progress("camera", 0.95, keyframe, "The stereo step found no camera.")
    else:
        yield from shown(located, "stereo")
        both = Poses.joined([poses[:1], crop.poses(located, middle)])
        poses, _ = yield from reported(refine_poses(mesh, crop, both, settings.rigid), keyframe, 0.95, 1.0)
    yield from shown(first(poses), "descent")
    return first(poses)
