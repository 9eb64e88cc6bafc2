"""The compiled loops of the remeshing: neighbours, splits, flips, collapses and moves of a height field's triangles.

space: (N,3) x, y in working pixels and z, the height over them. faces: (F,3). rim: (N,) vertices of the outline.
surface: (3,h,w), size: (h,w) as in `remeshing`.
"""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float64, Int64, Mask, Real
from v2m4.compiled import njit

CHORD = 1e6  # more than any ratio of lengths
LEAST_HEIGHT = 0.05  # of a distance and of the squared height per distance, in working pixels: no side lies flat


@njit()
def bilinear(grid: Real, x: float, y: float) -> float:
    """The value of (h,w) ``grid``, whose first pixel centre is at (0.5, 0.5); beyond the border as on it."""
    height, width = grid.shape
    x = min(max(x - 0.5, 0.0), width - 1.001)
    y = min(max(y - 0.5, 0.0), height - 1.001)
    i, j = int(y), int(x)
    a, b = y - i, x - j
    return (grid[i, j] * (1 - b) + grid[i, j + 1] * b) * (1 - a) + (
        grid[i + 1, j] * (1 - b) + grid[i + 1, j + 1] * b
    ) * a


@njit()
def height_at(x: float, y: float, surface: Real) -> float:
    """z over the point (x, y), a little above the sheet's middle also on the outline."""
    d = max(bilinear(surface[0], x, y), LEAST_HEIGHT)
    return bilinear(surface[2], x, y) + np.sqrt(d * max(bilinear(surface[1], x, y), LEAST_HEIGHT))


@njit("(f8[:,::1],b1[::1],f4[:,:,::1])")
def surface_heights(points: Float64, rim: Mask, surface: Real) -> Float64:
    """(N,) z over points (N,2), the sheet's middle on the rim."""
    out = np.zeros(len(points))
    for i in range(len(points)):
        if rim[i]:
            out[i] = bilinear(surface[2], points[i, 0], points[i, 1])
        else:
            out[i] = height_at(points[i, 0], points[i, 1], surface)
    return out


@njit("(i8[:,::1],i8)")
def opposite_faces(faces: Int64, count: int) -> Int64:
    """(F,3) the triangle opposite edge (k, k+1) of each triangle, -1 on the border."""
    # Directed edges seen so far hang in a list from their lower vertex: ``head`` of each vertex, ``link`` to the next.
    number = len(faces)
    opposite = np.full((number, 3), -1, np.int64)
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
                    opposite[f, k] = g
                    opposite[g, m] = f
                    break
                e = link[e]
            link[3 * f + k] = head[low]
            head[low] = 3 * f + k
    return opposite


@njit()
def edge_ratio(space: Float64, size: Real, a: int, b: int) -> float:
    """Length of edge ab over the length wanted at its middle."""
    dx, dy, dz = space[b, 0] - space[a, 0], space[b, 1] - space[a, 1], space[b, 2] - space[a, 2]
    wanted = bilinear(size, 0.5 * (space[a, 0] + space[b, 0]), 0.5 * (space[a, 1] + space[b, 1]))
    return np.sqrt(dx * dx + dy * dy + dz * dz) / wanted


@njit("(f8[:,::1],b1[::1],i8[:,::1],i8[:,::1],f4[:,::1],f8,f8[::1])")
def rank_edges_to_split(
    space: Float64,
    rim: Mask,
    faces: Int64,
    opposite: Int64,
    size: Real,
    longest: float,
    urgency: Float64,
) -> None:
    """Write how urgently edge k of face f should be halved into urgency[3 f + k]: zero for those that should not be,
    `CHORD` more for those between two rim vertices. longest: ratio of `edge_ratio` from which an edge is too long."""
    for f in range(len(faces)):
        for k in range(3):
            if opposite[f, k] > f:
                a, b = faces[f, k], faces[f, (k + 1) % 3]
                ratio = edge_ratio(space, size, a, b)
                if rim[a] and rim[b]:
                    urgency[3 * f + k] = CHORD + ratio
                elif ratio > longest:
                    urgency[3 * f + k] = ratio


