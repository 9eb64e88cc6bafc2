"""Where a part of a mesh goes if only its surroundings tell: as rigid as possible (ARAP, Sorkine and Alexa 2007)."""

from __future__ import annotations

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
        if not free.any() or free.all():
            return pose
        inner = np.flatnonzero(free)
        # 1. The system for the free vertices; what the others give to its right side.
        rows = self._laplacian[inner]
        staying = np.bincount(self._piece, ~free) > 0  # whether anything of each piece does
        hold = np.where(staying[self._piece[inner]], 0.0, self.loose_hold) * self._laplacian.diagonal()[inner]
        system = splu(
            csc_matrix(rows[:, inner] + diags(hold)),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        held = np.flatnonzero(~free)
        given = hold[:, None] * pose[inner] - rows[:, held] @ pose[held]  # (N,3)
        # 2. Turns that suit the positions, positions that suit the turns, in turns.
        near = np.flatnonzero(self.grown(free))
        moved = pose.copy()
        for _ in range(iterations):
            wanted = wanted_laplacian(moved, near, inner, self._first, self._end, self._weight, self._rest_edge)
            moved[inner] = system.solve(wanted + given)
        return moved
