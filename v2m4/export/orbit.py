"""A video of a finished animation, from its reference camera or from around it."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from v2m4.animation import Animation
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.export.preview import over_paper
from v2m4.export.video import VideoWriter
from v2m4.geometry.camera import Camera
from v2m4.render.pictures import render_rgba


def render_orbit(path: Path, animation: Animation, clip: Clip, orbit_deg: float, size: int) -> None:
    """Write an mp4 of ``size`` x ``size`` pixels, a frame for each of the clip's, to ``path``.

    The camera travels ``orbit_deg`` degrees about the object during the clip, starting at the reference view.
    """
    if not 16 <= size <= 4096:
        raise V2M4Error(f"The size of the picture must lie between 16 and 4096 pixels, but is {size}.")
    with VideoWriter(path, clip.times, clip.duration) as writer:
        for time in clip.times:
            turn = math.radians(orbit_deg) * time / max(clip.times[-1], 1e-9)
            writer.add(over_paper(render_rgba(animation.mesh_at(time), turned(animation, turn), size)))


def turned(animation: Animation, angle: float) -> Camera:
    """The reference camera, travelled by ``angle`` radians about the vertical through the middle of all poses."""
    points = animation.vertices.reshape(-1, 3)
    middle = (points.amin(0) + points.amax(0)) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle
    return Camera(matrix)
