"""A camera that travels around what it films."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from v2m4.animation import Animation
from v2m4.geometry.camera import Camera


def travelled(camera: Camera, middle: Tensor, angle: float) -> Camera:
    """The camera, travelled by ``angle`` radians about its own vertical through ``middle`` (3,), in its space."""
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle
    return Camera(matrix @ camera.world_to_camera, camera.fov_deg)


def turned(animation: Animation, angle: float) -> Camera:
    """The reference camera, travelled by ``angle`` radians about the vertical through the middle of all poses."""
    points = animation.vertices.reshape(-1, 3)
    return travelled(Camera.identity(), (points.amin(0) + points.amax(0)) / 2, angle)
