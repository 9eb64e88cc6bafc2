"""A small painted object whose every side looks different, and pictures of it: the truth of the camera tests."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.geometry.camera import Camera, orbit_extrinsics
from v2m4.geometry.mesh import Mesh
from v2m4.render import render_fast
from v2m4.stereo import PointMaps


def painted_creature() -> Mesh:
    """A long body, a head at one end, a fin on top; red to the left, green ahead, brighter above."""
    import trimesh

    body = trimesh.creation.icosphere(subdivisions=3)
    body.apply_scale([0.25, 0.5, 0.22])
    head = trimesh.creation.icosphere(subdivisions=2)
    head.apply_scale(0.2)
    head.apply_translation([0, 0.5, 0.15])
    fin = trimesh.creation.box([0.06, 0.3, 0.3])
    fin.apply_translation([0.05, -0.2, 0.3])
    joined = trimesh.util.concatenate([body, head, fin])
    vertices = torch.tensor(np.asarray(joined.vertices), dtype=torch.float32)
    x, y, z = vertices.unbind(1)
    stripes = 0.15 * torch.sin(14 * y)
    colors = torch.stack([0.5 - 1.4 * x, 0.5 + 0.7 * y, 0.4 + 0.8 * z], dim=1) + stripes[:, None]
    return Mesh(vertices, torch.tensor(np.asarray(joined.faces), dtype=torch.int64), colors=colors.clamp(0.05, 1))


def orbit(yaw_deg: float, pitch_deg: float, radius: float, lookat: tuple[float, float, float] = (0, 0, 0)) -> Camera:
    """The camera of six numbers, angles in degrees."""
    yaw, pitch = (torch.tensor(math.radians(a)) for a in (yaw_deg, pitch_deg))
    return Camera(orbit_extrinsics(yaw, pitch, torch.tensor(radius), torch.tensor(lookat, dtype=torch.float32)))


def frame_of(mesh: Mesh, camera: Camera, size: int = 256) -> NDArray[np.uint8]:
    """(S,S,4) uint8 with straight alpha, as a clip's frames are."""
    images = render_fast(mesh, Camera(camera.world_to_camera[None]), size, ("mask", "color"), supersample=2)
    alpha = images.mask[0, ..., None]
    straight = torch.cat([images.color[0] / alpha.clamp_min(1e-3), alpha], dim=-1).clamp(0, 1)
    return (straight * 255).round().byte().numpy()


def angle_deg(a: Camera, b: Camera) -> float:
    """Angle between two cameras' rotations."""
    trace = (a.world_to_camera[:3, :3].double() * b.world_to_camera[:3, :3].double()).sum()
    return math.degrees(math.acos(float(((trace - 1) / 2).clamp(-1, 1))))


class MovedTruth:
    """A stereo model that knows the truth, and returns it moved by a similarity, noisy, and partly plain wrong.

    It is told the reference's camera, and learns the renderings' cameras by being shown them: the tests replace what
    renders the pictures only in that it also keeps the surface points.
    """

    def __init__(
        self, reference: Tensor, renderings: Tensor, similarity: Tensor, noise: float, outliers: float
    ) -> None:
        """reference (H,W,3) and renderings (N,H,W,3): true surface points. similarity: (4,4) applied to all of them."""
        self.truth = torch.cat([reference[None], renderings])
        self.similarity, self.noise, self.outliers = similarity, noise, outliers

    def __call__(self, images: Tensor) -> PointMaps:
        rng = torch.Generator().manual_seed(5)
        points = self.truth + self.noise * torch.randn(self.truth.shape, generator=rng)
        wrong = torch.rand(points.shape[:3], generator=rng) < self.outliers
        points[wrong] = torch.rand(int(wrong.sum()), 3, generator=rng) - 0.5
        points = points @ self.similarity[:3, :3].T + self.similarity[:3, 3]
        assert len(images) == len(points)
        return PointMaps(points, torch.ones(points.shape[:3]))
