"""Embedded deformation: a mesh carried by a few nodes that rotate and move, solved by Gauss-Newton.

The nodes and the blending are those of Sumner, Schmid and Pauly, "Embedded deformation for shape manipulation" (2007);
the energy between neighbouring nodes is as-rigid-as-possible (Sorkine and Alexa, 2007) with a rest state that yields:
a joint that has bent keeps part of its bend, so that it does not pull the limb back for the rest of the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from v2m4.geometry.deformation_numba import add_bending, add_planes, add_rigidity

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_INFLUENCES = 4  # nodes that carry each vertex
_NEIGHBOURS = 6  # nodes each node is tied to
_BRIDGES = 4  # ties from each separate part to its surroundings
_BALANCE = 0.3  # 0: every pixel counts alike; 1: every node hears alike
_QUIET = 0.1  # of a typical node's evidence: less than this is not made louder
_STILL = 0.02  # damping of turns


@dataclass(frozen=True)
class Graph:
    """The nodes of a mesh. rest: (V,3). nodes: (N,3) rest positions. carriers, weights: (V,4). edges: (E,2)."""

    rest: Floats
    nodes: Floats
    carriers: Ints
    weights: Floats
    edges: Ints


@dataclass
class Pose:
    """Where the nodes are: rotations (N,3,3) and positions (N,3)."""

    rotations: Floats
    positions: Floats

    def copy(self) -> Pose:
        """An independent copy."""
        return Pose(self.rotations.copy(), self.positions.copy())


@dataclass
class Rest:
    """What edges return to. offsets: (E,2,3) each end seen from the other's frame. bends: (E,3,3) relative turns."""

    offsets: Floats
    bends: Floats


@dataclass(frozen=True)
class Planes:
    """Conditions ``normal . surface point = 0``: a point of the surface should lie in a plane through the camera.

    corners, barycentrics: (P,3) the surface point. normals: (P,3). weights: (P,).
    """

    corners: Ints
    barycentrics: Floats
    normals: Floats
    weights: Floats


@dataclass(frozen=True)
class Stiffness:
    """How strongly nodes hold together and turn together."""

    rigidity: float
    bending: float


@dataclass(frozen=True)
class Pull:
    """Draws nodes to places, not equally in all directions. towards: (N,3). strength: (3,3), semi-definite."""

    towards: Floats
    strength: Floats


def build_graph(vertices: Floats, faces: Ints, count: int) -> Graph:
    """Spread at most ``count`` nodes evenly over the surface of (V,3), (F,3); separate parts are tied together."""
    links = _linked(vertices, faces)
    count = min(count, len(vertices))
    chosen = [int(np.argmax(np.linalg.norm(vertices - vertices.mean(0), axis=1)))]
    distances = [dijkstra(links, indices=chosen[0])]
    nearest = distances[0].copy()
    while len(chosen) < count:
        chosen.append(int(np.argmax(nearest)))
        distances.append(dijkstra(links, indices=chosen[-1]))
        nearest = np.minimum(nearest, distances[-1])
    table = np.stack(distances, axis=1)
    kept = min(_INFLUENCES, count)
    carriers = np.argpartition(table, kept - 1, axis=1)[:, :kept]
    near = np.take_along_axis(table, carriers, axis=1)
    reach = np.maximum(near.max(axis=1, keepdims=True), 1e-9)
    weights = np.exp(-((near / (0.6 * reach)) ** 2))
    weights /= weights.sum(axis=1, keepdims=True)
    between = table[chosen]
    pairs = {
        (min(i, int(j)), max(i, int(j)))
        for i in range(count)
        for j in np.argsort(between[i], kind="stable")[1 : _NEIGHBOURS + 1]
    }
    edges = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return Graph(vertices, vertices[chosen].copy(), carriers.astype(np.int64), weights, edges)


def _linked(vertices: Floats, faces: Ints) -> csr_matrix:
    """(V,V) edge lengths of the mesh, and of bridges from each separate part to the nearest vertices of others."""
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    size = (len(vertices), len(vertices))
    parts, labels = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=size))
    bridges = []
    for part in range(parts if parts > 1 else 0):
        inside, outside = np.flatnonzero(labels == part), np.flatnonzero(labels != part)
        gaps, ends = cKDTree(vertices[outside]).query(vertices[inside])
        closest = np.argsort(gaps, kind="stable")[: 3 * _BRIDGES]
        bridges.append(np.stack([inside[closest], outside[ends[closest]]], axis=1))
    if bridges:
        edges = np.unique(np.sort(np.concatenate([edges, *bridges]), axis=1), axis=0)
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) + 1e-9
    half = coo_matrix((lengths, edges.T), shape=size).tocsr()
    return half + half.T


