"""Light from all around: a panorama's irradiance by nine spherical harmonics (Ramamoorthi and Hanrahan 2001).

Panoramas are equirectangular, their first row up (+y). Rows and columns stand for both ends of the circle: the first
and the last row are the poles, the first and the last column the same meridian, +x turned by half a circle.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The paper's c1 to c5: the harmonics' own factors times those of the cosine lobe, bands 0 to 2.
_C1, _C2, _C3, _C4, _C5 = 0.429043, 0.511664, 0.743125, 0.886227, 0.247708


def panorama_directions(height: int, width: int) -> Tensor:
    """(H,W,3) unit vectors, y up, at which a panorama's texels look."""
    theta = torch.linspace(0, math.pi, height)[:, None].expand(height, width)
    phi = torch.linspace(3 * math.pi, math.pi, width)[None].expand(height, width)
    return torch.stack([theta.sin() * phi.cos(), theta.cos(), -theta.sin() * phi.sin()], dim=-1)


def panorama_coordinates(directions: Tensor) -> Tensor:
    """(…,2) where directions (…,3), of any length and y up, lie in a panorama: u to the right, v down, in [0,1].

    u is periodic, and comes out in [0.5,1.5].
    """
    x, y, z = directions.unbind(-1)
    v = torch.acos((y / directions.norm(dim=-1).clamp_min(1e-12)).clamp(-1, 1)) / math.pi
    return torch.stack([1 + torch.atan2(-z, -x) / (2 * math.pi), v], dim=-1)


def look_up(panorama: Tensor, directions: Tensor) -> Tensor:
    """(…,C) the panorama (H,W,C) at directions (…,3), bilinear."""
    height, width = panorama.shape[:2]
    u, v = panorama_coordinates(directions).unbind(-1)
    column, row = (u % 1) * (width - 1), v * (height - 1)
    left, top = column.floor().long().clamp_max(width - 2), row.floor().long().clamp_max(height - 2)
    across, down = (column - left)[..., None], (row - top)[..., None]
    upper = torch.lerp(panorama[top, left], panorama[top, left + 1], across)
    lower = torch.lerp(panorama[top + 1, left], panorama[top + 1, left + 1], across)
    return torch.lerp(upper, lower, down)


def irradiance_matrices(panorama: Tensor) -> Tensor:
    """(C,4,4) the quadratic forms M of a panorama (H,W,C), linear light: see `irradiance`."""
    height, width = panorama.shape[:2]
    directions = panorama_directions(height, width).to(panorama)
    x, y, z = directions.unbind(-1)
    one = torch.ones_like(x)
    basis = torch.stack(
        [
            0.282095 * one,
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ]
    )  # (9, H, W)
    texel = torch.linspace(0, math.pi, height).sin().to(panorama)[:, None] * (2 * math.pi**2 / (width * height))
    l00, l1m, l10, l11, l2m2, l2m1, l20, l21, l22 = torch.einsum("khw,hwc->kc", basis * texel, panorama)
    rows = [
        [_C1 * l22, _C1 * l2m2, _C1 * l21, _C2 * l11],
        [_C1 * l2m2, -_C1 * l22, _C1 * l2m1, _C2 * l1m],
        [_C1 * l21, _C1 * l2m1, _C3 * l20, _C2 * l10],
        [_C2 * l11, _C2 * l1m, _C2 * l10, _C4 * l00 - _C5 * l20],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def irradiance(matrices: Tensor, normals: Tensor) -> Tensor:
    """(…,C) n^T M n with n = (normal, 1): light that falls on surfaces with unit normals (…,3); not divided by pi."""
    n = torch.cat([normals, torch.ones_like(normals[..., :1])], dim=-1)  # (..., 4)
    return torch.einsum("...i,cij,...j->...c", n, matrices, n)
