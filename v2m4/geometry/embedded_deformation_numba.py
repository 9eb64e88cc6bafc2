"""Compiled loops that add the terms of the embedded deformation to its normal equations.

Six unknowns per node: a turn w (applied from the left, in radians) and a move. ``matrix`` (6N,6N), symmetric, and
``gradient`` (6N,) are added to in place.
"""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float64, Int64
from v2m4.compiled import njit


@njit(
    "(i8[:,::1],f8[:,::1],f8[:,::1],f8[::1],f8[::1],i8[:,::1],f8[:,::1],f8[:,::1],f8[:,::1],f8[:,:,::1],f8[:,::1],"
    "f8,f8[:,::1],f8[::1])",
    nogil=True,
)
def add_point_to_plane(
    corners: Int64,
    barycentrics: Float64,
    normals: Float64,
    distances: Float64,
    weights: Float64,
    node_indices: Int64,
    skinning_weights: Float64,
    rest: Float64,
    nodes: Float64,
    rotations: Float64,
    positions: Float64,
    robust: float,
    matrix: Float64,
    gradient: Float64,
) -> None:
    """(normal . point - distance)^2 of surface points, down-weighted by Geman-McClure.

    P constraints: corners, barycentrics, normals (P,3), distances, weights (P,). V vertices, each carried by K of N
    nodes: node_indices, skinning_weights (V,K), rest (V,3). nodes, positions (N,3), rotations (N,3,3). robust: distance
    beyond which a constraint counts less and less.
    """
    influences = node_indices.shape[1]
    # Of the nodes that carry a point, at most 3K: which, its place seen from them and their share of it (both times the
    # share), and the residual's derivatives by their turn and move.
    ids = np.empty(3 * influences, np.int64)
    arm = np.zeros((3 * influences, 3))
    share = np.zeros(3 * influences)
    row = np.zeros((3 * influences, 6))
    met = np.zeros((nodes.shape[0], nodes.shape[0]), np.bool_)  # pairs of nodes that carry a point together
    for p in range(corners.shape[0]):
        # 1. The nodes that carry the point, each once: their share of it, and the point's place in their frames.
        n = 0
        for c in range(3):
            b = barycentrics[p, c]
            if b == 0.0:
                continue
            v = corners[p, c]
            for k in range(influences):
                s = b * skinning_weights[v, k]
                if s < 1e-5:
                    continue
                node = node_indices[v, k]
                m = -1
                for q in range(n):
                    if ids[q] == node:
                        m = q
                        break
                if m < 0:
                    m = n
                    ids[n] = node
                    share[n] = 0.0
                    for a in range(3):
                        arm[n, a] = 0.0
                    n += 1
                share[m] += s
                for a in range(3):
                    arm[m, a] += s * (rest[v, a] - nodes[node, a])
        # 2. The residual and its derivatives by each node's turn and move.
        nx, ny, nz = normals[p, 0], normals[p, 1], normals[p, 2]
        residual = 0.0
        for m in range(n):
            r = rotations[ids[m]]
            x = r[0, 0] * arm[m, 0] + r[0, 1] * arm[m, 1] + r[0, 2] * arm[m, 2]
            y = r[1, 0] * arm[m, 0] + r[1, 1] * arm[m, 1] + r[1, 2] * arm[m, 2]
            z = r[2, 0] * arm[m, 0] + r[2, 1] * arm[m, 1] + r[2, 2] * arm[m, 2]
            at = positions[ids[m]]
            residual += nx * (x + share[m] * at[0]) + ny * (y + share[m] * at[1]) + nz * (z + share[m] * at[2])
            row[m, 0] = y * nz - z * ny
            row[m, 1] = z * nx - x * nz
            row[m, 2] = x * ny - y * nx
            row[m, 3] = share[m] * nx
            row[m, 4] = share[m] * ny
            row[m, 5] = share[m] * nz
        residual -= distances[p]
        # 3. The outer products of the derivatives, weighted.
        w = weights[p] / (1.0 + (residual / robust) ** 2) ** 2
        for m in range(n):
            i = 6 * ids[m]
            for a in range(6):
                gradient[i + a] += w * residual * row[m, a]
            for k in range(n):
                j = 6 * ids[k]
                if j < i:
                    continue
                met[ids[m], ids[k]] = True
                for a in range(6):
                    wa = w * row[m, a]
                    for b2 in range(6):
                        matrix[i + a, j + b2] += wa * row[k, b2]
    # 4. The blocks below the diagonal are those above it, turned over.
    for m in range(met.shape[0]):
        for k in range(m, met.shape[0]):
            if met[m, k]:
                for a in range(6 * m, 6 * m + 6):
                    for b2 in range(max(6 * k, a + 1), 6 * k + 6):
                        matrix[b2, a] = matrix[a, b2]


