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
