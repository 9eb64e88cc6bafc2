"""Samples of a surface: where its colours are found and chosen (`project`), and continued (`inpainting`).

They are the mesh's vertices or, where faces are large, the points of a regular subdivision of them. Texels lie between
three samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array

from v2m4.arrays import Float32, Int32, Int64, Real
from v2m4.render.atlas import Texels
from v2m4.stages.texture.samples_numba import blend_rows, locate_in_pieces


@dataclass(frozen=True)
class Samples:
    """Points on a mesh's surface. face: (P,) triangle each lies on, weights: (P,3) barycentrics there.
    texel: (N,3) int32, the samples around each texel, and share: (N,3) float32, their weights.
    adjacency: (P,P) rows that average over neighbouring samples."""

    face: Int64
    weights: Float32
    texel: Int32
    share: Float32
    adjacency: csr_array

    def interpolate(self, faces: Int64, values: Real) -> Float32:
        """(P,C) values at the samples, interpolated from (V,C) at the vertices."""
        corners = values[faces[self.face]]
        return np.ascontiguousarray((corners * self.weights[..., None]).sum(1), dtype=np.float32)

    def at_texels(self, values: Real) -> Float32:
        """(N,C) values at the texels, interpolated from (P,C) at the samples."""
        return blend_rows(values, self.texel, self.share)

    def smooth(self, values: Real, rounds: int) -> Real:
        """(P,C) values averaged with their neighbours so many times."""
        for _ in range(rounds):
            values = 0.5 * values + 0.5 * (self.adjacency @ values)
        return values


def place_samples(faces: Int64, texels: Texels, count: int) -> Samples:
    """About ``count`` pieces of a mesh with the given faces (F,3), at least a face each: the samples at their corners,
    and where the texels lie between them."""
    # 1. The corners of a face cut into m x m pieces: (G,2) steps along its first two corners, of m in all.
    m = max(1, round(np.sqrt(count / len(faces))))
    grid = np.array([(i, j) for i in range(m + 1) for j in range(m + 1 - i)], np.int64)
    number = np.full((m + 2, m + 2), -1, np.int64)  # where a step's corner stands in the grid
    number[grid[:, 0], grid[:, 1]] = np.arange(len(grid))
    weights = np.column_stack([grid, m - grid.sum(1)])  # (G,3) barycentrics, times m

    # 2. One sample per place: on an edge or vertex it is the same one for all faces around. Its name is the mesh's
    #    vertices and the whole-number weights they have there, in the vertices' order.
    face = np.repeat(np.arange(len(faces)), len(grid))  # (F*G,)
    every = np.tile(weights, (len(faces), 1))  # (F*G,3)
    names = np.where(every > 0, faces[face], -1)
    order = np.argsort(names, axis=1)
    key = np.concatenate([np.take_along_axis(names, order, 1), np.take_along_axis(every, order, 1)], axis=1)  # (F*G,6)
    _, first, same = np.unique(key, axis=0, return_index=True, return_inverse=True)
    local = same.reshape(len(faces), len(grid))  # (F,G) a face's corners -> samples

    # 3. The piece each texel lies in.
    corner, share = locate_in_pieces(texels.weights, texels.face, local, number, m)

    # 4. Neighbours are joined by the three sides of every upright piece: with them go the sides of all the others.
    up = np.array([(i, j) for i in range(m) for j in range(m - i)])
    pairs = [(number[up[:, 0] + a, up[:, 1] + b], number[up[:, 0] + c, up[:, 1] + d]) for a, b, c, d in _SIDES]
    start = np.concatenate([local[:, s].ravel() for s, _ in pairs])
    end = np.concatenate([local[:, e].ravel() for _, e in pairs])
    links = coo_array(
        (np.ones(2 * len(start)), (np.r_[start, end], np.r_[end, start])), shape=(len(first),) * 2
    ).tocsr()
    links.data[:] = 1  # a side that two faces share was counted twice
    adjacency = csr_array(diags_array(1 / np.maximum(links.sum(1), 1)) @ links)
    return Samples(
        face[first],
        (every[first] / m).astype(np.float32),
        corner,
        share,
        adjacency,
    )


_SIDES = ((0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 1))
