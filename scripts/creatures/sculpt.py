"""Modelling with distance fields: blobs that melt into each other, turned into one closed, textured, skinned mesh.

World: z up, the toy faces +y, about one unit large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import fast_simplification
import numpy as np
import xatlas
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Array = NDArray[np.float64]
Field = Callable[[Array], Array]


def ellipsoid(centre: Sequence[float], radii: Sequence[float], turn: Array | None = None) -> Field:
    """About the distance to an ellipsoid; ``turn`` (3,3) takes its own axes to the world's."""
    c, r = np.asarray(centre, float), np.asarray(radii, float)

    def distance(p: Array) -> Array:
        q = p - c if turn is None else (p - c) @ turn
        k0 = np.linalg.norm(q / r, axis=-1)
        k1 = np.linalg.norm(q / (r * r), axis=-1)
        return np.where(k1 > 1e-9, k0 * (k0 - 1) / np.maximum(k1, 1e-9), -r.min())

    return distance


def limb(start: Sequence[float], end: Sequence[float], r0: float, r1: float) -> Field:
    """About the distance to a round stick whose radius goes from r0 to r1."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    axis = b - a

    def distance(p: Array) -> Array:
        t = np.clip((p - a) @ axis / (axis @ axis), 0, 1)
        return np.linalg.norm(p - a - t[..., None] * axis, axis=-1) - (r0 + (r1 - r0) * t)

    return distance


def turn(axis: str, degrees: float) -> Array:
    """(3,3) rotation about x, y or z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    m = np.eye(3)
    m[j, j], m[j, k], m[k, j], m[k, k] = c, -s, s, c
    return m


@dataclass(frozen=True)
class Part:
    """A blob that follows ``bone`` and melts into what came before over the width ``melt``."""

    bone: str
    shape: Field
    melt: float = 0.04


@dataclass(frozen=True)
class Bone:
    """Turns about ``pivot`` within its parent."""

    pivot: tuple[float, float, float]
    parent: str | None = None


@dataclass(frozen=True)
class Move:
    """What a bone does at one instant: turn (3,3), stretch (3,), shift (3,), in its parent's axes."""

    turn: Array = field(default_factory=lambda: np.eye(3))
    stretch: Sequence[float] = (1.0, 1.0, 1.0)
    shift: Sequence[float] = (0.0, 0.0, 0.0)


def union(parts: Sequence[Part]) -> Field:
    """The smooth union of the parts, in their order (quadratic smooth minimum)."""

    def distance(p: Array) -> Array:
        out = parts[0].shape(p)
        for part in parts[1:]:
            d = part.shape(p)
            h = np.clip(0.5 + 0.5 * (out - d) / part.melt, 0, 1)
            out = out + (d - out) * h - part.melt * h * (1 - h)
        return out

    return distance


def gradient(distance: Field, p: Array, step: float = 1e-3) -> Array:
    """(N,3) unit normals of the field at p."""
    g = np.stack([distance(p + step * e) - distance(p - step * e) for e in np.eye(3)], axis=-1)
    return g / np.maximum(np.linalg.norm(g, axis=-1, keepdims=True), 1e-12)


def surface(distance: Field, low: Array, high: Array, cell: float) -> tuple[Array, NDArray[np.int64]]:
    """Closed surface of the zero level by surface nets (Gibson 1998): a vertex per cell that the surface crosses."""
    size = np.ceil((high - low) / cell).astype(int) + 1
    axes = [low[i] + cell * np.arange(size[i]) for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    d = np.stack([distance(slab) for slab in grid])
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    n = size - 1
    values = np.stack([d[i : i + n[0], j : j + n[1], k : k + n[2]] for i, j, k in corners], axis=-1)
    crossed = (values.min(-1) < 0) & (values.max(-1) >= 0)
    index = np.full(n, -1)
    index[crossed] = np.arange(crossed.sum())
    v = values[crossed]
    total, count = np.zeros((len(v), 3)), np.zeros(len(v))
    for a in range(8):
        for b in range(a + 1, 8):
            if np.abs(corners[a] - corners[b]).sum() != 1:
                continue
            cut = (v[:, a] < 0) != (v[:, b] < 0)
            t = v[cut, a] / (v[cut, a] - v[cut, b])
            total[cut] += corners[a] + t[:, None] * (corners[b] - corners[a])
            count[cut] += 1
    vertices = low + cell * (np.argwhere(crossed) + total / count[:, None])
    faces = []
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        first, second = (np.take(d, range(s, size[axis] - 1 + s), axis=axis) for s in (0, 1))
        edges = np.argwhere((first < 0) != (second < 0))
        edges = edges[(edges[:, i] > 0) & (edges[:, j] > 0)]
        inside = first[tuple(edges.T)] < 0
        step_i, step_j = np.eye(3, dtype=int)[i], np.eye(3, dtype=int)[j]
        quad = np.stack(
            [index[tuple((edges - o).T)] for o in (step_i * 0, step_i, step_i + step_j, step_j)],
            axis=1,
        )
        quad[~inside] = quad[~inside, ::-1]
        faces.append(np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]))
    return vertices, np.concatenate(faces)