@njit("(i8[:,::1],f8,f8[:,:,::1],f8[:,:,::1],f8[:,::1],f8[:,::1],f8[::1])", nogil=True)
def add_rigidity(
    edges: Int64,
    weight: float,
    offsets: Float64,
    rotations: Float64,
    positions: Float64,
    matrix: Float64,
    gradient: Float64,
) -> None:
    """|R_k offset + x_k - x_l|^2 for both directions of every edge: ARAP between nodes (Sorkine and Alexa 2007).

    edges (E,2), offsets (E,2,3) at rest, seen from either end; rotations (N,3,3), positions (N,3).
    """
    arm = np.zeros(3)  # R_k offset
    residual = np.zeros(3)
    turn = np.zeros((3, 3))  # of the arm, by a small turn of node k
    for e in range(edges.shape[0]):
        for d in range(2):
            k, j = edges[e, d], edges[e, 1 - d]
            for a in range(3):
                arm[a] = 0.0
                for b in range(3):
                    arm[a] += rotations[k, a, b] * offsets[e, d, b]
                residual[a] = arm[a] + positions[k, a] - positions[j, a]
            # turn w = w x arm: how a turn of node k moves its idea of node j.
            turn[0, 1], turn[0, 2], turn[1, 2] = arm[2], -arm[1], arm[0]
            turn[1, 0], turn[2, 0], turn[2, 1] = -arm[2], arm[1], -arm[0]
            ik, ij = 6 * k, 6 * j
            # Gradient and matrix of (turn of k, move of k, move of j), whose derivatives are (turn, 1, -1).
            for a in range(3):
                s = 0.0
                for c in range(3):
                    s += turn[c, a] * residual[c]
                gradient[ik + a] += weight * s
                gradient[ik + 3 + a] += weight * residual[a]
                gradient[ij + 3 + a] -= weight * residual[a]
                matrix[ik + 3 + a, ik + 3 + a] += weight
                matrix[ij + 3 + a, ij + 3 + a] += weight
                matrix[ik + 3 + a, ij + 3 + a] -= weight
                matrix[ij + 3 + a, ik + 3 + a] -= weight
                for b in range(3):
                    s = 0.0
                    for c in range(3):
                        s += turn[c, a] * turn[c, b]
                    matrix[ik + a, ik + b] += weight * s
                    cross = weight * turn[b, a]
                    matrix[ik + a, ik + 3 + b] += cross
                    matrix[ik + 3 + b, ik + a] += cross
                    matrix[ik + a, ij + 3 + b] -= cross
                    matrix[ij + 3 + b, ik + a] -= cross


@njit("(i8[:,::1],f8,f8[:,:,::1],f8[:,:,::1],f8[:,::1],f8[::1])", nogil=True)
def add_bending(
    edges: Int64, weight: float, relative_rotations: Float64, rotations: Float64, matrix: Float64, gradient: Float64
) -> None:
    """Squared angle between R_l and R_k relative_rotation, for every edge: edges (E,2), relative_rotations (E,3,3),
    rotations (N,3,3)."""
    expected = np.zeros((3, 3))
    off = np.zeros((3, 3))
    angle = np.zeros(3)
    for e in range(edges.shape[0]):
        k, j = edges[e, 0], edges[e, 1]
        # 1. off = R_l (R_k relative_rotation)^T, the rotation that is left.
        for a in range(3):
            for b in range(3):
                s = 0.0
                for c in range(3):
                    s += rotations[k, a, c] * relative_rotations[e, c, b]
                expected[a, b] = s
        for a in range(3):
            for b in range(3):
                s = 0.0
                for c in range(3):
                    s += rotations[j, a, c] * expected[b, c]
                off[a, b] = s
        # 2. Its axis and angle; turns of either end change it one to one, nearly.
        cosine = min(1.0, max(-1.0, (off[0, 0] + off[1, 1] + off[2, 2] - 1.0) / 2.0))
        theta = np.arccos(cosine)
        factor = 0.5 if theta < 1e-4 else theta / (2.0 * np.sin(theta) + 1e-9)
        angle[0] = factor * (off[2, 1] - off[1, 2])
        angle[1] = factor * (off[0, 2] - off[2, 0])
        angle[2] = factor * (off[1, 0] - off[0, 1])
        # 3. Gradient and matrix of both turns.
        ik, ij = 6 * k, 6 * j
        for a in range(3):
            gradient[ij + a] += weight * angle[a]
            gradient[ik + a] -= weight * angle[a]
            matrix[ik + a, ik + a] += weight
            matrix[ij + a, ij + a] += weight
            matrix[ik + a, ij + a] -= weight
            matrix[ij + a, ik + a] -= weight
