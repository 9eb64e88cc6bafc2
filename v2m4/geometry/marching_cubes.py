"""Marching cubes (Lorensen and Cline 1987) on a regular grid: one vertex per crossed edge, a surface without cracks.

The table of the 256 cases is derived here. On every side of a cube the crossings are joined so that each run of inside
corners is cut off by itself; as that depends on the side alone, two neighbouring cubes always agree (the ambiguous
sides that leave holes in the original table, Duerst 1988).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

CORNERS = tuple((x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1))
"""Offsets of a cube's corners; corner number = 4 x + 2 y + z."""
EDGES = tuple((a, a | bit) for bit in (4, 2, 1) for a in range(8) if not a & bit)
"""The twelve edges as (lower, upper) corner: four along x, four along y, four along z."""
_SIDES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
"""The corners of each side in order, counter-clockwise seen from outside."""


@lru_cache(maxsize=1)
def case_triangles() -> Tensor:
    """(256, T, 3) edges of the triangles of each case, -1 where there are fewer than T; bit k: corner k is inside.

    Counter-clockwise seen from the outside corners.
    """
    cases = []
    for case in range(256):
        filled = [_triangulated(loop) for loop in _loops(case)]
        assert None not in filled  # every chain of a cube has such triangles
        cases.append([triangle for triangles in filled for triangle in triangles or ()])
    most = max(len(triangles) for triangles in cases)
    return torch.tensor([triangles + [(-1, -1, -1)] * (most - len(triangles)) for triangles in cases])


def _loops(case: int) -> list[list[int]]:
    """The closed chains of crossed edges of a case."""
    number = {frozenset(edge): k for k, edge in enumerate(EDGES)}
    following: dict[int, int] = {}
    for side in _SIDES:
        inside = [bool(case >> corner & 1) for corner in side]
        for k in range(4):
            if inside[k] or not inside[(k + 1) % 4]:
                continue
            # Here a run of inside corners begins; its end is where the chain leaves this side again.
            end = next(j for j in range(1, 5) if not inside[(k + j + 1) % 4])
            entry = number[frozenset((side[k], side[(k + 1) % 4]))]
            leave = number[frozenset((side[(k + end) % 4], side[(k + end + 1) % 4]))]
            following[entry] = leave
    loops = []
    while following:
        start = max(following)
        at, loop = following.pop(start), [start]
        while at != start:
            loop.append(at)
            at = following.pop(at)
        loops.append(loop)
    return loops


def _triangulated(loop: list[int]) -> list[tuple[int, int, int]] | None:
    """Triangles that fill a chain of edges, none of whose diagonals lies in a side of the cube; None if that cannot be.

    The cube beyond the side could draw the same diagonal, and four faces would meet in it.
    """
    if len(loop) < 3:
        return []
    last = len(loop) - 1
    for k in range(last - 1, 0, -1):
        if (k > 1 and _share_side(loop[0], loop[k])) or (k < last - 1 and _share_side(loop[k], loop[last])):
            continue
        before, after = _triangulated(loop[: k + 1]), _triangulated(loop[k:])
        if before is not None and after is not None:
            return [(loop[0], loop[k], loop[last]), *before, *after]
    return None


def _share_side(a: int, b: int) -> bool:
    return any({*EDGES[a], *EDGES[b]} <= set(side) for side in _SIDES)


def marching_cubes(values: Tensor, level: float = 0.0, cells: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The surface values = level: vertices (V, 3) float32 in grid units, faces (F, 3) int64.

    values: (X, Y, Z) at the nodes, larger inside. cells: (X-1, Y-1, Z-1) bool, the cubes that are looked at; values
    need to be known at their corners only. Faces are counter-clockwise seen from outside. The surface is closed
    wherever it does not reach the border of the grid or of ``cells``.
    """
    x, y, z = values.shape
    inside = values > level
    case = torch.zeros(x - 1, y - 1, z - 1, dtype=torch.uint8, device=values.device)
    for bit, (i, j, k) in enumerate(CORNERS):
        case |= inside[i : x - 1 + i, j : y - 1 + j, k : z - 1 + k].to(torch.uint8) << bit
    crossed = (case > 0) & (case < 255)
    if cells is not None:
        crossed &= cells
    cube = crossed.nonzero()  # (C, 3)
    triangles = case_triangles().to(values.device)[case[crossed].long()]  # (C, T, 3)
    owner, row = (triangles[..., 0] >= 0).nonzero().unbind(1)
    edge = triangles[owner, row]  # (F, 3)

    # An edge is named by its lower node and its direction, so that all cubes around it share one vertex.
    strides = torch.tensor([y * z, z, 1], device=values.device)
    lower = torch.tensor([CORNERS[a] for a, _ in EDGES], device=values.device)
    first = (lower * strides).sum(1) * 3 + torch.arange(12, device=values.device) // 4
    names, faces = torch.unique((cube * strides).sum(1)[owner, None] * 3 + first[edge], return_inverse=True)

    axis, node = names % 3, names // 3
    flat = values.flatten()
    below, above = flat[node].double() - level, flat[node + strides[axis]].double() - level
    vertices = torch.stack([node // (y * z), node // z % y, node % z], dim=1).double()
    vertices[torch.arange(len(axis), device=values.device), axis] += below / (below - above)
    return vertices.float(), faces