@dataclass(frozen=True)
class Sculpture:
    """vertices (V,3), faces (F,3), uv (T,2; v down), uv_faces (F,3), weights (V,B) of the named bones."""

    vertices: Array
    faces: NDArray[np.int64]
    uv: NDArray[np.float32]
    uv_faces: NDArray[np.int64]
    weights: Array
    distance: Field


def sculpt(parts: Sequence[Part], bones: dict[str, Bone], faces_wanted: int, softness: float = 0.03) -> Sculpture:
    """One closed mesh of about ``faces_wanted`` triangles. ``softness``: over what distance bones share the skin."""
    distance = union(parts)
    vertices, faces = surface(distance, np.array([-1.2, -0.6, -0.1]), np.array([1.2, 0.6, 1.3]), 0.014)
    vertices, faces = fast_simplification.simplify(
        vertices.astype(np.float32), faces.astype(np.int32), target_count=faces_wanted
    )
    vertices, faces = vertices.astype(np.float64), faces.astype(np.int64)
    for _ in range(3):
        vertices = vertices - distance(vertices)[:, None] * gradient(distance, vertices)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    if np.einsum("ij,ij->", a, np.cross(b, c)) < 0:
        faces = faces[:, ::-1].copy()
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    options = xatlas.PackOptions()
    options.padding, options.resolution = 4, 512
    atlas.generate(pack_options=options)
    _, uv_faces, uv = atlas[0]
    names = list(bones)
    near = np.full((len(vertices), len(names)), np.inf)
    for part in parts:
        column = names.index(part.bone)
        near[:, column] = np.minimum(near[:, column], part.shape(vertices))
    closeness = np.exp(-(near - near.min(axis=1, keepdims=True)) / softness)
    closeness[closeness < 1e-2] = 0
    weights = closeness / closeness.sum(axis=1, keepdims=True)
    return Sculpture(vertices, faces, uv, uv_faces.astype(np.int64), weights, distance)


def pose(sculpture: Sculpture, bones: dict[str, Bone], moves: dict[str, Move]) -> Array:
    """(V,3) linear blend skinning; bones without a move stay as they are within their parent."""
    world: dict[str, Array] = {}
    for name, bone in bones.items():  # parents come first
        move, pivot = moves.get(name, Move()), np.asarray(bone.pivot)
        local = np.eye(4)
        local[:3, :3] = move.turn @ np.diag(move.stretch)
        local[:3, 3] = pivot + np.asarray(move.shift) - local[:3, :3] @ pivot
        world[name] = local if bone.parent is None else world[bone.parent] @ local
    matrices = np.stack([world[name] for name in bones])
    blended = np.einsum("vb,bij->vij", sculpture.weights, matrices)
    return np.einsum("vij,vj->vi", blended[:, :3, :3], sculpture.vertices) + blended[:, :3, 3]


Paint = Callable[[Array, Array], Array]
"""Rest positions (N,3) and normals (N,3) to sRGB colours (N,3) in [0,1]."""


def paint_texture(sculpture: Sculpture, paint: Paint, size: int) -> NDArray[np.float32]:
    """(size,size,3) sRGB texture: the paint at every texel, darkened where the surface is hemmed in."""
    where = np.zeros((size, size, 3))
    covered = np.zeros((size, size), bool)
    corners = sculpture.uv[sculpture.uv_faces] * size - 0.5
    for corner, face in zip(corners, sculpture.faces, strict=True):
        low = np.floor(corner.min(0)).astype(int).clip(0)
        high = np.ceil(corner.max(0)).astype(int).clip(max=size - 1)
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        (x0, y0), (x1, y1), (x2, y2) = corner
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-12:
            continue
        w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
        w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
        b = np.stack([1 - w1 - w2, w1, w2], axis=-1)
        near = b.min(-1) > -0.5 / max(np.sqrt(abs(area)), 1)
        where[y[near], x[near]] = b[near] @ sculpture.vertices[face]
        covered[y[near], x[near]] = True
    p = where[covered]
    normal = gradient(sculpture.distance, p)
    p = p - sculpture.distance(p)[:, None] * normal
    colour = paint(p, normal)
    steps = np.array([0.02, 0.05, 0.1, 0.16])
    hemmed = sum(
        (h - sculpture.distance(p + h * normal)) / h * w for h, w in zip(steps, [0.2, 0.25, 0.25, 0.3], strict=True)
    )
    shade = 1 - 0.55 * np.clip(hemmed, 0, 1)[:, None] ** 1.2
    texture = np.zeros((size, size, 3))
    texture[covered] = colour * shade ** np.array([0.85, 1.0, 0.95])  # shadows lean to warm
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return texture[tuple(nearest)].clip(0, 1).astype(np.float32)


def rgb(code: str) -> Array:
    """(3,) in [0,1] of a hexadecimal colour."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255


def blend(under: Array, colour: Array, amount: Array) -> Array:
    """Lay ``colour`` over ``under`` (N,3) with opacity ``amount`` (N,) in [0,1]."""
    a = np.clip(amount, 0, 1)[:, None]
    return under * (1 - a) + colour * a


def edge(x: Array, at: float, softness: float = 0.006) -> Array:
    """1 where x is below ``at``, 0 above, with a soft step."""
    return np.clip(0.5 - (x - at) / (2 * softness), 0, 1)
