"""Remeshing a height field until its triangles are even on the surface, not in the plane.

The surface is z = sqrt(distance * slope) over the picture. Long edges are split, short ones collapsed, edges flipped
by the Delaunay criterion measured in space, and vertices relaxed along the surface (Botsch and Kobbelt 2004). The
outline's vertices (the rim) stay, and no edge may join two of them but the outline's own: the mirrored other side has
the same rim, and would share that edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from v2m4.compiled import njit

Floats = NDArray[Any]


@njit()
def _bilinear(grid: Floats, x: float, y: float) -> float:
    height, width = grid.shape
    x = min(max(x - 0.5, 0.0), width - 1.001)
    y = min(max(y - 0.5, 0.0), height - 1.001)
    i, j = int(y), int(x)
    a, b = y - i, x - j
    return (grid[i, j] * (1 - b) + grid[i, j + 1] * b) * (1 - a) + (
        grid[i + 1, j] * (1 - b) + grid[i + 1, j + 1] * b
    ) * a


@njit()
def _height(x: float, y: float, distance: Floats, slope: Floats) -> float:
    d = max(_bilinear(distance, x, y), 0.05)
    return np.sqrt(d * max(_bilinear(slope, x, y), 0.05))


@njit()
def surface_heights(
    points: NDArray[np.float64], rim: NDArray[np.bool_], distance: Floats, slope: Floats
) -> NDArray[np.float64]:
    out = np.zeros(len(points))
    for i in range(len(points)):
        if not rim[i]:
            out[i] = _height(points[i, 0], points[i, 1], distance, slope)
    return out


@njit()
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


@njit()
def _edge_ratio(space: NDArray[np.float64], size: Floats, a: int, b: int) -> float:
    """Length of edge ab over the length wanted at its middle."""
    dx, dy, dz = space[b, 0] - space[a, 0], space[b, 1] - space[a, 1], space[b, 2] - space[a, 2]
    wanted = _bilinear(size, 0.5 * (space[a, 0] + space[b, 0]), 0.5 * (space[a, 1] + space[b, 1]))
    return np.sqrt(dx * dx + dy * dy + dz * dz) / wanted


@njit()
def _edges_to_split(
    space: NDArray[np.float64],
    rim: NDArray[np.bool_],
    faces: NDArray[np.int64],
    beyond: NDArray[np.int64],
    size: Floats,
    urgency: NDArray[np.float64],
) -> None:
    """Write how urgently edge k of face f should be halved into urgency[3 f + k]: zero for those that should not be."""
    for f in range(len(faces)):
        for k in range(3):
            if beyond[f, k] > f:
                a, b = faces[f, k], faces[f, (k + 1) % 3]
                ratio = _edge_ratio(space, size, a, b)
                if rim[a] and rim[b]:
                    urgency[3 * f + k] = 1e6 + ratio
                elif ratio > 1.45:
                    urgency[3 * f + k] = ratio


@njit()
def _halve(
    order: NDArray[np.int64],
    beyond: NDArray[np.int64],
    space: NDArray[np.float64],
    faces: NDArray[np.int64],
    vertices: int,
    triangles: int,
    distance: Floats,
    slope: Floats,
) -> tuple[int, int]:
    """Halve the edges in ``order``, at most one per triangle; what is new goes behind what is there."""
    touched = np.zeros(triangles, np.bool_)
    for e in order:
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
        space[vertices, 0], space[vertices, 1] = x, y
        space[vertices, 2] = _height(x, y, distance, slope)
        faces[f, 0], faces[f, 1], faces[f, 2] = a, vertices, c
        faces[g, 0], faces[g, 1], faces[g, 2] = b, vertices, d
        faces[triangles, 0], faces[triangles, 1], faces[triangles, 2] = vertices, b, c
        faces[triangles + 1, 0], faces[triangles + 1, 1], faces[triangles + 1, 2] = vertices, a, d
        vertices += 1
        triangles += 2
    return vertices, triangles


def _split(
    space: NDArray[np.float64],
    rim: NDArray[np.bool_],
    faces: NDArray[np.int64],
    distance: Floats,
    slope: Floats,
    size: Floats,
    only_chords: bool,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], int]:
    """Halve inner edges that join two rim vertices or are too long, longest first."""
    number, count = len(faces), len(space)
    beyond = _neighbours(faces, count)
    urgency = np.zeros(3 * number)
    _edges_to_split(space, rim, faces, beyond, size, urgency)
    order = np.argsort(-urgency, kind="stable")
    order = order[urgency[order] > (1e5 if only_chords else 0)]
    space = np.concatenate([space, np.zeros((len(order), 3))])
    faces = np.concatenate([faces, np.zeros((2 * len(order), 3), np.int64)])
    vertices, triangles = _halve(order, beyond, space, faces, count, number, distance, slope)
    rim = np.concatenate([rim, np.zeros(vertices - count, bool)])
    return space[:vertices], rim, faces[:triangles], vertices - count


@njit()
def _turn(space: NDArray[np.float64], a: int, b: int, c: int) -> float:
    return (space[b, 0] - space[a, 0]) * (space[c, 1] - space[a, 1]) - (space[b, 1] - space[a, 1]) * (
        space[c, 0] - space[a, 0]
    )


@njit()
def _cosine(space: NDArray[np.float64], apex: int, a: int, b: int) -> float:
    px, py, pz = space[a, 0] - space[apex, 0], space[a, 1] - space[apex, 1], space[a, 2] - space[apex, 2]
    qx, qy, qz = space[b, 0] - space[apex, 0], space[b, 1] - space[apex, 1], space[b, 2] - space[apex, 2]
    squares = (px * px + py * py + pz * pz) * (qx * qx + qy * qy + qz * qz)
    return (px * qx + py * qy + pz * qz) / np.sqrt(max(squares, 1e-30))


@njit()
def _flip(
    space: NDArray[np.float64], rim: NDArray[np.bool_], faces: NDArray[np.int64], beyond: NDArray[np.int64]
) -> None:
    """Flip, in place, edges whose two opposite angles, measured in space, add up to more than 180 degrees."""
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


def _around(faces: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The faces around each of ``count`` vertices: those of v are second[first[v] : first[v + 1]]."""
    corner = faces.reshape(-1)
    start = np.concatenate([[0], np.cumsum(np.bincount(corner, minlength=count))])
    return start, np.argsort(corner, kind="stable") // 3


