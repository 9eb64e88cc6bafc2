"""Pinhole cameras with OpenCV axes (x right, y down, z forward) and intrinsics normalised to a square image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.geometry.sampling import hammersley_directions

FOV_DEG = 40.0  # of the paper, and of the generators' training views
NEAR, FAR = 0.05, 100.0  # clip planes, in units of the mesh


@dataclass(frozen=True)
class Camera:
    """One camera or a batch of them.

    world_to_camera: (…,4,4) float32. fov_deg: field of view across the (square) image, in degrees.
    """

    world_to_camera: Tensor
    fov_deg: float = FOV_DEG

    @staticmethod
    def identity(fov_deg: float = FOV_DEG, device: torch.device | str = "cpu") -> Camera:
        """The video camera once meshes live in camera space."""
        return Camera(torch.eye(4, device=device), fov_deg)

    def to(self, device: torch.device | str) -> Camera:
        """The same camera with its matrix on ``device``."""
        return Camera(self.world_to_camera.to(device), self.fov_deg)

    @property
    def focal(self) -> float:
        """Focal length in units of the image side."""
        return 0.5 / math.tan(math.radians(self.fov_deg) / 2)

    def to_camera(self, points: Tensor) -> Tensor:
        """World points (…,N,3) in camera coordinates (…,N,3); batched cameras broadcast."""
        w2c = self.world_to_camera
        return points @ w2c[..., :3, :3].transpose(-1, -2) + w2c[..., None, :3, 3]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points (…,N,3) to image coordinates (…,N,2) in [0,1] (x right, y down) and depth (…,N)."""
        p = self.to_camera(points)
        depth = p[..., 2]
        return self.focal * p[..., :2] / depth[..., None].clamp_min(1e-8) + 0.5, depth

    def clip(self, points: Tensor, near: float = NEAR, far: float = FAR) -> Tensor:
        """World points (…,N,3) to homogeneous clip coordinates (…,N,4).

        Row 0 of the rasterised image is its top (y stays down) and depth maps to [0,1], as in the method's
        own renderer: x' = 2 f x, y' = 2 f y, z' = far (z - near) / (far - near), w' = z.
        """
        p = self.to_camera(points)
        z = p[..., 2]
        return torch.stack(
            [2 * self.focal * p[..., 0], 2 * self.focal * p[..., 1], far / (far - near) * (z - near), z],
            dim=-1,
        )


def look_at(eye: Tensor, target: Tensor) -> Tensor:
    """World-to-camera matrices (…,4,4) of cameras at ``eye`` (…,3) looking at ``target`` (…,3), up = +z.

    Looking straight along the z axis has no preferred roll: x then points along +x.
    """
    z = torch.nn.functional.normalize(target - eye, dim=-1)
    x = torch.stack([z[..., 1], -z[..., 0], torch.zeros_like(z[..., 0])], dim=-1)  # cross(-up, z)
    fallback = torch.eye(3, dtype=x.dtype, device=x.device)[0]
    x = torch.nn.functional.normalize(torch.where(x.norm(dim=-1, keepdim=True) > 1e-6, x, fallback), dim=-1)
    y = torch.linalg.cross(z, x)
    rotation = torch.stack([x, y, z], dim=-2)
    w2c = torch.eye(4, dtype=eye.dtype, device=eye.device).expand(*eye.shape[:-1], 4, 4).clone()
    w2c[..., :3, :3] = rotation
    w2c[..., :3, 3] = -(rotation @ eye[..., None])[..., 0]
    return w2c


def orbit_position(yaw: Tensor, pitch: Tensor, radius: Tensor) -> Tensor:
    """Camera centres (…,3) about the world's origin; angles in radians (section 4.1 and algorithm 1)."""
    return radius[..., None] * torch.stack([yaw.sin() * pitch.cos(), yaw.cos() * pitch.cos(), pitch.sin()], dim=-1)


def orbit_extrinsics(yaw: Tensor, pitch: Tensor, radius: Tensor, lookat: Tensor) -> Tensor:
    """World-to-camera (…,4,4) of the six unknowns of the camera search: yaw, pitch, radius (…) and lookat (…,3)."""
    return look_at(orbit_position(yaw, pitch, radius), lookat)


def orbit_parameters(world_to_camera: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Yaw, pitch, radius (…) and lookat (…,3) of extrinsics (…,4,4): the inverse of `orbit_extrinsics`.

    The look-at point found is the one on the optical axis at the distance of the world's origin. Roll is dropped.
    """
    rotation, translation = world_to_camera[..., :3, :3], world_to_camera[..., :3, 3]
    eye = -(rotation.transpose(-1, -2) @ translation[..., None])[..., 0]
    radius = eye.norm(dim=-1)
    lookat = eye + radius[..., None] * rotation[..., 2, :]
    pitch = torch.asin((eye[..., 2] / radius.clamp_min(1e-12)).clamp(-1, 1))
    return torch.atan2(eye[..., 0], eye[..., 1]), pitch, radius, lookat


def surrounding_cameras(count: int, radius: float, frame: Tensor | None = None) -> Camera:
    """Cameras (N,) on a sphere about the origin, evenly spread and looking at it.

    frame: (4,4) taking the world in which the sphere is upright (z up) to that of the mesh; the same if absent.
    """
    yaw, pitch = (t.float() for t in hammersley_directions(count))
    w2c = orbit_extrinsics(yaw, pitch, torch.full_like(yaw, radius), torch.zeros(count, 3))
    return Camera(w2c if frame is None else w2c @ torch.linalg.inv(frame.cpu()))
