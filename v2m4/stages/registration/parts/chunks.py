"""A mesh as a body of chunks: pieces that reach through it, a slice of a limb or of the trunk, tied by ball joints.

The nodes of an embedded deformation lie on the surface, and where it is soft enough to follow, a limb that turns out of
the picture may as well shrink. A chunk holds both sides of a limb and turns as one, so that foreshortening is a turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix, identity
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial import cKDTree

from v2m4.arrays import Float64, Int64
from v2m4.geometry.cleanup import same_place
from v2m4.geometry.embedded_deformation import DeformationGraph, geodesic_graph
from v2m4.geometry.losses import face_areas
from v2m4.geometry.mesh import vertex_normals
from v2m4.settings import ChunkSettings
from v2m4.stages.registration.parts.chunks_numba import cross_body

_FINE = 1e-6  # of the object's size within which two vertices are one


@dataclass(frozen=True)
class Chunks:
    """graph: nodes are the chunks' middles, edges their joints. arms: (E,2,3) each joint seen from the middles of both
    its ends. strength: (E,) one for the joints of a tree, less for those that close loops."""

    graph: DeformationGraph
    arms: Float64
    strength: Float64

    @property
    def size(self) -> float:
        """The longest side of the mesh's box."""
        return float(np.ptp(self.graph.rest, axis=0).max())


def cut_into_chunks(vertices: Float64, faces: Int64, settings: ChunkSettings) -> Chunks:
    """Cut a mesh (V,3), (F,3) into at most ``settings.chunks`` pieces of like length.

    Separate parts of the mesh that are not tiny are never in one chunk: they may move on their own.
    """
    size = float(np.ptp(vertices, axis=0).max()) + 1e-12
    points, corners = _refined(vertices, faces, settings.longest_edge * size)
    surface, links = _limb_distances(points, corners, settings)
    area = _vertex_areas(points, corners)
    # 1. One chunk for each separate part, then where it is furthest to the next.
    parts = connected_components(_adjacency(corners, len(points)))[1]
    share = np.bincount(parts, area) / area.sum()
    own = np.flatnonzero(share > settings.least_part).tolist() or [int(share.argmax())]
    own = sorted(own, key=lambda part: -share[part])[: settings.chunks]
    seeds = [_middlemost(points, area, np.flatnonzero(parts == part)) for part in own]
    distances = [dijkstra(links, indices=seed) for seed in seeds]
    nearest = np.min(distances, axis=0)
    while len(seeds) < settings.chunks and nearest.max() > settings.least_length * size:
        seeds.append(int(nearest.argmax()))
        distances.append(dijkstra(links, indices=seeds[-1]))
        nearest = np.minimum(nearest, distances[-1])
    # 2. Each point to the nearest chunk of its own part, tiny parts to the nearest of all; then again from the chunks'
    # middles (Lloyd's rounds).
    home = parts[seeds]  # (N,) the part that each chunk belongs to
    foreign = np.isin(parts, own)[:, None] & (parts[:, None] != home[None])  # (P,N)
    for _ in range(settings.rounds + 1):
        apart = np.stack(distances, axis=1)  # (P,N)
        apart = np.where(foreign, np.inf, apart)
        label = apart.argmin(axis=1)
        members = [np.flatnonzero((label == chunk) & (parts == home[chunk])) for chunk in range(len(seeds))]
        seeds = [
            _middlemost(points, area, chosen) if len(chosen) else seed
            for chosen, seed in zip(members, seeds, strict=True)
        ]
        distances = [dijkstra(links, indices=seed) for seed in seeds]
    inside = np.bincount(label, area, len(seeds))
    middles: Float64 = np.stack(
        [np.bincount(label, area * points[:, a], len(seeds)) / inside for a in range(3)], axis=1
    )
    edges, arms, strength = _joints(points, surface, label, middles, settings.loops)
    # 3. How chunks share the skin, at the mesh's own vertices.
    own_points = cKDTree(points).query(vertices)[1]
    softness = settings.softness * float(np.median(apart.min(axis=1)))
    indices, weights = _skin(apart[own_points], softness, settings.influences)
    return Chunks(DeformationGraph(vertices, middles, indices, weights, edges), arms, strength)


def _refined(vertices: Float64, faces: Int64, longest: float) -> tuple[Float64, Int64]:
    """The mesh with vertices at equal places joined, and edges longer than ``longest`` halved until there are none."""
    kept, corner = same_place(np.round(vertices / (_FINE * max(float(np.ptp(vertices)), 1e-12))))
    points, corners = vertices[kept], corner[faces].astype(np.int64)
    corners = corners[(corners != np.roll(corners, 1, axis=1)).all(axis=1)]
    for _ in range(8):
        ends = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=2), axis=2)  # (F,3,2)
        long = np.linalg.norm(points[ends[..., 0]] - points[ends[..., 1]], axis=2) > longest  # (F,3)
        split = long.any(axis=1)
        if not split.any():
            break
        # Every edge of such a face is halved; its neighbours keep theirs, which distances do not mind much.
        wanted, which = np.unique(ends[split].reshape(-1, 2), axis=0, return_inverse=True)
        middle = len(points) + which.reshape(-1, 3)  # (S,3) vertices between corners 0-1, 1-2, 2-0
        points = np.concatenate([points, points[wanted].mean(axis=1)])
        (a, b, c), (ab, bc, ca) = corners[split].T, middle.T
        quarters = np.stack([np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))])
        corners = np.concatenate([corners[~split], quarters.reshape(-1, 3)])
        corners = _closed(corners, wanted, len(points) - len(wanted))
    return points, corners


