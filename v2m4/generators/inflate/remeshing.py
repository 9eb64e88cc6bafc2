"""Remeshing a height field until its triangles are even on the surface, not in the plane.

The surface is z = middle + sqrt(distance * squared half depth per distance) over the picture; ``surface`` (3,h,w) holds
the distance to the outline, the squared half depth per distance, and the middle. Long edges are split, short ones
collapsed, edges flipped by the Delaunay criterion measured in space, and vertices relaxed along the surface (Botsch and
Kobbelt 2004). The outline's vertices (the rim) stay, and no edge may join two of them but the outline's own: the
mirrored other side has the same rim, and would share that edge.
"""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float64, Int64, Mask, Real
from v2m4.generators.inflate.remeshing_numba import (
    CHORD,
    collapse_edges,
    flip_edges,
    halve_edges,
    opposite_faces,
    rank_edges_to_collapse,
    rank_edges_to_split,
    shift_vertices,
    surface_heights,
)
from v2m4.geometry.cleanup import compact
from v2m4.settings import MeshingSettings

_CHORD_ROUNDS = 20  # each halves every chord there is: far more than are ever needed


def split_long_edges(
    space: Float64,
    rim: Mask,
    faces: Int64,
    surface: Real,
    size: Real,
    longest: float,
    only_chords: bool,
) -> tuple[Float64, Mask, Int64, int]:
    """Halve inner edges that join two rim vertices or are ``longest`` times as long as wanted, longest first."""
    number, count = len(faces), len(space)
    opposite = opposite_faces(faces, count)
    urgency = np.zeros(3 * number)
    rank_edges_to_split(space, rim, faces, opposite, size, longest, urgency)
    order = np.argsort(-urgency, kind="stable")
    order = order[urgency[order] > (CHORD / 2 if only_chords else 0)]
    space = np.concatenate([space, np.zeros((len(order), 3))])
    faces = np.concatenate([faces, np.zeros((2 * len(order), 3), np.int64)])
    vertices, triangles = halve_edges(order, opposite, space, faces, count, number, surface)
    rim = np.concatenate([rim, np.zeros(vertices - count, bool)])
    return space[:vertices], rim, faces[:triangles], vertices - count


def vertex_faces(faces: Int64, count: int) -> tuple[Int64, Int64]:
    """The faces around each of ``count`` vertices: those of v are second[first[v] : first[v + 1]]."""
    corner = faces.reshape(-1)
    start = np.concatenate([[0], np.cumsum(np.bincount(corner, minlength=count))])
    return start, np.argsort(corner, kind="stable") // 3


def _relax(
    space: Float64,
    rim: Mask,
    faces: Int64,
    surface: Real,
    share: float,
) -> None:
    """Move inner vertices, in place, a ``share`` of the way to the area-weighted middle of their
    triangles, along the surface."""
    corners = space[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1)
    weighted = np.column_stack([area[:, None] * corners.mean(1), normal, area]).repeat(3, 0)
    total = np.stack([np.bincount(faces.reshape(-1), column, len(space)) for column in weighted.T], axis=1)
    unit = total[:, 3:6] / np.maximum(np.linalg.norm(total[:, 3:6], axis=1, keepdims=True), 1e-15)
    move = total[:, :3] / np.maximum(total[:, 6:], 1e-15) - space
    move -= unit * (move * unit).sum(1, keepdims=True)
    move[rim] = 0
    shift_vertices(space, faces, share * move, *vertex_faces(faces, len(space)), surface)


def collapse_short_edges(
    space: Float64, rim: Mask, faces: Int64, size: Real, shortest: float
) -> tuple[Float64, Mask, Int64]:
    """Draw inner vertices into a neighbour nearer than ``shortest`` times what is wanted, shortest edges first."""
    ratio = np.full(3 * len(faces), np.inf)
    rank_edges_to_collapse(space, rim, faces, size, ratio)
    order = np.argsort(ratio, kind="stable")
    order = order[ratio[order] < shortest]
    gone, dead = np.zeros(len(space), bool), np.zeros(len(faces), bool)
    collapse_edges(order, space, rim, faces, *vertex_faces(faces, len(space)), gone, dead)
    return space[~gone], rim[~gone], (np.cumsum(~gone) - 1)[faces[~dead]]


def refine(
    points: Float64,
    faces: Int64,
    rim: Mask,
    surface: Real,
    size: Real,
    settings: MeshingSettings,
) -> tuple[Float64, Int64, Mask]:
    """Remesh a triangulation (N,2), (F,3) whose rim (N,) is the outline; the first returned array is (M,3): x, y, z.

    surface: (3,h,w), as in the module's text. size: (h,w), the edge length wanted. All in working pixels.
    """
    used, faces = compact(faces)
    points, rim = points[used], rim[used]
    space = np.column_stack([points, surface_heights(points, rim, surface)])
    faces = np.ascontiguousarray(faces)
    # 1. No inner edge may join two vertices of the rim.
    for _ in range(_CHORD_ROUNDS):
        space, rim, faces, added = split_long_edges(space, rim, faces, surface, size, settings.split, True)
        if added == 0:
            break
    # 2. Split, flip and relax until no edge is too long.
    for _ in range(settings.split_rounds):
        space, rim, faces, added = split_long_edges(space, rim, faces, surface, size, settings.split, False)
        flip_edges(space, rim, faces, opposite_faces(faces, len(space)))
        _relax(space, rim, faces, surface, settings.relaxation)
        if added == 0:
            break
    # 3. What relaxing drew together is collapsed.
    for _ in range(settings.collapse_rounds):
        space, rim, faces = collapse_short_edges(space, rim, faces, size, settings.collapse)
        flip_edges(space, rim, faces, opposite_faces(faces, len(space)))
        _relax(space, rim, faces, surface, settings.relaxation)
    return space, faces, rim
