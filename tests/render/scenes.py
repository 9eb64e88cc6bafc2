"""Small scenes the rendering tests share."""

from __future__ import annotations

import numpy as np
import torch
import trimesh
from torch import Tensor

from v2m4.geometry.camera import Camera, orbit_extrinsics
from v2m4.geometry.mesh import Mesh


def ellipsoid(subdivisions: int = 2) -> Mesh:
    """A closed, coloured ellipsoid half a unit long."""
    sphere = trimesh.creation.icosphere(subdivisions, radius=0.5)
    vertices = torch.tensor(np.asarray(sphere.vertices) * [0.6, 1.0, 0.8], dtype=torch.float32)
    return Mesh(vertices, torch.tensor(np.asarray(sphere.faces)).long(), colors=vertices + 0.5)


def quad(depth: float = 2.0, half: float = 0.3) -> Mesh:
    """A textured square facing the identity camera: red, green, blue, white quarters, red in the upper left."""
    corners = [[-half, -half, depth], [half, -half, depth], [half, half, depth], [-half, half, depth]]
    texture = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]])
    texture = texture.repeat_interleave(8, 0).repeat_interleave(8, 1)
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]])
    uv = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    return Mesh(torch.tensor(corners), faces, uv=uv, uv_faces=faces, texture=texture)


def orbit(count: int, seed: int = 0, radius: float = 2.0) -> Camera:
    """Random cameras around the origin."""
    rng = torch.Generator().manual_seed(seed)
    yaw = torch.rand(count, generator=rng) * 6.28
    pitch = torch.rand(count, generator=rng) - 0.5
    return Camera(orbit_extrinsics(yaw, pitch, torch.full((count,), radius), torch.zeros(count, 3)))


def soup(seed: int, triangles: int, behind: bool = False) -> tuple[Tensor, Tensor]:
    """Random triangles in clip space, (1,V,4) and (F,3); with ``behind``, some corners are behind the camera."""
    rng = torch.Generator().manual_seed(seed)
    w = torch.rand(3 * triangles, 1, generator=rng) * 2 + (-0.5 if behind else 0.2)
    xyz = (torch.rand(3 * triangles, 3, generator=rng) * 3 - 1.5) * w.abs()
    return torch.cat([xyz, w], dim=1)[None], torch.arange(3 * triangles).view(-1, 3)
