"""A video of a finished animation, from its reference camera or from around it."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from v2m4.animation import Animation
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.export.preview import over_paper, render_rgba
from v2m4.export.video import VideoWriter
from v2m4.geometry.camera import Camera
from v2m4.run import Run, Step
from v2m4.settings import Settings
from v2m4.steps import animation_of


def render_orbit(folder: Path, output: Path | None, orbit_deg: float, size: int) -> Path:
    """Render the finished run in ``folder`` to an mp4 of ``size`` x ``size`` pixels; returns its path.

    The camera travels ``orbit_deg`` degrees about the object during the clip, starting at the reference view.
    """
    if not 16 <= size <= 4096:
        raise V2M4Error(f"The size of the picture must lie between 16 and 4096 pixels, but is {size}.")
    animation, clip = finished_run(folder)
    path = output or folder / "render.mp4"
    with VideoWriter(path, clip.times, clip.duration) as writer:
        for time in clip.times:
            turn = math.radians(orbit_deg) * time / max(clip.times[-1], 1e-9)
            writer.add(over_paper(render_rgba(animation.mesh_at(time), turned(animation, turn), size)))
    return path


def finished_run(folder: Path) -> tuple[Animation, Clip]:
    """The animation and the masked clip of a finished run. Raises V2M4Error if it is not one."""
    settings = folder / "settings.json"
    if not settings.exists() or not (folder / "work" / "run.json").exists():
        raise V2M4Error(
            f"{folder} is not the folder of a finished run. Give the folder that holds animation.glb and work."
        )
    run = Run.read(folder, Settings.from_json(settings.read_text()))
    if not run.done(Step("texture")):
        raise V2M4Error(f"The run in {folder} is not finished. Give its `v2m4 reconstruct` command again.")
    return animation_of(run), Clip.load(run.work / "masked")


def turned(animation: Animation, angle: float) -> Camera:
    """The reference camera, travelled by ``angle`` radians about the vertical through the middle of all poses."""
    points = animation.vertices.reshape(-1, 3)
    middle = (points.amin(0) + points.amax(0)) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle
    return Camera(matrix)
