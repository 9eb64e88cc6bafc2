"""The six numbers of a roll-free camera, which algorithm 1 searches over.

In the order of every (N,6) tensor here: yaw, pitch, radius, look-at x, y, z.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from v2m4.geometry.camera import FOV_DEG, Camera, orbit_extrinsics, orbit_parameters
from v2m4.settings import Algorithm1Settings


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