def _relax(
    space: NDArray[np.float64], rim: NDArray[np.bool_], faces: NDArray[np.int64], distance: Floats, slope: Floats
) -> None:
    """Move inner vertices, in place, towards the area-weighted middle of their triangles, along the surface."""
    corners = space[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1)
    weighted = np.column_stack([area[:, None] * corners.mean(1), normal, area]).repeat(3, 0)
    total = np.stack([np.bincount(faces.reshape(-1), column, len(space)) for column in weighted.T], axis=1)
    unit = total[:, 3:6] / np.maximum(np.linalg.norm(total[:, 3:6], axis=1, keepdims=True), 1e-15)
    move = total[:, :3] / np.maximum(total[:, 6:], 1e-15) - space
    move -= unit * (move * unit).sum(1, keepdims=True)
    move[rim] = 0
    _shift(space, faces, 0.7 * move, *_around(faces, len(space)), distance, slope)


@njit()
def _shift(
    space: NDArray[np.float64],
    faces: NDArray[np.int64],
    move: NDArray[np.float64],
    start: NDArray[np.int64],
    around: NDArray[np.int64],
    distance: Floats,
    slope: Floats,
) -> None:
    """Apply each vertex's move in the plane and lift it onto the surface, unless that turns a triangle over."""
    for v in range(len(space)):
        if move[v, 0] == 0 and move[v, 1] == 0:
            continue
        x, y, z = space[v, 0], space[v, 1], space[v, 2]
        space[v, 0] = x + move[v, 0]
        space[v, 1] = y + move[v, 1]
        space[v, 2] = _height(space[v, 0], space[v, 1], distance, slope)
        for e in range(start[v], start[v + 1]):
            f = around[e]
            if _turn(space, faces[f, 0], faces[f, 1], faces[f, 2]) <= 1e-3:
                space[v, 0], space[v, 1], space[v, 2] = x, y, z
                break


@njit()
def _has(faces: NDArray[np.int64], f: int, v: int) -> bool:
    return faces[f, 0] == v or faces[f, 1] == v or faces[f, 2] == v


