"""One side of an inflated object: a well-shaped triangulation of its outline's interior, even on the curved surface.

The picture plane is triangulated by a conforming Delaunay triangulation, then refined where the surface stands steep
over it (`remesh`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay

from v2m4.compiled import njit
from v2m4.errors import V2M4Error
from v2m4.generators.inflate.outline import Outline, sample_rim
from v2m4.generators.inflate.remeshing import refine

Floats = NDArray[Any]


@dataclass(frozen=True)
class Sheet:
    """points: (N,2) working coordinates; height: (N,) above the picture plane; faces: (F,3), positively oriented in
    (x, y); rim: (N,) True on the outline, where the height is zero."""

    points: NDArray[np.float64]
    height: NDArray[np.float64]
    faces: NDArray[np.int64]
    rim: NDArray[np.bool_]


def triangulate(outline: Outline, slope: Floats, edge: float, coarser: float = 1.0) -> Sheet:
    """Mesh the outline's interior.

    slope: (h,w) float32, so that the height over a point at signed distance d is sqrt(d * slope). edge: the longest
    edge wanted, in working pixels; edges are shorter near narrow parts: the outline's spacing times
    ``coarser``.
    """
    rim, dense, following = sample_rim(outline, edge, coarser)
    size = np.minimum(outline.size * np.float32(coarser), np.float32(edge))
    inner = _scatter(outline.distance, size)
    rim, dense, following, faces = _conforming(outline, rim, dense, following, inner)
    points = np.concatenate([rim, inner])
    is_rim = np.arange(len(points)) < len(rim)
    space, faces, is_rim = refine(points, faces, is_rim, outline.distance, slope, size)
    return Sheet(space[:, :2], space[:, 2], faces, is_rim)


def edges_for(outline: Outline, slope: Floats, faces: int) -> tuple[float, float]:
    """``edge`` and ``coarser`` with which `triangulate` makes about ``faces`` triangles: surface over triangle area.

    A triangle's area is taken as 0.38 of its longest edge's square, as measured on what `triangulate` makes. Where
    narrow parts would eat up the faces and leave the trunk too coarse, they are made coarser too.
    """
    height = np.sqrt(np.maximum(outline.distance, 0) * slope)
    down, right = np.gradient(height)
    inside = outline.distance > 0
    area = np.sqrt(1 + down**2 + right**2)[inside]
    even = float(np.sqrt(area.sum() / (0.38 * faces)))
    edge = even
    for coarser in (1.0, 1.2, 1.45):
        size = outline.size[inside] * coarser
        low, high = 1.0, 400.0
        for _ in range(20):
            edge = (low * high) ** 0.5
            count = float((area / (0.38 * np.minimum(size, edge) ** 2)).sum())
            low, high = (edge, high) if count > faces else (low, edge)
        if edge < 1.6 * even:
            break
    return min(edge, 2.5 * even), coarser


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


@njit()
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
