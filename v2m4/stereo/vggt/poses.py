"""VGGT's pose vectors to cameras and back.

A vector holds the world-to-camera translation (3), a quaternion x, y, z, w (4), and the vertical and horizontal field
of view in radians (2). Cameras use OpenCV axes; intrinsics are in pixels with the principal point in the middle.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """(..., 3, 3) rotations of quaternions (..., 4), x, y, z, w, of any length but zero."""
    x, y, z, w = quaternion.unbind(-1)
    s = 2 / quaternion.square().sum(-1)
    rows = [
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """(..., 4) unit quaternions x, y, z, w with w >= 0 of rotations (..., 3, 3).

    Each of the four components can be read off the diagonal; the largest is, and the rest follow from it, so that no
    division is by a small number (Shepperd, "Quaternion from rotation matrix", 1978).
    """
    m = rotation
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 2, 0] + m[..., 0, 2], m[..., 2, 1] + m[..., 1, 2]
    xw, yw, zw = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    # Row k is four times the quaternion times its own component k.
    products = torch.stack(
        [
            torch.stack([1 + xx - yy - zz, xy, xz, xw], dim=-1),
            torch.stack([xy, 1 - xx + yy - zz, yz, yw], dim=-1),
            torch.stack([xz, yz, 1 - xx - yy + zz, zw], dim=-1),
            torch.stack([xw, yw, zw, 1 + xx + yy + zz], dim=-1),
        ],
        dim=-2,
    )
    best = products.diagonal(dim1=-2, dim2=-1).argmax(-1)
    chosen = products.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    unit = chosen / chosen.norm(dim=-1, keepdim=True)
    return torch.where(unit[..., 3:] < 0, -unit, unit)


def decode_poses(vectors: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """World-to-camera (..., 3, 4) and intrinsics (..., 3, 3) in pixels of `vectors` (..., 9), images of `size` (H, W)."""
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
    camera = torch.stack([(x - k[..., 0, 2]) / k[..., 0, 0], (y - k[..., 1, 2]) / k[..., 1, 1], torch.ones_like(x)], -1)
    from_centre = camera * depth[..., None] - extrinsics[..., None, None, :, 3]
    # Rows times R turn by its transpose, which is the inverse.
    return from_centre @ extrinsics[..., None, :, :3]
