"""Points evenly on a surface, and directions evenly on a sphere."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Float64, Int64, Real
from v2m4.errors import V2M4Error
from v2m4.geometry.gather import gather_rows


def sample_surface(vertices: Tensor, faces: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points spread evenly over a surface: (N,) int64 face and (N,3) barycentric weights; rng on the CPU."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = torch.linalg.cross(b - a, c - a).norm(dim=1)
    # Equal steps along the summed areas instead of independent draws: every part gets its share.
    steps = (torch.arange(count) + torch.rand(count, generator=rng)) / count
    ends = area.double().cumsum(0)
    face = torch.searchsorted(ends, steps.to(ends) * ends[-1]).clamp_max(len(faces) - 1)
    u, v = torch.rand(2, count, generator=rng).to(vertices)
    root = u.sqrt()
    return face, torch.stack([1 - root, root * (1 - v), root * v], dim=1)


def surface_points(vertices: Tensor, faces: Tensor, face: Tensor, weights: Tensor) -> Tensor:
    """Positions (N,3) of surface samples; differentiable in the vertices (V,3)."""
    index = faces[face]
    a, b, c = gather_rows(vertices, index).unbind(1)
    return weights[:, :1] * a + weights[:, 1:2] * b + weights[:, 2:] * c


def draw_surface(vertices: Float64, faces: Int64, count: int, rng: np.random.Generator) -> tuple[Int64, Float64]:
    """Points drawn independently over the area, as benchmarks define them: (N,) face and (N,3) barycentric weights.

    Raises V2M4Error if the surface has no area or is not finite.
    """
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not np.isfinite(area).all() or area.sum() <= 0:
        raise V2M4Error("The mesh has no measurable surface: it has no area, or vertices that are not finite.")
    face = rng.choice(len(faces), count, p=area / area.sum())
    root, second = np.sqrt(rng.random(count)), rng.random(count)
    return face, np.stack([1 - root, root * (1 - second), root * second], axis=1)


def cover_surface(corners: Real, count: int) -> tuple[Int64, Real]:
    """About ``count`` points evenly over triangles (F,3,3), without chance: (N,) face and (N,3) barycentric weights.

    No triangle is left out. The additive recurrence of the plastic number (Roberts 2018) spreads the points of a face.
    """
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1)
    number = 1 + np.floor(count * area / max(area.sum(), 1e-12)).astype(np.int64)
    face = np.repeat(np.arange(len(corners)), number)
    step = 1 + np.arange(len(face)) - np.repeat(np.cumsum(number) - number, number)
    u, v = (0.5 + step * 0.7548776662466927) % 1, (0.5 + step * 0.5698402909980532) % 1
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    return face, np.stack([1 - u - v, u, v], axis=1)


def fibonacci_directions(count: int) -> Float64:
    """(N,3) unit vectors, evenly spread from the pole +z to -z (spherical Fibonacci lattice)."""
    n = np.arange(count) + 0.5
    return _on_sphere(1 - 2 * n / count, math.pi * (1 + math.sqrt(5)) * n)


def half_sphere_directions(count: int) -> Float64:
    """(N,3) unit vectors with z >= 0, the same spiral from the equator to the pole: one of each opposite pair."""
    n = np.arange(count)
    return _on_sphere((n + 0.5) / count, n * math.pi * (3 - math.sqrt(5)))


def _on_sphere(height: Real, turn: Real) -> Float64:
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)


def hammersley_directions(
    count: int, offset: tuple[float, float] = (0.0, 0.0), remap: bool = False
) -> tuple[Tensor, Tensor]:
    """Yaw and pitch (N,), in radians, float64, of evenly spread viewing directions (Hammersley's point set).

    offset: shifts of the two sequences, the first in units of 1 / count. remap: fewer directions from below.
    The first direction without an offset is straight from below.
    """
    n = torch.arange(count, dtype=torch.float64)
    u = (n + offset[0]) / count
    v, digit, rest = torch.zeros_like(n), 0.5, torch.arange(count)
    while bool((rest > 0).any()):
        v, rest, digit = v + digit * (rest % 2), rest // 2, digit / 2
    if remap:
        u = torch.where(u < 0.25, 2 * u, 2 * u / 3 + 1 / 3)
    return 2 * math.pi * (v + offset[1]), torch.acos(1 - 2 * u) - math.pi / 2
