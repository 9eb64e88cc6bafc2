"""Remeshing a height field until its triangles are even on the surface, not in the plane.

The surface is z = sqrt(distance * slope) over the picture. Long edges are split, short ones collapsed, edges flipped
by the Delaunay criterion measured in space, and vertices relaxed along the surface (Botsch and Kobbelt 2004). The
outline's vertices (the rim) stay, and no edge may join two of them but the outline's own: the mirrored other side has
the same rim, and would share that edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[Any]


@njit(cache=True)
def _bilinear(grid: Floats, x: float, y: float) -> float:
    height, width = grid.shape
    x = min(max(x - 0.5, 0.0), width - 1.001)
    y = min(max(y - 0.5, 0.0), height - 1.001)
    i, j = int(y), int(x)
    a, b = y - i, x - j
    return (grid[i, j] * (1 - b) + grid[i, j + 1] * b) * (1 - a) + (
        grid[i + 1, j] * (1 - b) + grid[i + 1, j + 1] * b
    ) * a


@njit(cache=True)
def _height(x: float, y: float, distance: Floats, slope: Floats) -> float:
    d = max(_bilinear(distance, x, y), 0.05)
    return np.sqrt(d * max(_bilinear(slope, x, y), 0.05))


@njit(cache=True)
def surface_heights(
    points: NDArray[np.float64], rim: NDArray[np.bool_], distance: Floats, slope: Floats
) -> NDArray[np.float64]:
    out = np.zeros(len(points))
    for i in range(len(points)):
        if not rim[i]:
            out[i] = _height(points[i, 0], points[i, 1], distance, slope)
    return out


@njit(cache=True)
def _neighbours(faces: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(F,3) the triangle beyond edge (k, k+1) of each triangle, -1 on the border."""
    number = len(faces)
    beyond = np.full((number, 3), -1, np.int64)
    head = np.full(count, -1, np.int64)
    link = np.full(3 * number, -1, np.int64)
    for f in range(number):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            low = min(a, b)
            e = head[low]
            while e >= 0:
                g, m = e // 3, e % 3
                if faces[g, m] == b and faces[g, (m + 1) % 3] == a:
                    beyond[f, k] = g
                    beyond[g, m] = f
                    break
                e = link[e]
            link[3 * f + k] = head[low]
            head[low] = 3 * f + k
    return beyond


@njit(cache=True)
def _split(
    space: NDArray[np.float64],
    rim: NDArray[np.bool_],
    faces: NDArray[np.int64],
    distance: Floats,
    slope: Floats,
    size: Floats,
    only_chords: bool,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], int]:
    """Halve inner edges that are too long or that join two rim vertices, at most one per triangle, longest first."""
    number, count = len(faces), len(space)
    beyond = _neighbours(faces, count)
    length = np.zeros(3 * number)
    for f in range(number):
        for k in range(3):
            g = beyond[f, k]
            if g > f:
                a, b = faces[f, k], faces[f, (k + 1) % 3]
                d = space[b] - space[a]
                wanted = _bilinear(size, 0.5 * (space[a, 0] + space[b, 0]), 0.5 * (space[a, 1] + space[b, 1]))
                ratio = np.sqrt((d * d).sum()) / wanted
                if rim[a] and rim[b]:
                    length[3 * f + k] = 1e6 + ratio
                elif ratio > 1.45 and not only_chords:
                    length[3 * f + k] = ratio
    order = np.argsort(-length)
    touched = np.zeros(number, np.bool_)
    new_space = np.empty((count + number, 3))
    new_space[:count] = space
    new_rim = np.zeros(count + number, np.bool_)
    new_rim[:count] = rim
    new_faces = np.empty((3 * number, 3), np.int64)
    new_faces[:number] = faces
    vertices, triangles = count, number
    for e in order:
        if length[e] == 0:
            break
        f, k = e // 3, e % 3
        g = beyond[f, k]
        if touched[f] or touched[g]:
            continue
        touched[f] = True
        touched[g] = True
        a, b, c = faces[f, k], faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
        m = 0
        while faces[g, m] != b:
            m += 1
        d = faces[g, (m + 2) % 3]
        x, y = 0.5 * (space[a, 0] + space[b, 0]), 0.5 * (space[a, 1] + space[b, 1])
        new_space[vertices, 0] = x
        new_space[vertices, 1] = y
        new_space[vertices, 2] = _height(x, y, distance, slope)
        new_faces[f] = np.array([a, vertices, c])
        new_faces[triangles] = np.array([vertices, b, c])
        new_faces[g] = np.array([b, vertices, d])
        new_faces[triangles + 1] = np.array([vertices, a, d])
        vertices += 1
        triangles += 2
    return new_space[:vertices], new_rim[:vertices], new_faces[:triangles], vertices - count


