"""One side of an inflated object: a well-shaped triangulation of its outline's interior, even on the curved surface.

The picture plane is triangulated by a conforming Delaunay triangulation, then refined where the surface
z = sqrt(distance * slope) stands steep over it: long edges are split, edges flipped by the Delaunay criterion measured
in space, vertices relaxed along the surface (Botsch and Kobbelt 2004, restricted to a height field).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay

from v2m4.errors import V2M4Error
from v2m4.generators.outline import Outline, sample_rim

Floats = NDArray[Any]


@dataclass(frozen=True)
class Sheet:
    """points: (N,2) working coordinates; height: (N,) above the picture plane; faces: (F,3), positively oriented in
    (x, y); rim: (N,) True on the outline, where the height is zero."""

    points: NDArray[np.float64]
    height: NDArray[np.float64]
    faces: NDArray[np.int64]
    rim: NDArray[np.bool_]


def triangulate(outline: Outline, slope: Floats, edge: float) -> Sheet:
    """Mesh the outline's interior.

    slope: (h,w) float32, so that the height over a point at signed distance d is sqrt(d * slope). edge: the longest
    edge wanted, in working pixels; edges are shorter near narrow parts, as the outline's spacing says.
    """
    rim, dense, following = sample_rim(outline, edge)
    size = np.minimum(outline.size, np.float32(edge))
    inner = _scatter(outline.distance, size)
    rim, dense, following, faces = _conforming(outline, rim, dense, following, inner)
    points = np.concatenate([rim, inner])
    is_rim = np.arange(len(points)) < len(rim)
    points, faces, is_rim = _refine(points, faces, is_rim, outline.distance, slope, size)
    height = _heights(points, is_rim, outline.distance, slope)
    return Sheet(points, height, faces, is_rim)


def edge_for(outline: Outline, slope: Floats, faces: int) -> float:
    """The longest edge with which `triangulate` makes about ``faces`` triangles: surface over triangle area.

    A triangle's area is taken as 0.37 of its longest edge's square, as measured on what `triangulate` makes.
    """
    height = np.sqrt(np.maximum(outline.distance, 0) * slope)
    down, right = np.gradient(height)
    inside = outline.distance > 0
    area = np.sqrt(1 + down**2 + right**2)[inside]
    size = outline.size[inside]
    low, high = 1.0, 400.0
    for _ in range(30):
        edge = (low * high) ** 0.5
        count = float((area / (0.37 * np.minimum(size, edge) ** 2)).sum())
        low, high = (edge, high) if count > faces else (low, edge)
    return edge


def _conforming(
    outline: Outline,
    rim: NDArray[np.float64],
    dense: NDArray[np.int64],
    following: NDArray[np.int64],
    inner: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Delaunay triangles inside the outline; rim edges that are not Delaunay are halved along the curve."""
    for _ in range(12):
        count = len(rim)
        points = np.concatenate([rim, inner])
        triangles = Delaunay(points).simplices.astype(np.int64)
        a, b, c = (points[triangles[:, i]] for i in range(3))
        turned = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) < (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        triangles[turned] = triangles[turned][:, ::-1]
        edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        keys = edges[:, 0] * len(points) + edges[:, 1]
        wanted = np.arange(count) * len(points) + following
        backwards = following * len(points) + np.arange(count)
        missing = np.flatnonzero(~(np.isin(wanted, keys) | np.isin(backwards, keys)))
        if len(missing) == 0:
            return rim, dense, following, triangles[_inside(edges, keys, wanted, backwards)]
        rim, dense, following = _halve(outline, rim, dense, following, missing)
    raise V2M4Error(
        "The object's outline in this picture is too ragged to make a mesh of. "
        "Smooth the mask or choose another keyframe."
    )


def _halve(
    outline: Outline,
    rim: NDArray[np.float64],
    dense: NDArray[np.int64],
    following: NDArray[np.int64],
    missing: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    starts = np.searchsorted(outline.curve, np.arange(int(outline.curve.max()) + 2))
    first, last = dense[missing], dense[following[missing]]
    label = outline.curve[first]
    length = starts[label + 1] - starts[label]
    half = ((last - first) % length) // 2
    middle = starts[label] + (first - starts[label] + half) % length
    usable = half > 0
    missing, middle = missing[usable], middle[usable]
    new = len(rim) + np.arange(len(missing))
    extended = np.concatenate([following, following[missing]])
    extended[missing] = new
    return np.concatenate([rim, outline.points[middle]]), np.concatenate([dense, middle]), extended


def _inside(
    edges: NDArray[np.int64], keys: NDArray[np.int64], wanted: NDArray[np.int64], backwards: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which triangles lie on the left of the rim: those reached from its left side without crossing it."""
    triangle = np.arange(len(edges)) // 3
    on_rim = np.isin(keys, wanted) | np.isin(keys, backwards)
    lower = np.minimum(edges[:, 0], edges[:, 1]) * (edges.max() + 1) + np.maximum(edges[:, 0], edges[:, 1])
    free = np.flatnonzero(~on_rim)
    order = free[np.argsort(lower[free], kind="stable")]
    paired = np.flatnonzero(lower[order][1:] == lower[order][:-1])
    i, j = triangle[order[paired]], triangle[order[paired + 1]]
    number = len(edges) // 3
    _, region = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(number, number)), directed=False)
    return np.isin(region, region[triangle[np.isin(keys, wanted)]])


@njit(cache=True)
def _scatter(distance: Floats, size: Floats) -> NDArray[np.float64]:
    """Interior points about ``size`` apart and not too near the outline, on the rows of a triangular lattice that
    changes its pitch with ``size`` (greedy thinning of the pixel centres)."""
    height, width = distance.shape
    reach = 0
    for y in range(height):
        for x in range(width):
            reach = max(reach, int(size[y, x]) + 2)
    taken = np.zeros((height, width), np.bool_)
    found = np.empty((height * width, 2), np.float64)
    count = 0
    for y in range(height):
        for x in range(width):
            s = size[y, x]
            if distance[y, x] < 0.6 * s:
                continue
            r = int(s * 0.9) + 1
            free = True
            limit = (0.9 * s) ** 2
            for dy in range(-r, 1):
                for dx in range(-r, r + 1):
                    v, h = y + dy, x + dx
                    if v >= 0 and h >= 0 and h < width and taken[v, h] and dx * dx + dy * dy < limit:
                        free = False
                        break
                if not free:
                    break
            if free:
                taken[y, x] = True
                found[count, 0] = x + 0.5
                found[count, 1] = y + 0.5
                count += 1
    return found[:count]


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
def _heights(
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


def _refine(
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
    space = np.column_stack([points, _heights(points, rim, distance, slope)])
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
    for _ in range(3):
        _relax(space, rim, faces, distance, slope)
        _flip(space, rim, faces)
    return space[:, :2].copy(), faces, rim