@njit()
def _may_collapse(
    space: NDArray[np.float64],
    rim: NDArray[np.bool_],
    faces: NDArray[np.int64],
    start: NDArray[np.int64],
    around: NDArray[np.int64],
    blocked: NDArray[np.bool_],
    v: int,
    u: int,
) -> bool:
    """Whether drawing v into u turns no triangle over, joins no two rim vertices and does not pinch the surface."""
    for i in range(start[v], start[v + 1]):
        f = around[i]
        if blocked[faces[f, 0]] or blocked[faces[f, 1]] or blocked[faces[f, 2]]:
            return False
        if _has(faces, f, u):
            continue
        for k in range(3):
            w = faces[f, k]
            if w == v:
                continue
            if rim[u] and rim[w]:
                return False
            # A neighbour of both must share a triangle with both.
            shared, beside = False, False
            for j in range(start[w], start[w + 1]):
                if _has(faces, around[j], u):
                    beside = True
                    shared = shared or _has(faces, around[j], v)
            if beside and not shared:
                return False
        a = u if faces[f, 0] == v else faces[f, 0]
        b = u if faces[f, 1] == v else faces[f, 1]
        c = u if faces[f, 2] == v else faces[f, 2]
        if _turn(space, a, b, c) <= 1e-2:
            return False
    return True


@njit()
def _draw_in(
    order: NDArray[np.int64],
    space: NDArray[np.float64],
    rim: NDArray[np.bool_],
    faces: NDArray[np.int64],
    start: NDArray[np.int64],
    around: NDArray[np.int64],
    gone: NDArray[np.bool_],
    dead: NDArray[np.bool_],
) -> None:
    """Collapse the edges in ``order`` where allowed, marking vertices as gone and faces as dead."""
    blocked = np.zeros(len(space), np.bool_)
    for e in order:
        v, u = faces[e // 3, e % 3], faces[e // 3, (e % 3 + 1) % 3]
        if blocked[v] or blocked[u] or not _may_collapse(space, rim, faces, start, around, blocked, v, u):
            continue
        for w in (u, v):
            for i in range(start[w], start[w + 1]):
                for k in range(3):
                    blocked[faces[around[i], k]] = True
        for i in range(start[v], start[v + 1]):
            f = around[i]
            dead[f] = _has(faces, f, u)
            for k in range(3):
                if faces[f, k] == v:
                    faces[f, k] = u
        gone[v] = True


@njit()
def _edge_ratios(
    space: NDArray[np.float64], rim: NDArray[np.bool_], faces: NDArray[np.int64], size: Floats, out: NDArray[np.float64]
) -> None:
    """Write the ratio of `_edge_ratio` of edges that start at an inner vertex."""
    for f in range(len(faces)):
        for k in range(3):
            if not rim[faces[f, k]]:
                out[3 * f + k] = _edge_ratio(space, size, faces[f, k], faces[f, (k + 1) % 3])


def _collapse(
    space: NDArray[np.float64], rim: NDArray[np.bool_], faces: NDArray[np.int64], size: Floats
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Draw inner vertices into a neighbour that is much too near, shortest edges first."""
    ratio = np.full(3 * len(faces), np.inf)
    _edge_ratios(space, rim, faces, size, ratio)
    order = np.argsort(ratio, kind="stable")
    order = order[ratio[order] < 0.45]
    gone, dead = np.zeros(len(space), bool), np.zeros(len(faces), bool)
    _draw_in(order, space, rim, faces, *_around(faces, len(space)), gone, dead)
    return space[~gone], rim[~gone], (np.cumsum(~gone) - 1)[faces[~dead]]


def refine(
    points: NDArray[np.float64],
    faces: NDArray[np.int64],
    rim: NDArray[np.bool_],
    distance: Floats,
    slope: Floats,
    size: Floats,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Remesh a triangulation (N,2), (F,3) whose rim (N,) is the outline; the first returned array is (M,3): x, y, z.

    distance, slope: (h,w), as in the module's text. size: (h,w), the edge length wanted. All in working pixels.
    """
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
        _flip(space, rim, faces, _neighbours(faces, len(space)))
        _relax(space, rim, faces, distance, slope)
        if added == 0:
            break
    for _ in range(4):
        space, rim, faces = _collapse(space, rim, faces, size)
        _flip(space, rim, faces, _neighbours(faces, len(space)))
        _relax(space, rim, faces, distance, slope)
    return space, faces, rim
