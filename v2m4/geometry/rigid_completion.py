"""Where a part of a mesh goes if only its surroundings tell: as rigid as possible (ARAP, Sorkine and Alexa 2007)."""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy.sparse import csc_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from v2m4.arrays import Float64, Int64, Mask
from v2m4.geometry.mesh import unique_edges
from v2m4.geometry.rigid_completion_numba import wanted_laplacian

_SHORTEST = 1e-3  # of the mean: shorter edges weigh as this one


class RigidCompletion:
    """Completes poses of a mesh whose rest shape is vertices (V,3), faces (F,3).

    loose_hold: how firmly vertices of a piece of which nothing stays keep their place, against how edges keep theirs.
    """

    def __init__(self, rest: Float64, faces: Int64, loose_hold: float) -> None:
        self.loose_hold = loose_hold
        # Directed edges i -> j (E,2), sorted by i, so that those of a vertex stand together.
        pairs = unique_edges(torch.from_numpy(faces)).numpy()
        edges = np.concatenate([pairs, pairs[:, ::-1]])
        start, end = np.ascontiguousarray(edges[np.lexsort((edges[:, 1], edges[:, 0]))].T)
        self._end = end
        self._rest_edge = rest[end] - rest[start]  # (E,3)
        length = np.linalg.norm(self._rest_edge, axis=1)
        self._weight = 1 / np.maximum(length, _SHORTEST * length.mean())
        count = len(rest)
        self._first = np.searchsorted(start, np.arange(count + 1))  # (V+1,)
        adjacency = csr_matrix((self._weight, (start, end)), shape=(count, count))
        self._laplacian = (diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency).tocsr()
        self._beside = csr_matrix((np.ones(len(start)), (start, end)), shape=(count, count))
        self._piece = connected_components(adjacency, directed=False)[1]  # (V,)

    def part(self, vertices: Int64) -> RigidCompletion:
        """The same for some vertices (N,), ascending, by themselves: what lies two rings within them goes where it goes
        in the whole."""
        out, count = copy.copy(self), len(self._first) - 1
        place = np.full(count, -1)
        place[vertices] = np.arange(len(vertices))
        start, end = place[np.repeat(np.arange(count), np.diff(self._first))], place[self._end]
        kept = np.flatnonzero((start >= 0) & (end >= 0))
        out._end, out._rest_edge, out._weight = end[kept], self._rest_edge[kept], self._weight[kept]
        out._first = np.searchsorted(start[kept], np.arange(len(vertices) + 1))
        out._laplacian = self._laplacian[vertices][:, vertices]
        out._beside = self._beside[vertices][:, vertices]
        out._piece = self._piece[vertices]
        return out

    def grown(self, chosen: Mask, rings: int = 1) -> Mask:
        """(V,) the chosen vertices (V,) and ``rings`` rings of vertices around them."""
        for _ in range(rings):
            chosen = chosen | (self._beside @ chosen.astype(np.float64) > 0)
        return chosen

    def faded(self, chosen: Mask, rings: int) -> Float64:
        """(V,) 1 at the chosen vertices (V,), falling to 0 over ``rings`` rings and one around them."""
        weight = chosen.astype(np.float64)
        for ring in range(rings):
            wider = self.grown(chosen)
            weight[wider & ~chosen] = 1 - (ring + 1) / (rings + 1)
            chosen = wider
        return weight

    def smoothed(self, pose: Float64, chosen: Mask) -> Float64:
        """The pose (V,3) with its chosen vertices (V,) halfway to the middle of those beside them."""
        out = pose.copy()
        middle = (self._beside @ pose)[chosen] / np.diff(self._first)[chosen, None]
        out[chosen] = (pose[chosen] + middle) / 2
        return out

    def complete(self, pose: Float64, free: Mask, iterations: int) -> Float64:
        """The pose (V,3) with its ``free`` vertices (V,) where they are as rigid as possible to each other and to the
        others, which stay. A piece of the surface of which nothing stays keeps its place softly; a whole mesh of which
        nothing does stays as it is."""
        return pose if not free.any() or free.all() else FreePart(self, free).complete(pose, iterations)


class FreePart:
    """Some vertices of a mesh, to be completed in several poses: free (V,), neither none nor all of them."""

    def __init__(self, whole: RigidCompletion, free: Mask) -> None:
        self._whole = whole
        self._inner, self._held = np.flatnonzero(free), np.flatnonzero(~free)
        self._near = np.flatnonzero(whole.grown(free))
        rows = whole._laplacian[self._inner]
        staying = np.bincount(whole._piece, ~free) > 0  # whether anything of each piece does
        loose = np.where(staying[whole._piece[self._inner]], 0.0, whole.loose_hold)
        self._hold = loose * whole._laplacian.diagonal()[self._inner]
        self._towards = rows[:, self._held]
        self._system = splu(
            csc_matrix(rows[:, self._inner] + diags(self._hold)),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )

    def complete(self, pose: Float64, iterations: int) -> Float64:
        """`RigidCompletion.complete` for a pose (V,3)."""
        whole, inner = self._whole, self._inner
        # 1. What stays gives to the right side of the free vertices' system.
        given = self._hold[:, None] * pose[inner] - self._towards @ pose[self._held]  # (N,3)
        # 2. Turns that suit the positions, positions that suit the turns, in turns.
        moved = pose.copy()
        for _ in range(iterations):
            wanted = wanted_laplacian(
                moved, self._near, inner, whole._first, whole._end, whole._weight, whole._rest_edge
            )
            moved[inner] = self._system.solve(wanted + given)
        return moved
