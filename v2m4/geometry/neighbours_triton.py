"""The GPU kernel of `neighbours.Neighbours`: all distances in registers, none in memory."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_QUERIES, _POINTS = 32, 128  # compared at once by a program


@torch.no_grad()
def nearest_triton(queries: Tensor, points: Tensor) -> Tensor:
    """(Q,) int64 index of the one of points (N,3) nearest to each of queries (Q,3), the lowest of equally near ones."""
    index = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    if len(queries):
        grid = (triton.cdiv(len(queries), _QUERIES),)
        tables = queries.float().contiguous(), points.float().contiguous()
        _nearest[grid](*tables, index, len(queries), len(points), _QUERIES, _POINTS)
    return index


@triton.jit(do_not_specialize=["count", "known"])
def _nearest(queries, points, index, count, known, rows: tl.constexpr, columns: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    valid = row < count
    x = tl.load(queries + 3 * row, mask=valid, other=0.0)[:, None]
    y = tl.load(queries + 3 * row + 1, mask=valid, other=0.0)[:, None]
    z = tl.load(queries + 3 * row + 2, mask=valid, other=0.0)[:, None]
    # Every column keeps its own minimum, so that columns are compared with each other only once, at the end.
    best = tl.full([rows, columns], float("inf"), tl.float32)
    found = tl.zeros([rows, columns], tl.int32)
    for start in range(0, known, columns):
        column = start + tl.arange(0, columns)
        there = column < known
        dx = x - tl.load(points + 3 * column, mask=there, other=float("inf"))[None, :]
        dy = y - tl.load(points + 3 * column + 1, mask=there, other=0.0)[None, :]
        dz = z - tl.load(points + 3 * column + 2, mask=there, other=0.0)[None, :]
        distance = dx * dx + dy * dy + dz * dz
        nearer = distance < best
        best = tl.where(nearer, distance, best)
        found = tl.where(nearer, start, found)
    found += tl.arange(0, columns)[None, :]
    least = tl.min(best, axis=1)
    found = tl.where(best == least[:, None], found, 0x7FFFFFFF)
    tl.store(index + row, tl.min(found, axis=1).to(tl.int64), mask=valid)
