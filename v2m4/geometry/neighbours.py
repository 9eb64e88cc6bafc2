"""Nearest neighbours: a k-d tree on the CPU, a kernel for points in space on CUDA, else distance matrices in slices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from v2m4.device import triton_works

_SLICE = 1 << 25  # distances held at once off the CPU


class Neighbours:
    """Points (N,3) one can ask for the nearest of, as often as one likes. Gradients do not pass."""

    def __init__(self, points: Tensor) -> None:
        self._points = points.detach()
        self._tree: Any = None
        if points.device.type == "cpu":
            from scipy.spatial import cKDTree

            self._tree = cKDTree(self._points.numpy())

    def nearest(self, queries: Tensor) -> Tensor:
        """(Q,) index of the point nearest to each of the queries (Q,3)."""
        queries = queries.detach()
        if self._tree is not None:
            _, index = self._tree.query(queries.numpy(), workers=torch.get_num_threads())
            return torch.from_numpy(index)
        if queries.is_cuda and queries.shape[1] == 3 and triton_works(queries.device):
            from v2m4.geometry.neighbours_triton import nearest_triton

            return nearest_triton(queries, self._points)
        rows = max(1, _SLICE // max(1, len(self._points)))
        return torch.cat([torch.cdist(part, self._points).argmin(1) for part in queries.split(rows)])


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
    return sum(
        (weights[:, i, None] * vertices[index[:, i]] for i in range(1, 3)), weights[:, :1] * vertices[index[:, 0]]
    )
