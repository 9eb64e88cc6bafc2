"""A skeleton for any mesh: its chunks are the parts, the widest contacts between them the joints."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order

from v2m4.arrays import Float64, Int64
from v2m4.settings import ChunkSettings
from v2m4.stages.registration.parts.chunks import cut_into_chunks
from v2m4.stages.registration.parts.pose_fit import Body
from v2m4.stages.registration.parts.skeleton import Skeleton


def rigged(vertices: Float64, faces: Int64, settings: ChunkSettings) -> Body:
    """The mesh (V,3), (F,3) as a body of jointed chunks. The root is the chunk from which the others are least far."""
    chunks = cut_into_chunks(vertices, faces, settings)
    count = len(chunks.graph.nodes)
    tree = chunks.strength == 1.0
    edges = chunks.graph.edges[tree]
    at = (chunks.graph.nodes[edges] + chunks.arms[tree]).mean(axis=1)  # (E,3)
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)).tocsr()
    graph = graph + graph.T
    # 1. The root carries most of the skin within few steps.
    share = np.zeros(count)
    np.add.at(share, chunks.graph.node_indices, chunks.graph.skinning_weights)
    steps = np.stack([_depths(graph, start) for start in range(count)])  # (N,N)
    root = int((steps @ share).argmin())
    order, before = breadth_first_order(graph, root, directed=False)
    # 2. Parents first; what nothing ties to the root hangs on it where it is.
    order = np.concatenate([order, np.setdiff1d(np.arange(count), order)]).astype(np.int64)
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    parents, joints = np.full(count, -1, np.int64), chunks.graph.nodes[order].copy()
    joint_of = {frozenset(pair): spot for pair, spot in zip(edges.tolist(), at, strict=True)}
    for new, old in enumerate(order.tolist()):
        if new == 0:
            continue
        parent = int(before[old])
        parents[new] = place[parent] if parent >= 0 else 0
        if parent >= 0:
            joints[new] = joint_of[frozenset((old, parent))]
    weights = np.zeros((len(vertices), count))
    columns = place[chunks.graph.node_indices]
    np.put_along_axis(weights, columns, chunks.graph.skinning_weights, axis=1)
    return Body(Skeleton(parents, joints), vertices, weights)


def _depths(graph: coo_matrix, start: int) -> Float64:
    """(N,) steps from ``start``."""
    order, before = breadth_first_order(graph, start, directed=False)
    out = np.full(graph.shape[0], float(graph.shape[0]))
    out[start] = 0
    for each in order[1:]:
        out[each] = out[before[each]] + 1
    return out
