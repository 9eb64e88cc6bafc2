"""The two sides of an inflated object: good triangulations of its outline's interior, even on the curved surface.

The picture plane is triangulated by a conforming Delaunay triangulation, then refined where the surface stands steep
over it (`remeshing`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay

from v2m4.arrays import Float64, Int64, Mask, Real
from v2m4.errors import V2M4Error
from v2m4.generators.inflate.heights import Heights
from v2m4.generators.inflate.outline import Outline, sample_rim
from v2m4.generators.inflate.remeshing import refine
from v2m4.generators.inflate.triangulation_numba import sample_interior
from v2m4.settings import InflateSettings, MeshingSettings

_TRIANGLE = 0.38  # area over the square of the longest edge, as measured on what `triangulate` makes
_BISECTIONS = 20  # of an interval of edges: to less than a thousandth
_HALVINGS = 12  # of an edge of the outline: to less than its samples are apart


@dataclass(frozen=True)
class HeightField:
    """points: (N,2) working coordinates; height: (N,) above the picture plane; faces: (F,3), positively oriented in
    (x, y); rim: (N,) True on the outline, whose vertices come first, in the same order on both sides."""

    points: Float64
    height: Float64
    faces: Int64
    rim: Mask


@dataclass(frozen=True)
class Sides:
    """The front, seen from the camera, and the back, seen from behind: its height grows away from the camera."""

    front: HeightField
    back: HeightField


def triangulate(outline: Outline, heights: Heights, edge: float, coarseness: float, settings: MeshingSettings) -> Sides:
    """Mesh the outline's interior, once for each side of the object.

    edge: the longest edge wanted, in working pixels; edges are shorter near narrow parts: the outline's spacing times
    ``coarseness``.
    """
    rim, dense, successor = sample_rim(outline, edge, coarseness)
    size = np.minimum(outline.size * np.float32(coarseness), np.float32(edge))
    inner = sample_interior(outline.distance, size, settings.from_rim, settings.apart)
    rim, dense, successor, faces = _conforming(outline, rim, dense, successor, inner)
    points = np.concatenate([rim, inner])
    is_rim = np.arange(len(points)) < len(rim)

    def side(surface: Real) -> HeightField:
        space, triangles, on_rim = refine(points, faces, is_rim, surface, size, settings)
        return HeightField(space[:, :2], space[:, 2], triangles, on_rim)

    front = side(heights.front)
    return Sides(front, front if heights.is_mirrored else side(heights.back))


def edges_for(outline: Outline, heights: Heights, settings: InflateSettings) -> tuple[float, float]:
    """``edge`` and ``coarseness`` with which `triangulate` makes about ``settings.faces`` triangles on both sides
    together: surface over triangle area.

    No edge is made longer than the object. Where narrow parts would eat up the faces and leave the trunk too
    coarse, they are made coarser too.
    """
    meshing, faces = settings.meshing, settings.faces
    # 1. The area of the surface over each pixel, and the edge of as many triangles of one size.
    inside = outline.distance > 0
    area = np.zeros(int(inside.sum()))
    for distance, squared, middle in (heights.front, heights.back):
        down, right = np.gradient(middle + np.sqrt(np.maximum(distance, 0) * squared))
        area += np.sqrt(1 + down**2 + right**2)[inside]
    even = float(np.sqrt(area.sum() / (_TRIANGLE * faces)))
    # 2. Narrow parts have shorter edges, so the others get longer ones, found by bisection, until they are too long.
    edge = even
    for coarseness in (1.0, meshing.coarser, meshing.coarsest):
        size = outline.size[inside] * coarseness
        low, high = 1.0, float(settings.working_size)
        for _ in range(_BISECTIONS):
            edge = (low * high) ** 0.5
            count = float((area / (_TRIANGLE * np.minimum(size, edge) ** 2)).sum())
            low, high = (edge, high) if count > faces else (low, edge)
        if edge < meshing.eaten_up * even:
            break
    return min(edge, meshing.longest * even), coarseness


def _conforming(
    outline: Outline,
    rim: Float64,
    dense: Int64,
    successor: Int64,
    inner: Float64,
) -> tuple[Float64, Int64, Int64, Int64]:
    """Delaunay triangles inside the outline; rim edges that are not Delaunay are halved along the curve."""
    for _ in range(_HALVINGS):
        count = len(rim)  # R
        points = np.concatenate([rim, inner])  # (N,2), the rim first
        # 1. The Delaunay triangulation of all points, its triangles turned to positive orientation.
        triangles = Delaunay(points).simplices.astype(np.int64)
        a, b, c = (points[triangles[:, i]] for i in range(3))
        turned = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) < (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        triangles[turned] = triangles[turned][:, ::-1]
        # 2. Which edges of the rim it lacks, in either direction; an edge (a, b) has the key a N + b.
        edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)  # (3F,2)
        keys = edges[:, 0] * len(points) + edges[:, 1]
        wanted = np.arange(count) * len(points) + successor
        backwards = successor * len(points) + np.arange(count)
        missing = np.flatnonzero(~(np.isin(wanted, keys) | np.isin(backwards, keys)))
        if len(missing) == 0:
            return rim, dense, successor, triangles[_inside(edges, keys, wanted, backwards)]
        # 3. Those are halved, and all begins again.
        rim, dense, successor = _halve(outline, rim, dense, successor, missing)
    raise V2M4Error(
        "The object's outline in this picture is too ragged to make a mesh of. "
        "Smooth the mask or choose another keyframe."
    )


def _halve(
    outline: Outline,
    rim: Float64,
    dense: Int64,
    successor: Int64,
    missing: Int64,
) -> tuple[Float64, Int64, Int64]:
    starts = np.searchsorted(outline.curve, np.arange(int(outline.curve.max()) + 2))
    first, last = dense[missing], dense[successor[missing]]
    label = outline.curve[first]
    length = starts[label + 1] - starts[label]
    half = ((last - first) % length) // 2
    middle = starts[label] + (first - starts[label] + half) % length
    usable = half > 0
    missing, middle = missing[usable], middle[usable]
    new = len(rim) + np.arange(len(missing))
    extended = np.concatenate([successor, successor[missing]])
    extended[missing] = new
    return np.concatenate([rim, outline.points[middle]]), np.concatenate([dense, middle]), extended


def _inside(edges: Int64, keys: Int64, wanted: Int64, backwards: Int64) -> Mask:
    """Which triangles lie on the left of the rim: those reached from its left side without crossing it."""
    # 1. Pairs of triangles that share an edge which is not the rim's.
    triangle = np.arange(len(edges)) // 3
    on_rim = np.isin(keys, wanted) | np.isin(keys, backwards)
    lower = np.minimum(edges[:, 0], edges[:, 1]) * (edges.max() + 1) + np.maximum(edges[:, 0], edges[:, 1])
    free = np.flatnonzero(~on_rim)
    order = free[np.argsort(lower[free], kind="stable")]
    paired = np.flatnonzero(lower[order][1:] == lower[order][:-1])
    i, j = triangle[order[paired]], triangle[order[paired + 1]]
    # 2. Regions that the rim parts; inside are those with a rim edge in its own direction.
    number = len(edges) // 3
    _, region = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(number, number)), directed=False)
    return np.isin(region, region[triangle[np.isin(keys, wanted)]])
