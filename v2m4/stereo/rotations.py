"""Quaternions, x, y, z, w, and rotation matrices: the forms in which stereo models hold poses."""

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
    """(..., 4) unit quaternions x, y, z, w of rotations (..., 3, 3); the largest component is positive.

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
    return chosen / chosen.norm(dim=-1, keepdim=True)
