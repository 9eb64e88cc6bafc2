"""The compiled kernels of `samples`: between which samples each texel lies, and what lies between rows of a table."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32, Int32, Int64, Real
from v2m4.compiled import njit


def blend_rows(values: Real, rows: Int32, share: Float32) -> Float32:
    """(N,C) sums of rows (N,3) of ``values`` (P,C) times their shares (N,3)."""
    out = np.empty((len(rows), values.shape[1]), np.float32)
    _blend(
        np.ascontiguousarray(values, np.float64),
        np.ascontiguousarray(rows, np.int32),
        np.ascontiguousarray(share, np.float32),
        out,
    )
    return out


@njit("(f8[:,::1],i4[:,::1],f4[:,::1],f4[:,::1])", nogil=True)
def _blend(values: Real, rows: Int32, share: Float32, out: Float32) -> None:
    for n in range(len(rows)):
        a, b, c = rows[n, 0], rows[n, 1], rows[n, 2]
        for k in range(values.shape[1]):
            out[n, k] = values[a, k] * share[n, 0] + values[b, k] * share[n, 1] + values[c, k] * share[n, 2]


def locate_in_pieces(weights: Float32, face: Int64, local: Int64, number: Int64, m: int) -> tuple[Int32, Float32]:
    """The samples (N,3) around points of a surface, and their shares (N,3).

    weights: (N,3) barycentrics of the points in their face (N,). local: (F,G) the samples of a face's grid of m x m
    pieces; number: (m+2,m+2) the place in the grid of each corner, by its steps along the face's first two corners.
    """
    rows, share = np.empty((len(face), 3), np.int32), np.empty((len(face), 3), np.float32)
    places = np.ascontiguousarray(local, np.int64), np.ascontiguousarray(number, np.int64)
    _locate(np.ascontiguousarray(weights, np.float32), np.ascontiguousarray(face, np.int64), *places, m, rows, share)
    return rows, share


@njit("(f4[:,::1],i8[::1],i8[:,::1],i8[:,::1],i8,i4[:,::1],f4[:,::1])", nogil=True)
def _locate(weights: Float32, face: Int64, local: Int64, number: Int64, m: int, rows: Int32, share: Float32) -> None:
    for n in range(len(face)):
        # Cell (i, j) of the grid, of whose two halves the far one if x + y > 1.
        x, y = float(weights[n, 0]) * m, float(weights[n, 1]) * m
        i = min(max(int(np.floor(x)), 0), m - 1)
        j = min(max(int(np.floor(y)), 0), m - 1 - i)
        x, y = x - i, y - j
        if x + y > 1 and i + j < m - 1:
            corners = (number[i + 1, j + 1], number[i, j + 1], number[i + 1, j])
            x, y = 1 - x, 1 - y
        else:
            corners = (number[i, j], number[i + 1, j], number[i, j + 1])
        shares = (min(max(1 - x - y, 0.0), 1.0), min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))
        total = shares[0] + shares[1] + shares[2]
        for k in range(3):
            rows[n, k] = local[face[n], corners[k]]
            share[n, k] = shares[k] / total
