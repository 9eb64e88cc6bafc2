"""The formula of a sculpture: signed distance and nearest primitive at any point.

Distances of the single primitives: Quilez, "Distance functions" (iquilezles.org). The union is the quadratic
polynomial smooth minimum of the same source, taken in the order of the table, so that what cuts, cuts what was built
before it. Distances are exact or too small outside a squeezed primitive, never too large.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.sculpture import AXES, BLEND, BOX, CENTER, CONE, CUTS, FLAT, RING, SHAPE, SIZE

FAR_AWAY = 10.0


def field(points: Tensor, parts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distance (B,N) float32, negative inside, and index (B,N) int32 of the primitive that decides it.

    points: (B,N,3). parts: (B,P,COLUMNS). counts: (B,) int32, how many rows of ``parts`` are in use.
    """
    if points.is_cuda:
        from training.field_triton import field_triton

        return field_triton(points, parts, counts)
    return field_torch(points, parts, counts)


def field_torch(points: Tensor, parts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """As `field`, in plain PyTorch: the kernel's oracle."""
    distance = torch.full(points.shape[:2], FAR_AWAY, dtype=torch.float32, device=points.device)
    owner = torch.zeros(points.shape[:2], dtype=torch.int32, device=points.device)
    for i in range(int(counts.max())):
        row = parts[:, i, None]  # (B,1,COLUMNS)
        there = (i < counts)[:, None]
        d = _part(points, row)
        cuts = row[..., CUTS] > 0.5
        k = row[..., BLEND].clamp_min(1e-6)
        h = (k - (distance - d).abs()).clamp_min(0) / k
        joined = torch.minimum(distance, d) - 0.25 * h * h * k
        carved = torch.maximum(distance, -d)
        owns = torch.where(cuts, -d > distance, d < distance)
        distance = torch.where(there, torch.where(cuts, carved, joined), distance)
        owner = torch.where(there & owns, i, owner)
    return distance, owner


def _part(points: Tensor, row: Tensor) -> Tensor:
    """(B,N) distance to one primitive each; ``row`` (B,1,COLUMNS)."""
    p = points - row[..., CENTER : CENTER + 3]
    x, y, z = (
        (p * row[..., AXES + 3 * i : AXES + 3 * i + 3]).sum(-1) for i in range(3)
    )  # coordinates along the primitive's own axes
    y, z = y / row[..., FLAT], z / row[..., FLAT + 1]
    squeeze = row[..., FLAT : FLAT + 2].amin(-1).clamp_max(1)
    a, b, c, d = (row[..., SIZE + i] for i in range(4))
    shape = row[..., SHAPE]
    out = _drum(x, y, z, a, b, c, d)
    out = torch.where(shape == CONE, _cone(x, y, z, a, b, c), out)
    out = torch.where(shape == BOX, _box(x, y, z, a, b, c, d), out)
    out = torch.where(shape == RING, torch.hypot(torch.hypot(y, z) - a, x) - b, out)
    return out * squeeze


def _cone(x: Tensor, y: Tensor, z: Tensor, length: Tensor, r0: Tensor, r1: Tensor) -> Tensor:
    slope = ((r0 - r1) / length.clamp_min(1e-6)).clamp(-0.99, 0.99)
    rise = (1 - slope * slope).sqrt()
    away = torch.hypot(y, z)
    along = x * rise - away * slope
    mantle = away * rise + x * slope - r0
    return torch.where(
        along < 0,
        torch.hypot(away, x) - r0,
        torch.where(along > rise * length, torch.hypot(away, x - length) - r1, mantle),
    )


def _box(x: Tensor, y: Tensor, z: Tensor, a: Tensor, b: Tensor, c: Tensor, edge: Tensor) -> Tensor:
    u, v, w = x.abs() - a, y.abs() - b, z.abs() - c
    outside = (u.clamp_min(0) ** 2 + v.clamp_min(0) ** 2 + w.clamp_min(0) ** 2).sqrt()
    return outside + torch.maximum(u, torch.maximum(v, w)).clamp_max(0) - edge


def _drum(x: Tensor, y: Tensor, z: Tensor, length: Tensor, r0: Tensor, r1: Tensor, edge: Tensor) -> Tensor:
    away, up = torch.hypot(y, z), x - 0.5 * length
    half = 0.5 * length
    end_x = away - torch.minimum(away, torch.where(up < 0, r0, r1))
    end_y = up.abs() - half
    t = ((r1 - away) * (r1 - r0) + (half - up) * length) / ((r1 - r0) ** 2 + length**2).clamp_min(1e-9)
    t = t.clamp(0, 1)
    side_x = away - r1 + (r1 - r0) * t
    side_y = up - half + length * t
    inside = (side_x < 0) & (end_y < 0)
    nearest = torch.minimum(end_x**2 + end_y**2, side_x**2 + side_y**2).sqrt()
    return torch.where(inside, -nearest, nearest) - edge
