"""Camera search and re-posing (section 4.1, algorithm 1): which camera shows the mesh as the frame does."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from v2m4.events import Phase, Progress, Steps
from v2m4.geometry.camera import FOV_DEG, Camera
from v2m4.geometry.mesh import Mesh
from v2m4.perceptual import Perceptual
from v2m4.settings import CameraSearchSettings
from v2m4.stages.camera_scoring import Scorer, premultiplied
from v2m4.stages.rigid_alignment import Poses
from v2m4.stages.rigid_search import LEVELS, coarse_poses, middle_and_reach, plain_colors, refine_poses, zoom_on
from v2m4.stereo import Stereo

T = TypeVar("T")


@dataclass(frozen=True)
class FoundCamera:
    """camera: world_to_camera (4,4) on the CPU. score: METHOD 2.2's, lower is better. overlap: IoU of the masks.

    phases: score and overlap after each phase that ran.
    """

    camera: Camera
    score: float
    overlap: float
    phases: dict[Phase, tuple[float, float]] = field(default_factory=dict)


def repose(mesh: Mesh, camera: Camera) -> Mesh:
    """The mesh in camera space, where the video camera has identity extrinsics."""
    return mesh.transformed(camera.world_to_camera.to(mesh.vertices))


def search_camera(
    mesh: Mesh,
    reference: NDArray[np.uint8],
    settings: CameraSearchSettings,
    perceptual: Perceptual,
    stereo: Stereo | None,
    rng: torch.Generator,
    keyframe: int,
    start: Camera | None,
    device: torch.device,
) -> Steps[FoundCamera]:
    """Find the camera from which ``mesh`` looks like the ``reference`` frame.

    reference: (S,S,4) uint8, straight alpha, the whole padded frame. stereo: None does without the stereo step.
    rng: on the CPU. start: a camera to begin from, such as the previous keyframe's; used if ``warm_start`` is set.
    Yields Progress and a CameraView per phase. Raises V2M4Error if the frame's mask is empty.
    """
    frame = premultiplied(reference)
    scorer = Scorer(mesh, frame, settings, perceptual, device)
    return (yield from _rigid(scorer, frame, settings, stereo, rng, keyframe, start))


def _rigid(
    scorer: Scorer,
    frame: NDArray[np.float32],
    settings: CameraSearchSettings,
    stereo: Stereo | None,
    rng: torch.Generator,
    keyframe: int,
    start: Camera | None,
) -> Steps[FoundCamera]:
    mesh = scorer.mesh
    middle, _ = middle_and_reach(mesh)
    zoom = zoom_on(frame, FOV_DEG)
    phases: dict[Phase, tuple[float, float]] = {}

    def shown(poses: Poses, phase: Phase) -> Steps[Camera]:
        camera = Camera(zoom.camera(poses.extrinsics(middle)).world_to_camera[0])
        view = scorer.view(camera, phase, keyframe, float(scorer.score(Camera(camera.world_to_camera[None]))))
        phases[phase] = (view.score, view.overlap)
        yield view
        return camera

    near: list[Poses] = []
    if start is not None and settings.warm_start:
        near = [Poses.of(zoom.extrinsics(start).reshape(1, 4, 4), middle)]
        poses, _ = yield from _reported(refine_poses(mesh, zoom, near[0]), keyframe, 0.0, 0.4)
        camera = yield from shown(poses, "descent")
        if phases["descent"][1] >= settings.global_threshold:
            return FoundCamera(camera, *phases["descent"], phases)
        near = [poses[:1]]
    coarse = coarse_poses(
        plain_colors(mesh), zoom, directions=600, size=64, keep=LEVELS[0].keep - len(near), roll_limit_deg=30
    )
    poses, _ = yield from _reported(coarse, keyframe, 0.4 * len(near), 0.6)
    yield from shown(poses, "sampling")
    poses, _ = yield from _reported(refine_poses(mesh, zoom, Poses.joined([*near, poses])), keyframe, 0.6, 1.0)
    camera = yield from shown(poses, "descent")
    return FoundCamera(camera, *phases["descent"], phases)


def _reported(steps: Generator[float, None, T], keyframe: int, low: float, high: float) -> Steps[T]:
    """Run steps that yield the share done, as progress from ``low`` to ``high``."""
    while True:
        try:
            share = next(steps)
        except StopIteration as stop:
            return stop.value
        yield Progress("camera", low + (high - low) * share, keyframe)
