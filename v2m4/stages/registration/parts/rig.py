"""A skeleton for any mesh: its own if it was brought with one, else its chunks are the parts, and the widest contacts
between them the joints."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order
from scipy.spatial import cKDTree

from v2m4.arrays import Float64, Int64
from v2m4.geometry.rig import Rig
from v2m4.settings import ChunkSettings
from v2m4.stages.registration.parts.chunks import cut_into_chunks
from v2m4.stages.registration.parts.pose_fit import Body
from v2m4.stages.registration.parts.skeleton import Skeleton

_CARRIERS = 4  # points of a rig whose weights each vertex takes
_LEAST_GAP = 1e-4  # of the object's size, below which nearer points count no more


def rigged(vertices: Float64, faces: Int64, settings: ChunkSettings) -> Body:
    """The mesh (V,3), (F,3) as a body of jointed chunks."""
    chunks = cut_into_chunks(vertices, faces, settings)
    tree = chunks.strength == 1.0
    edges = chunks.graph.edges[tree]
    at = (chunks.graph.nodes[edges] + chunks.arms[tree]).mean(axis=1)  # (E,3)
    weights = np.zeros((len(vertices), len(chunks.graph.nodes)))
    np.put_along_axis(weights, chunks.graph.node_indices, chunks.graph.skinning_weights, axis=1)
    return _hung_up(vertices, weights, chunks.graph.nodes, edges, at, chunks.graph.nodes)


def brought(rig: Rig, vertices: Float64) -> Body:
    """A mesh (V,3), which lies where the rig's surface does, as the body that the rig makes of it."""
    count = min(_CARRIERS, len(rig.points))
    gaps, near = cKDTree(rig.points).query(vertices, k=[*range(1, count + 1)])
    closeness = 1 / (gaps + _LEAST_GAP * np.ptp(vertices, axis=0).max()) ** 2
    weights = np.einsum("vk,vkn->vn", closeness / closeness.sum(axis=1, keepdims=True), rig.weights[near])
    middles = rig.weights.T @ rig.points / rig.weights.sum(axis=0)[:, None]
    hanging = np.flatnonzero(rig.parents >= 0)
    edges = np.stack([hanging, rig.parents[hanging]], axis=1)
    return _hung_up(vertices, weights, middles, edges, rig.joints[hanging], rig.joints)


def _hung_up(vertices: Float64, weights: Float64, middles: Float64, edges: Int64, at: Float64, untied: Float64) -> Body:
    """A body of N parts with middles (N,3), tied in pairs (E,2) at (E,3), that carry vertices (V,3) by weights (V,N).
    The root is the part from which the others are least far; what nothing ties to it turns about untied (N,3)."""
    count = len(middles)
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)).tocsr()
    graph = graph + graph.T
    # 1. The root carries most of the skin within few steps.
    share = weights.sum(axis=0)
    steps = np.stack([_depths(graph, start) for start in range(count)])  # (N,N)
    root = int((steps @ share).argmin())
    order, before = breadth_first_order(graph, root, directed=False)
    # 2. Parents first; what nothing ties to the root hangs on it where it is.
    order = np.concatenate([order, np.setdiff1d(np.arange(count), order)]).astype(np.int64)
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    parents, joints = np.full(count, -1, np.int64), middles[order].copy()
    joint_of = {frozenset(pair): spot for pair, spot in zip(edges.tolist(), at, strict=True)}
    for new, old in enumerate(order.tolist()):
        if new == 0:
            continue
        parent = int(before[old])
        parents[new] = place[parent] if parent >= 0 else 0
        joints[new] = joint_of[frozenset((old, parent))] if parent >= 0 else untied[old]
    return Body(Skeleton(parents, joints), vertices, np.ascontiguousarray(weights[:, order]))


def _depths(graph: coo_matrix, start: int) -> Float64:
    """(N,) steps from ``start``."""
    order, before = breadth_first_order(graph, start, directed=False)
    out = np.full(graph.shape[0], float(graph.shape[0]))
    out[start] = 0
    for each in order[1:]:
        out[each] = out[before[each]] + 1
    return out