@njit("(i8[::1],i8[:,::1],f8[:,::1],i8[:,::1],i8,i8,f4[:,:,::1])")
def halve_edges(
    order: Int64,
    opposite: Int64,
    space: Float64,
    faces: Int64,
    vertices: int,
    triangles: int,
    surface: Real,
) -> tuple[int, int]:
    """Halve the edges in ``order``, at most one per triangle; what is new goes behind what is there."""
    touched = np.zeros(triangles, np.bool_)
    for e in order:
        f, k = e // 3, e % 3
        g = opposite[f, k]
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
        space[vertices, 2] = height_at(x, y, surface)
        faces[f, 0], faces[f, 1], faces[f, 2] = a, vertices, c
        faces[g, 0], faces[g, 1], faces[g, 2] = b, vertices, d
        faces[triangles, 0], faces[triangles, 1], faces[triangles, 2] = vertices, b, c
        faces[triangles + 1, 0], faces[triangles + 1, 1], faces[triangles + 1, 2] = vertices, a, d
        vertices += 1
        triangles += 2
    return vertices, triangles


@njit()
def orient2d(space: Float64, a: int, b: int, c: int) -> float:
    """Twice the area of triangle abc in the plane, positive where it turns from x to y."""
    return (space[b, 0] - space[a, 0]) * (space[c, 1] - space[a, 1]) - (space[b, 1] - space[a, 1]) * (
        space[c, 0] - space[a, 0]
    )


@njit()
def cosine(space: Float64, apex: int, a: int, b: int) -> float:
    """Of the angle at ``apex`` between a and b, in space."""
    px, py, pz = space[a, 0] - space[apex, 0], space[a, 1] - space[apex, 1], space[a, 2] - space[apex, 2]
    qx, qy, qz = space[b, 0] - space[apex, 0], space[b, 1] - space[apex, 1], space[b, 2] - space[apex, 2]
    squares = (px * px + py * py + pz * pz) * (qx * qx + qy * qy + qz * qz)
    return (px * qx + py * qy + pz * qz) / np.sqrt(max(squares, 1e-30))


@njit("(f8[:,::1],b1[::1],i8[:,::1],i8[:,::1])")
def flip_edges(space: Float64, rim: Mask, faces: Int64, opposite: Int64) -> None:
    """Flip, in place, edges whose two opposite angles, measured in space, add up to more than 180 degrees."""
    for _ in range(8):
        changed = 0
        for f in range(len(faces)):
            for k in range(3):
                g = opposite[f, k]
                if g < 0:
                    continue
                a, b, c = faces[f, k], faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
                m = 0
                while faces[g, m] != b:
                    m += 1
                d = faces[g, (m + 2) % 3]
                if rim[c] and rim[d]:
                    continue
                p, q = cosine(space, c, a, b), cosine(space, d, a, b)
                if p * np.sqrt(max(1 - q * q, 0.0)) + q * np.sqrt(max(1 - p * p, 0.0)) > -1e-6:
                    continue
                if orient2d(space, a, d, c) <= 1e-4 or orient2d(space, d, b, c) <= 1e-4:
                    continue
                # Edge ab becomes dc: f = (a, d, c), g = (d, b, c); the four outer neighbours are handed over.
                bc, ca = opposite[f, (k + 1) % 3], opposite[f, (k + 2) % 3]
                ad, db = opposite[g, (m + 1) % 3], opposite[g, (m + 2) % 3]
                faces[f, 0], faces[f, 1], faces[f, 2] = a, d, c
                faces[g, 0], faces[g, 1], faces[g, 2] = d, b, c
                opposite[f, 0], opposite[f, 1], opposite[f, 2] = ad, g, ca
                opposite[g, 0], opposite[g, 1], opposite[g, 2] = db, bc, f
                if ad >= 0:
                    for n in range(3):
                        if opposite[ad, n] == g:
                            opposite[ad, n] = f
                if bc >= 0:
                    for n in range(3):
                        if opposite[bc, n] == f:
                            opposite[bc, n] = g
                changed += 1
                break
        if changed == 0:
            break