def _closed(corners: Int64, halved: Int64, first: int) -> Int64:
    """Faces (F,3) that still have an undivided edge whose middle is a vertex now (``first``, ``first`` + 1, ... for the
    pairs ``halved`` (H,2)) are divided there, so that the surface stays whole."""
    place = {(int(i), int(j)): first + k for k, (i, j) in enumerate(halved)}
    keys = set(map(int, halved.ravel()))
    out: list[tuple[int, int, int]] = []
    for face in corners.tolist():
        stack = [tuple(face)]
        while stack:
            a, b, c = stack.pop()
            for i, j, k in ((a, b, c), (b, c, a), (c, a, b)):
                m = place.get((min(i, j), max(i, j))) if i in keys and j in keys else None
                if m is not None:
                    stack += [(i, m, k), (m, j, k)]
                    break
            else:
                out.append((a, b, c))
    return np.array(out, np.int64).reshape(-1, 3)


def _limb_distances(points: Float64, corners: Int64, settings: ChunkSettings) -> tuple[csr_matrix, csr_matrix]:
    """(P,P) lengths of edges along the surface, and the same as counted along limbs.

    There an edge counts as its points' places in the middle of the body lie apart, so around a limb it is near from
    anywhere to anywhere; and ways through the body count as ``settings.crossing`` of their length.
    """
    size, count = float(np.ptp(points, axis=0).max()), len(points)
    normals = vertex_normals(torch.from_numpy(points).float(), torch.from_numpy(corners)).double().numpy()
    a, b, c = (points[corners[:, i]] - points.mean(axis=0) for i in range(3))
    if np.einsum("fi,fi->", a, np.cross(b, c)) < 0:  # a mesh that is turned inside out
        normals = -normals
    depth, hit = np.full(count, np.inf), np.full(count, -1, np.int64)
    cross_body(points - 1e-5 * size * normals, normals, points, corners, depth, hit)
    surface = geodesic_graph(points, corners, settings.bridges)
    # 1. Half way to the other side, and the mean of that over neighbours.
    inner = points - 0.5 * np.where(hit >= 0, depth, 0.0)[:, None] * normals
    near = surface.astype(bool).astype(float) + identity(count)
    for _ in range(2):
        inner = near @ inner / np.asarray(near.sum(axis=1))
    first, second = surface.nonzero()
    along = np.linalg.norm(inner[first] - inner[second], axis=1)
    whole = np.asarray(surface[first, second]).ravel()
    length = np.minimum(whole, (1 - settings.crossing) * along + settings.crossing * whole)
    limbs = coo_matrix((length, (first, second)), (count, count)).tocsr()
    # 2. Straight through.
    through = np.flatnonzero(hit >= 0)
    across = points[through] - depth[through, None] * normals[through]
    ends = corners[hit[through]]  # (M,3)
    far = ends[np.arange(len(through)), np.linalg.norm(points[ends] - across[:, None], axis=2).argmin(axis=1)]
    good = far != through
    cost = settings.crossing * depth[through[good]] + 1e-9
    short = coo_matrix((cost, (through[good], far[good])), (count, count)).tocsr()
    return surface, limbs.maximum(short.maximum(short.T)).tocsr()


def _adjacency(corners: Int64, count: int) -> coo_matrix:
    pairs = corners[:, [0, 1, 1, 2]].reshape(-1, 2)
    return coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count))


def _vertex_areas(points: Float64, corners: Int64) -> Float64:
    areas = face_areas(torch.from_numpy(points), torch.from_numpy(corners)).numpy()
    around = np.bincount(corners.ravel(), np.repeat(areas / 3, 3), len(points))
    return np.maximum(around, 1e-15).astype(np.float64)


def _middlemost(points: Float64, area: Float64, members: Int64) -> int:
    middle = np.average(points[members], axis=0, weights=area[members])
    return int(members[np.linalg.norm(points[members] - middle, axis=1).argmin()])


def _joints(
    points: Float64, links: csr_matrix, label: Int64, middles: Float64, loops: float
) -> tuple[Int64, Float64, Float64]:
    """(E,2) chunks that touch, (E,2,3) the middle of where they do, seen from the middles of both, and (E,) how firm
    that is: one in the tree of the widest contacts, ``loops`` elsewhere. A trunk whose chunks all held on to all their
    neighbours could not turn in itself."""
    first, second = links.nonzero()
    count, apart = len(middles), label[first] < label[second]
    first, second = first[apart], second[apart]
    keys, which = np.unique(label[first] * count + label[second], return_inverse=True)
    between = (points[first] + points[second]) / 2
    contact = np.bincount(which, minlength=len(keys))
    at = np.stack([np.bincount(which, between[:, a]) for a in range(3)], axis=1) / contact[:, None]
    edges = np.stack([keys // count, keys % count], axis=1).astype(np.int64)
    tree = minimum_spanning_tree(coo_matrix((1 / contact, edges.T), shape=(count, count)))
    held = set((tree.nonzero()[0] * count + tree.nonzero()[1]).tolist())
    strength = np.array([1.0 if int(key) in held else loops for key in keys])
    return edges, at[:, None] - middles[edges], strength


def _skin(apart: Float64, softness: float, influences: int) -> tuple[Int64, Float64]:
    """The nearest chunks of points with distances (V,N), (V,K), and their weights, which fall over ``softness``."""
    kept = min(influences, apart.shape[1])
    indices = np.argsort(apart, axis=1)[:, :kept]
    near = np.take_along_axis(apart, indices, axis=1)
    weights = np.exp(-(near - near[:, :1]) / max(softness, 1e-12))
    weights[weights < 0.02] = 0
    return indices.astype(np.int64), weights / weights.sum(axis=1, keepdims=True)
