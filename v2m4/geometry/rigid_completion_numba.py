"""Compiled: how the surroundings of each vertex turned."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float64, Int64
from v2m4.compiled import njit

_SWEEPS = 20  # of Jacobi's, at most: four or five do
_DONE = 1e-26  # off-diagonal squares, of the matrix's own


@njit(nogil=True)
def closest_turn(m: Float64, k: Float64, q: Float64, turn: Float64) -> None:
    """Write into ``turn`` (3,3) the rotation R that maximises trace(R^T M) for M (3,3); k, q: (4,4) to work in.

    That trace is a quadratic form of R's unit quaternion (Horn 1987); its greatest eigenvector comes from Jacobi's
    rotations.
    """
    for i in range(4):
        for j in range(4):
            q[i, j] = 1.0 if i == j else 0.0
    k[0, 0] = m[0, 0] + m[1, 1] + m[2, 2]
    k[1, 1] = m[0, 0] - m[1, 1] - m[2, 2]
    k[2, 2] = m[1, 1] - m[0, 0] - m[2, 2]
    k[3, 3] = m[2, 2] - m[0, 0] - m[1, 1]
    k[0, 1] = k[1, 0] = m[2, 1] - m[1, 2]
    k[0, 2] = k[2, 0] = m[0, 2] - m[2, 0]
    k[0, 3] = k[3, 0] = m[1, 0] - m[0, 1]
    k[1, 2] = k[2, 1] = m[0, 1] + m[1, 0]
    k[1, 3] = k[3, 1] = m[0, 2] + m[2, 0]
    k[2, 3] = k[3, 2] = m[1, 2] + m[2, 1]
    whole = 0.0
    for i in range(4):
        for j in range(4):
            whole += k[i, j] ** 2
    # 1. Each rotation makes one pair of off-diagonal elements zero.
    for _ in range(_SWEEPS):
        off = 0.0
        for i in range(3):
            for j in range(i + 1, 4):
                off += k[i, j] ** 2
        if off <= _DONE * whole:
            break
        for i in range(3):
            for j in range(i + 1, 4):
                if k[i, j] == 0.0:
                    continue
                ratio = (k[j, j] - k[i, i]) / (2 * k[i, j])
                t = (1.0 if ratio >= 0 else -1.0) / (abs(ratio) + np.sqrt(ratio * ratio + 1))
                c = 1 / np.sqrt(t * t + 1)
                s = t * c
                for n in range(4):
                    a, b = k[n, i], k[n, j]
                    k[n, i], k[n, j] = c * a - s * b, s * a + c * b
                    a, b = q[n, i], q[n, j]
                    q[n, i], q[n, j] = c * a - s * b, s * a + c * b
                for n in range(4):
                    a, b = k[i, n], k[j, n]
                    k[i, n], k[j, n] = c * a - s * b, s * a + c * b
    # 2. The eigenvector of the greatest eigenvalue, as a matrix.
    best = 0
    for i in range(1, 4):
        if k[i, i] > k[best, best]:
            best = i
    w, x, y, z = q[0, best], q[1, best], q[2, best], q[3, best]
    turn[0, 0], turn[0, 1], turn[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    turn[1, 0], turn[1, 1], turn[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    turn[2, 0], turn[2, 1], turn[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@njit("(f8[:,::1],i8[::1],i8[::1],i8[::1],i8[::1],f8[::1],f8[:,::1])", nogil=True)
def wanted_laplacian(
    pose: Float64, near: Int64, inner: Int64, first: Int64, end: Int64, weight: Float64, rest_edge: Float64
) -> Float64:
    """(N,3) the right side of ARAP's system at the vertices ``inner`` (N,): what their edges, turned as either end's
    surroundings did, add up to.

    pose: (V,3). near: the inner vertices and all beside them. first: (V+1,) where the edges out of each vertex begin
    among all directed ones, of which end, weight (E,) and rest_edge (E,3) tell the other vertex, weight and vector.
    """
    turns, covariance = np.empty((len(pose), 3, 3)), np.empty((3, 3))
    k, q = np.empty((4, 4)), np.empty((4, 4))
    for v in near:
        covariance[:] = 0.0
        for e in range(first[v], first[v + 1]):
            for a in range(3):
                edge = weight[e] * (pose[end[e], a] - pose[v, a])
                for b in range(3):
                    covariance[a, b] += edge * rest_edge[e, b]
        closest_turn(covariance, k, q, turns[v])
    out = np.zeros((len(inner), 3))
    for n in range(len(inner)):
        v = inner[n]
        for e in range(first[v], first[v + 1]):
            for a in range(3):
                for b in range(3):
                    out[n, a] -= 0.5 * weight[e] * (turns[v, a, b] + turns[end[e], a, b]) * rest_edge[e, b]
    return out