@njit("(f8[:,::1],i8[:,::1],f8[:,::1],i8[::1],i8[::1],f4[:,:,::1])")
def shift_vertices(
    space: Float64,
    faces: Int64,
    move: Float64,
    start: Int64,
    around: Int64,
    surface: Real,
) -> None:
    """Apply each vertex's move in the plane and lift it onto the surface, unless that turns a triangle over."""
    for v in range(len(space)):
        if move[v, 0] == 0 and move[v, 1] == 0:
            continue
        x, y, z = space[v, 0], space[v, 1], space[v, 2]
        space[v, 0] = x + move[v, 0]
        space[v, 1] = y + move[v, 1]
        space[v, 2] = height_at(space[v, 0], space[v, 1], surface)
        for e in range(start[v], start[v + 1]):
            f = around[e]
            if orient2d(space, faces[f, 0], faces[f, 1], faces[f, 2]) <= 1e-3:
                space[v, 0], space[v, 1], space[v, 2] = x, y, z
                break


@njit()
def has_corner(faces: Int64, f: int, v: int) -> bool:
    """Whether v is a corner of face f."""
    return faces[f, 0] == v or faces[f, 1] == v or faces[f, 2] == v


@njit()
def may_collapse(
    space: Float64,
    rim: Mask,
    faces: Int64,
    start: Int64,
    around: Int64,
    blocked: Mask,
    v: int,
    u: int,
) -> bool:
    """Whether drawing v into u turns no triangle over, joins no two rim vertices and does not pinch the surface."""
    for i in range(start[v], start[v + 1]):
        f = around[i]
        if blocked[faces[f, 0]] or blocked[faces[f, 1]] or blocked[faces[f, 2]]:
            return False
        if has_corner(faces, f, u):
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
                if has_corner(faces, around[j], u):
                    beside = True
                    shared = shared or has_corner(faces, around[j], v)
            if beside and not shared:
                return False
        a = u if faces[f, 0] == v else faces[f, 0]
        b = u if faces[f, 1] == v else faces[f, 1]
        c = u if faces[f, 2] == v else faces[f, 2]
        if orient2d(space, a, b, c) <= 1e-2:
            return False
    return True


@njit("(i8[::1],f8[:,::1],b1[::1],i8[:,::1],i8[::1],i8[::1],b1[::1],b1[::1])")
def collapse_edges(
    order: Int64,
    space: Float64,
    rim: Mask,
    faces: Int64,
    start: Int64,
    around: Int64,
    gone: Mask,
    dead: Mask,
) -> None:
    """Collapse the edges in ``order`` where allowed, marking vertices as gone and faces as dead."""
    blocked = np.zeros(len(space), np.bool_)
    for e in order:
        v, u = faces[e // 3, e % 3], faces[e // 3, (e % 3 + 1) % 3]
        # 1. One collapse per neighbourhood: what it touches is blocked for the rest of the round.
        if blocked[v] or blocked[u] or not may_collapse(space, rim, faces, start, around, blocked, v, u):
            continue
        for w in (u, v):
            for i in range(start[w], start[w + 1]):
                for k in range(3):
                    blocked[faces[around[i], k]] = True
        # 2. v becomes u in its faces; the two that have both die.
        for i in range(start[v], start[v + 1]):
            f = around[i]
            dead[f] = has_corner(faces, f, u)
            for k in range(3):
                if faces[f, k] == v:
                    faces[f, k] = u
        gone[v] = True


@njit("(f8[:,::1],b1[::1],i8[:,::1],f4[:,::1],f8[::1])")
def rank_edges_to_collapse(space: Float64, rim: Mask, faces: Int64, size: Real, out: Float64) -> None:
    """Write the ratio of `edge_ratio` of edges that start at an inner vertex."""
    for f in range(len(faces)):
        for k in range(3):
            if not rim[faces[f, k]]:
                out[3 * f + k] = edge_ratio(space, size, faces[f, k], faces[f, (k + 1) % 3])