@njit(cache=True)
def _turn(space: NDArray[np.float64], a: int, b: int, c: int) -> float:
    return (space[b, 0] - space[a, 0]) * (space[c, 1] - space[a, 1]) - (space[b, 1] - space[a, 1]) * (
        space[c, 0] - space[a, 0]
    )


@njit(cache=True)
def _cosine(space: NDArray[np.float64], apex: int, a: int, b: int) -> float:
    p, q = space[a] - space[apex], space[b] - space[apex]
    return (p * q).sum() / np.sqrt(max((p * p).sum() * (q * q).sum(), 1e-30))


@njit(cache=True)
def _flip(space: NDArray[np.float64], rim: NDArray[np.bool_], faces: NDArray[np.int64]) -> None:
    """Flip, in place, edges whose two opposite angles, measured in space, add up to more than 180 degrees."""
    beyond = _neighbours(faces, len(space))
    for _ in range(8):
        changed = 0
        for f in range(len(faces)):
            for k in range(3):
                g = beyond[f, k]
                if g < 0:
                    continue
                a, b, c = faces[f, k], faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
                m = 0
                while faces[g, m] != b:
                    m += 1
                d = faces[g, (m + 2) % 3]
                if rim[c] and rim[d]:
                    continue
                p, q = _cosine(space, c, a, b), _cosine(space, d, a, b)
                if p * np.sqrt(max(1 - q * q, 0.0)) + q * np.sqrt(max(1 - p * p, 0.0)) > -1e-6:
                    continue
                if _turn(space, a, d, c) <= 1e-4 or _turn(space, d, b, c) <= 1e-4:
                    continue
                # Edge ab becomes dc: f = (a, d, c), g = (d, b, c); the four outer neighbours are handed over.
                bc, ca = beyond[f, (k + 1) % 3], beyond[f, (k + 2) % 3]
                ad, db = beyond[g, (m + 1) % 3], beyond[g, (m + 2) % 3]
                faces[f, 0], faces[f, 1], faces[f, 2] = a, d, c
                faces[g, 0], faces[g, 1], faces[g, 2] = d, b, c
                beyond[f, 0], beyond[f, 1], beyond[f, 2] = ad, g, ca
                beyond[g, 0], beyond[g, 1], beyond[g, 2] = db, bc, f
                if ad >= 0:
                    for n in range(3):
                        if beyond[ad, n] == g:
                            beyond[ad, n] = f
                if bc >= 0:
                    for n in range(3):
                        if beyond[bc, n] == f:
                            beyond[bc, n] = g
                changed += 1
                break
        if changed == 0:
            break


