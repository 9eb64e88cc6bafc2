"""The compiled loops of `skeleton` and `pose_fit`: along the tree from the root, and back."""

from __future__ import annotations

from v2m4.arrays import Float32, Float64, Int64
from v2m4.compiled import njit


@njit("(i8[::1],f8[:,::1],f8[:,:,:,::1],f8[:,::1],f8[:,:,:,::1],f8[:,:,::1])", nogil=True)
def chain(parents: Int64, joints: Float64, within: Float64, shifts: Float64, turns: Float64, places: Float64) -> None:
    """Rotations ``turns`` (B,N,3,3) and joints' ``places`` (B,N,3) in space of parts turned ``within`` (B,N,3,3) their
    parents (N,), the root's joint shifted by (B,3); joints (N,3) at rest."""
    for b in range(len(within)):
        for n in range(len(parents)):
            p = parents[n]
            if p < 0:
                for i in range(3):
                    places[b, n, i] = joints[n, i] + shifts[b, i]
                    for j in range(3):
                        turns[b, n, i, j] = within[b, n, i, j]
                continue
            for i in range(3):
                place = places[b, p, i]
                for k in range(3):
                    place += turns[b, p, i, k] * (joints[n, k] - joints[p, k])
                places[b, n, i] = place
                for j in range(3):
                    turn = 0.0
                    for k in range(3):
                        turn += turns[b, p, i, k] * within[b, n, k, j]
                    turns[b, n, i, j] = turn


@njit("(i8[::1],f8[:,::1],f8[:,::1],f8[:,::1],f8[:,:,::1],f8[:,::1],f4[:,:,::1])", nogil=True)
def carry(
    parents: Int64, joints: Float64, vertices: Float64, weights: Float64, turns: Float64, places: Float64, out: Float32
) -> None:
    """What of the places of vertices (V,3), skinned with ``weights`` (V,N), each part and those below it make up:
    ``out`` (N,V,3), for parts turned (N,3,3) whose joints are at ``places`` (N,3) and were at ``joints`` (N,3)."""
    out[:] = 0
    for n in range(len(parents) - 1, -1, -1):
        for v in range(len(vertices)):
            weight = weights[v, n]
            if weight > 0:
                for i in range(3):
                    place = places[n, i]
                    for k in range(3):
                        place += turns[n, i, k] * (vertices[v, k] - joints[n, k])
                    out[n, v, i] += weight * place
        p = parents[n]
        for v in range(len(vertices) if n else 0):  # as loops, which are compiled in a tenth of a slice's time
            for i in range(3):
                out[p, v, i] += out[n, v, i]