def rest_pose(graph: Graph) -> Pose:
    """The pose that leaves the mesh as it is."""
    return Pose(np.tile(np.eye(3), (len(graph.nodes), 1, 1)), graph.nodes.copy())


def rest_state(graph: Graph) -> Rest:
    """The state in which the mesh was built."""
    first, second = graph.nodes[graph.edges[:, 0]], graph.nodes[graph.edges[:, 1]]
    return Rest(np.stack([second - first, first - second], axis=1), np.tile(np.eye(3), (len(graph.edges), 1, 1)))


def deform(graph: Graph, pose: Pose) -> Floats:
    """(V,3) vertices carried by the posed nodes."""
    local = graph.rest[:, None] - graph.nodes[graph.carriers]
    moved = np.einsum("vkab,vkb->vka", pose.rotations[graph.carriers], local) + pose.positions[graph.carriers]
    return np.einsum("vk,vkc->vc", graph.weights, moved)


def yield_to(graph: Graph, pose: Pose, tolerance: float) -> Rest:
    """The rest state after ``pose``: edges that changed by more than ``tolerance`` of their length keep it."""
    first, second = graph.edges[:, 0], graph.edges[:, 1]
    start = rest_state(graph)
    apart = pose.positions[second] - pose.positions[first]
    offsets = np.stack(
        [
            np.einsum("eba,eb->ea", pose.rotations[first], apart),
            np.einsum("eba,eb->ea", pose.rotations[second], -apart),
        ],
        axis=1,
    )
    length = np.linalg.norm(start.offsets[:, 0], axis=1)
    change = np.linalg.norm(offsets - start.offsets, axis=2).max(axis=1) / length
    share = change**2 / (change**2 + tolerance**2)
    turns = Rotation.from_matrix(np.einsum("eba,ebc->eac", pose.rotations[first], pose.rotations[second]))
    bends = Rotation.from_rotvec(share[:, None] * turns.as_rotvec()).as_matrix()
    return Rest(start.offsets + share[:, None, None] * (offsets - start.offsets), bends)


def balanced(graph: Graph, planes: Planes) -> Floats:
    """(P,) weights that let each node hear its own planes about equally, however many pixels its surface covers.

    Their sum is the number of nodes times the share of nodes that hear anything. A thin limb has few pixels; summed
    as they come, they would drown in the trunk's.
    """
    count = len(graph.nodes)
    carriers = graph.carriers[planes.corners]
    shares = planes.barycentrics[..., None] * graph.weights[planes.corners]
    heard = np.bincount(carriers.ravel(), (shares * planes.weights[:, None, None]).ravel(), count)
    typical = heard.sum() / count
    if typical == 0:
        return planes.weights
    loud = (heard + _QUIET * typical) ** -_BALANCE
    weights = planes.weights * (shares * loud[carriers]).sum((1, 2))
    return weights * (count / max(weights.sum(), 1e-9))


def solve(
    graph: Graph, pose: Pose, rest: Rest, pulls: Sequence[Pull], planes: Planes, stiffness: Stiffness, robust: float
) -> Pose:
    """One Gauss-Newton step from ``pose``: fit the planes, hold nodes together as ``rest`` says, follow the ``pulls``.

    robust: distance beyond which a plane is distrusted (Geman-McClure). The weights of all planes together count as
    much as one per node.
    """
    count = len(graph.nodes)
    matrix, gradient = np.zeros((6 * count, 6 * count)), np.zeros(6 * count)
    add_planes(
        planes.corners,
        planes.barycentrics,
        planes.normals,
        balanced(graph, planes),
        graph.carriers,
        graph.weights,
        graph.rest,
        graph.nodes,
        pose.rotations,
        pose.positions,
        robust,
        matrix,
        gradient,
    )
    scale = float(np.linalg.norm(rest.offsets[:, 0], axis=1).mean() ** 2) if len(graph.edges) else 1.0
    add_rigidity(graph.edges, stiffness.rigidity, rest.offsets, pose.rotations, pose.positions, matrix, gradient)
    add_bending(graph.edges, stiffness.bending * scale, rest.bends, pose.rotations, matrix, gradient)
    index = 6 * np.arange(count)
    for axis in range(3):
        matrix[index + axis, index + axis] += _STILL * scale
    for pull in pulls:
        force = (pose.positions - pull.towards) @ pull.strength
        for a in range(3):
            gradient[index + 3 + a] += force[:, a]
            for b in range(3):
                matrix[index + 3 + a, index + 3 + b] += pull.strength[a, b]
    # Only near nodes share surface, so the matrix is mostly empty; symmetric minimum degree keeps the factor so too.
    factor = splu(
        csc_matrix(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    step = -factor.solve(gradient).reshape(count, 6)
    turns = Rotation.from_rotvec(step[:, :3]).as_matrix()
    return Pose(turns @ pose.rotations, pose.positions + step[:, 3:])
