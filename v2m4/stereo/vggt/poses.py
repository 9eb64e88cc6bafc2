"""VGGT's pose vectors to cameras and back.

A vector holds the world-to-camera translation (3), a quaternion x, y, z, w (4), and the vertical and horizontal field
of view in radians (2). Cameras use OpenCV axes; intrinsics are in pixels with the principal point in the middle.
"""

from __future__ import annotations

import torch
from torch import Tensor

from v2m4.stereo.rotations import quaternion_from_rotation, rotation_from_quaternion


def decode_poses(vectors: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """World-to-camera (..., 3, 4) and intrinsics (..., 3, 3) in pixels of `vectors` (..., 9); `size` is (H, W)."""
    extrinsics = torch.cat([rotation_from_quaternion(vectors[..., 3:7]), vectors[..., :3, None]], dim=-1)
    height, width = size
    intrinsics = vectors.new_zeros(*vectors.shape[:-1], 3, 3)
    intrinsics[..., 0, 0] = width / 2 / torch.tan(vectors[..., 8] / 2)
    intrinsics[..., 1, 1] = height / 2 / torch.tan(vectors[..., 7] / 2)
    intrinsics[..., 0, 2] = width / 2
    intrinsics[..., 1, 2] = height / 2
    intrinsics[..., 2, 2] = 1
    return extrinsics, intrinsics


def encode_poses(extrinsics: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """Pose vectors (..., 9) of cameras; the inverse of `decode_poses` up to the quaternion's length and sign."""
    height, width = size
    fov_h = 2 * torch.atan(height / 2 / intrinsics[..., 1, 1])
    fov_w = 2 * torch.atan(width / 2 / intrinsics[..., 0, 0])
    quaternion = quaternion_from_rotation(extrinsics[..., :3])
    quaternion = torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
    return torch.cat([extrinsics[..., 3], quaternion, fov_h[..., None], fov_w[..., None]], dim=-1)


def unproject(depth: Tensor, extrinsics: Tensor, intrinsics: Tensor) -> Tensor:
    """World points (..., H, W, 3) of depth maps (..., H, W) seen by cameras (..., 3, 4), (..., 3, 3); whole pixels."""
    height, width = depth.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=depth.device, dtype=depth.dtype),
        torch.arange(width, device=depth.device, dtype=depth.dtype),
        indexing="ij",
    )
    k = intrinsics[..., None, None, :, :]
    camera = torch.stack(
        [(x - k[..., 0, 2]) / k[..., 0, 0], (y - k[..., 1, 2]) / k[..., 1, 1], torch.ones_like(depth)], -1
    )
    from_centre = camera * depth[..., None] - extrinsics[..., None, None, :, 3]
    # Rows times R turn by its transpose, which is the inverse.
    return from_centre @ extrinsics[..., None, :, :3]