@njit(cache=True)
def _around(faces: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The faces around each of ``count`` vertices: those of v are second[first[v] : first[v + 1]]."""
    start = np.zeros(count + 1, np.int64)
    for f in range(len(faces)):
        for k in range(3):
            start[faces[f, k] + 1] += 1
    start = np.cumsum(start)
    fill = start[:-1].copy()
    around = np.empty(3 * len(faces), np.int64)
    for f in range(len(faces)):
        for k in range(3):
            around[fill[faces[f, k]]] = f
            fill[faces[f, k]] += 1
    return start, around


@njit(cache=True)
def _relax(
    space: NDArray[np.float64], rim: NDArray[np.bool_], faces: NDArray[np.int64], distance: Floats, slope: Floats
) -> None:
    """Move inner vertices, in place, towards the area-weighted middle of their triangles, along the surface."""
    count = len(space)
    total = np.zeros((count, 3))
    weight = np.zeros(count)
    normal = np.zeros((count, 3))
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        n = np.cross(space[b] - space[a], space[c] - space[a])
        area = np.sqrt((n * n).sum())
        middle = (space[a] + space[b] + space[c]) / 3
        for v in (a, b, c):
            total[v] += area * middle
            weight[v] += area
            normal[v] += n
    start, around = _around(faces, count)
    for v in range(count):
        if rim[v] or weight[v] == 0:
            continue
        n = normal[v] / np.sqrt(max((normal[v] ** 2).sum(), 1e-30))
        move = total[v] / weight[v] - space[v]
        move -= n * (move * n).sum()
        old = space[v].copy()
        space[v, 0] += 0.7 * move[0]
        space[v, 1] += 0.7 * move[1]
        space[v, 2] = _height(space[v, 0], space[v, 1], distance, slope)
        for e in range(start[v], start[v + 1]):
            f = around[e]
            if _turn(space, faces[f, 0], faces[f, 1], faces[f, 2]) <= 1e-3:
                space[v] = old
                break


@njit(cache=True)
def _collapse(
    space: NDArray[np.float64], rim: NDArray[np.bool_], faces: NDArray[np.int64], size: Floats
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], int]:
    """Draw inner vertices into a neighbour that is much too near, shortest edges first, where that neither turns a
    triangle over nor joins two rim vertices."""
    number, count = len(faces), len(space)
    start, around = _around(faces, count)
    ratio = np.full(3 * number, np.inf)
    for f in range(number):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            if not rim[a]:
                d = space[b] - space[a]
                wanted = _bilinear(size, 0.5 * (space[a, 0] + space[b, 0]), 0.5 * (space[a, 1] + space[b, 1]))
                ratio[3 * f + k] = np.sqrt((d * d).sum()) / wanted
    blocked = np.zeros(count, np.bool_)
    gone = np.zeros(count, np.bool_)
    dead = np.zeros(number, np.bool_)
    removed = 0
    for e in np.argsort(ratio):
        if ratio[e] > 0.45:
            break
        v, u = faces[e // 3, e % 3], faces[e // 3, (e % 3 + 1) % 3]
        if blocked[v] or blocked[u]:
            continue
        fine = True
        for i in range(start[v], start[v + 1]):
            f = around[i]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            if blocked[a] or blocked[b] or blocked[c]:
                fine = False
            if a == u or b == u or c == u:
                continue
            for w in (a, b, c):
                if w == v:
                    continue
                if rim[u] and rim[w]:
                    fine = False
                # A neighbour of v that also neighbours u must share a triangle with both, or the surface is pinched.
                shared, beside = False, False
                for j in range(start[w], start[w + 1]):
                    g = around[j]
                    has_u = faces[g, 0] == u or faces[g, 1] == u or faces[g, 2] == u
                    has_v = faces[g, 0] == v or faces[g, 1] == v or faces[g, 2] == v
                    beside = beside or has_u
                    shared = shared or (has_u and has_v)
                if beside and not shared:
                    fine = False
            a, b, c = (u if a == v else a), (u if b == v else b), (u if c == v else c)
            if fine and _turn(space, a, b, c) <= 1e-2:
                fine = False
            if not fine:
                break
        if not fine:
            continue
        for w in (u, v):
            for i in range(start[w], start[w + 1]):
                for k in range(3):
                    blocked[faces[around[i], k]] = True
        for i in range(start[v], start[v + 1]):
            f = around[i]
            if faces[f, 0] == u or faces[f, 1] == u or faces[f, 2] == u:
                dead[f] = True
            for k in range(3):
                if faces[f, k] == v:
                    faces[f, k] = u
        gone[v] = True
        removed += 1
    index = np.cumsum(~gone) - 1
    kept = faces[~dead]
    for f in range(len(kept)):
        for k in range(3):
            kept[f, k] = index[kept[f, k]]
    return space[~gone], rim[~gone], kept, removed


def refine(
    points: NDArray[np.float64],
    faces: NDArray[np.int64],
    rim: NDArray[np.bool_],
    distance: Floats,
    slope: Floats,
    size: Floats,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    used = np.zeros(len(points), bool)
    used[faces] = True
    faces = (np.cumsum(used) - 1)[faces]
    points, rim = points[used], rim[used]
    space = np.column_stack([points, surface_heights(points, rim, distance, slope)])
    faces = np.ascontiguousarray(faces)
    for _ in range(20):
        space, rim, faces, added = _split(space, rim, faces, distance, slope, size, True)
        if added == 0:
            break
    for _ in range(8):
        space, rim, faces, added = _split(space, rim, faces, distance, slope, size, False)
        _flip(space, rim, faces)
        _relax(space, rim, faces, distance, slope)
        if added == 0:
            break
    for _ in range(4):
        space, rim, faces, _ = _collapse(space, rim, faces, size)
        _flip(space, rim, faces)
        _relax(space, rim, faces, distance, slope)
    return space[:, :2].copy(), faces, rim
