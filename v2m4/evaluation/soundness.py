"""How sound a moving mesh is: its topology, what its faces go through, and how much of it the video ever shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from v2m4.geometry.mesh import face_normals
from v2m4.geometry.strain import FaceStrain


def topology(vertices: int, faces: Tensor) -> dict[str, Any]:
    """``triangles``, ``components``, ``watertight``, ``manifold`` and ``open_edges`` of faces (F,3).

    Watertight: every edge has exactly two faces. Manifold: none has more, and the faces about every vertex hang
    together edge by edge.
    """
    f = faces.cpu().numpy()
    edges = np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), axis=1)
    _, inverse, counts = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    used = np.unique(f)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(vertices, vertices))
    labels = connected_components(graph, directed=False)[1]
    return {
        "triangles": len(f),
        "components": len(np.unique(labels[used])),
        "watertight": bool((counts == 2).all()),
        "manifold": bool((counts <= 2).all()) and _single_fans(f, inverse, counts),
        "open_edges": int((counts == 1).sum()),
    }


def _single_fans(faces: np.ndarray, edge_of: np.ndarray, counts: np.ndarray) -> bool:
    """Whether the corners at every vertex are joined to each other across edges that two faces share."""
    number = len(faces)
    corner = np.arange(3 * number).reshape(3, number).T  # (F, 3): a node for each face's corner
    edge = edge_of.reshape(3, number).T  # (F, 3): the edge from corner k to k + 1
    order = np.argsort(edge, axis=None, kind="stable")
    shared = order[counts[edge.reshape(-1)[order]] == 2].reshape(-1, 2)  # both faces' places of the edge
    (face_a, side_a), (face_b, side_b) = (np.divmod(shared[:, k], 3) for k in (0, 1))
    ends = []
    for k in range(2):
        ours = (side_a + k) % 3
        vertex = faces[face_a, ours]
        theirs = np.where(faces[face_b, side_b] == vertex, side_b, (side_b + 1) % 3)
        ends.append((corner[face_a, ours], corner[face_b, theirs]))
    joined = np.concatenate(ends, axis=1)
    graph = coo_array((np.ones(joined.shape[1]), (joined[0], joined[1])), shape=(3 * number, 3 * number))
    fans = connected_components(graph, directed=False)[0]
    return bool(fans == len(np.unique(faces)))


def stretched_share(rest: Tensor, posed: Tensor, faces: Tensor, factor: float) -> float:
    """Share of the faces that some pose (K,V,3) draws out to more than ``factor`` times some length at rest (V,3): the
    largest singular value of the deformation gradient."""
    strain = FaceStrain(rest.double().cpu().numpy(), faces.cpu().numpy())
    worst = np.stack([strain.largest_stretch(pose) for pose in posed.double().cpu().numpy()]).max(0)
    return float((worst > factor).mean())


def crumpled_share(rest: Tensor, posed: Tensor, faces: Tensor, factor: float) -> float:
    """Share of the faces that some pose (K,V,3) presses to less than a ``factor``-th of some length at rest (V,3): the
    smallest singular value of the deformation gradient."""
    strain = FaceStrain(rest.double().cpu().numpy(), faces.cpu().numpy())
    least = np.stack([strain.smallest_stretch(pose) for pose in posed.double().cpu().numpy()]).min(0)
    return float((least < 1 / factor).mean())


def torn_share(rest: Tensor, posed: Tensor, faces: Tensor, factor: float) -> float:
    """Share of the faces that some pose (K,V,3) stretches, as of `stretched_share`, or folds over."""
    strain = FaceStrain(rest.double().cpu().numpy(), faces.cpu().numpy())
    return float(np.stack([strain.torn(pose, factor) for pose in posed.double().cpu().numpy()]).any(0).mean())


def unseen_share(rest: Tensor, faces: Tensor, seen: Tensor) -> float:
    """Share of the surface (area at rest) whose faces no frame shows. seen: (F,) whether a face was seen."""
    area = face_normals(rest, faces, normalise=False).norm(dim=-1)
    return float(area[~seen].sum() / area.sum().clamp_min(1e-20))
