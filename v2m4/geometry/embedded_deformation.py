"""Embedded deformation: a mesh carried by a few nodes that rotate and move, solved by Gauss-Newton.

The nodes and the blending are those of Sumner, Schmid and Pauly, "Embedded deformation for shape manipulation" (2007);
the energy between neighbouring nodes is as-rigid-as-possible (Sorkine and Alexa 2007) with a plastic rest state:
a joint that has bent keeps part of its bend, so that it does not pull the limb back for the rest of the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from v2m4.arrays import Float64, Int64
from v2m4.geometry.embedded_deformation_numba import add_bending, add_point_to_plane, add_rigidity
from v2m4.geometry.mesh import unique_edges
from v2m4.settings import DeformationGraphSettings


@dataclass(frozen=True)
class DeformationGraph:
    """What carries a mesh. rest: (V,3). nodes: (N,3) rest positions. node_indices (V,K), skinning_weights (V,K): the
    nodes that carry each vertex, and how much. edges: (E,2) between nodes, the lower index first."""

    rest: Float64
    nodes: Float64
    node_indices: Int64
    skinning_weights: Float64
    edges: Int64


@dataclass
class Pose:
    """Where the nodes are: rotations (N,3,3) and positions (N,3)."""

    rotations: Float64
    positions: Float64


@dataclass
class RestState:
    """What edges return to. offsets: (E,2,3) each end seen from the other's frame. relative_rotations: (E,3,3) the
    second end's frame seen from the first's."""

    offsets: Float64
    relative_rotations: Float64


@dataclass(frozen=True)
class PointToPlane:
    """Constraints ``normal . surface point = distance``: a point of the surface should lie in a plane.

    corners, barycentrics: (P,3) the surface point. normals: (P,3), of any length. distances: (P,), zero for planes
    through the camera. weights: (P,) of the squared residuals.
    """

    corners: Int64
    barycentrics: Float64
    normals: Float64
    distances: Float64
    weights: Float64

    @staticmethod
    def none() -> PointToPlane:
        """No constraints."""
        return PointToPlane(np.zeros((0, 3), np.int64), *(np.zeros((0, 3)) for _ in "bn"), *(np.zeros(0) for _ in "dw"))

    @staticmethod
    def through_camera(corners: Int64, barycentrics: Float64, normals: Float64, weights: Float64) -> PointToPlane:
        """Planes through the origin of camera space, as pixels give them."""
        return PointToPlane(corners, barycentrics, normals, np.zeros(len(weights)), weights)

    @staticmethod
    def at_points(corners: Int64, barycentrics: Float64, targets: Float64, weights: Float64) -> PointToPlane:
        """Squared distances to points (P,3): three planes for each, across the axes."""
        return PointToPlane(
            np.tile(corners, (3, 1)),
            np.tile(barycentrics, (3, 1)),
            np.repeat(np.eye(3), len(targets), axis=0),
            targets.T.ravel(),  # (3P,) all x, then all y, then all z
            np.tile(weights, 3),
        )


@dataclass(frozen=True)
class Stiffness:
    """How strongly nodes hold together (rigidity) and turn together (bending), and how much one step's turns are
    damped. Bending and damping count in squared lengths of the graph's edges."""

    rigidity: float
    bending: float
    damping: float


@dataclass(frozen=True)
class PositionPrior:
    """Draws nodes to places, not equally in all directions. towards: (N,3). strength: (3,3), semi-definite."""

    towards: Float64
    strength: Float64


def build_graph(vertices: Float64, faces: Int64, count: int, settings: DeformationGraphSettings) -> DeformationGraph:
    """Spread at most ``count`` nodes evenly over the surface of (V,3), (F,3); separate parts are tied together."""
    links = geodesic_graph(vertices, faces, settings.bridges)
    outermost = int(np.argmax(np.linalg.norm(vertices - vertices.mean(0), axis=1)))
    chosen, distances = farthest_points(links, outermost, count)  # (N,), (V,N)
    # 1. Each vertex is carried by its nearest nodes along the surface.
    kept = min(settings.influences, len(chosen))
    node_indices = np.argpartition(distances, kept - 1, axis=1)[:, :kept]  # (V,K)
    near = np.take_along_axis(distances, node_indices, axis=1)
    reach = np.maximum(near.max(axis=1, keepdims=True), 1e-9)
    weights = np.exp(-((near / (settings.falloff * reach)) ** 2))
    weights /= weights.sum(axis=1, keepdims=True)
    # 2. Each node is tied to the nodes nearest to it.
    between = distances[chosen]  # (N,N)
    pairs = {
        (min(i, int(j)), max(i, int(j)))
        for i in range(len(chosen))
        for j in np.argsort(between[i], kind="stable")[1 : settings.neighbours + 1]
    }
    edges = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return DeformationGraph(vertices, vertices[chosen].copy(), node_indices.astype(np.int64), weights, edges)


def farthest_points(links: csr_matrix, first: int, count: int) -> tuple[Int64, Float64]:
    """Farthest-point sampling along a surface: at most ``count`` vertices (N,), and (V,N) distances to each.

    links: as from `geodesic_graph`.
    """
    chosen, distances = [first], [dijkstra(links, indices=first)]
    nearest = distances[0].copy()
    while len(chosen) < min(count, links.shape[0]):
        chosen.append(int(np.argmax(nearest)))
        distances.append(dijkstra(links, indices=chosen[-1]))
        nearest = np.minimum(nearest, distances[-1])
    return np.array(chosen), np.stack(distances, axis=1)


def geodesic_graph(vertices: Float64, faces: Int64, bridges: int) -> csr_matrix:
    """(V,V) edge lengths of the mesh, whose shortest paths approximate geodesics.

    Each separate part is linked to others at the ``bridges`` places where it comes nearest to them, until all hang
    together.
    """
    edges = unique_edges(torch.from_numpy(faces)).numpy()
    size = (len(vertices), len(vertices))
    while True:
        parts, labels = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=size))
        if parts <= 1:
            break
        links = [edges]
        for part in range(parts):
            inside, outside = np.flatnonzero(labels == part), np.flatnonzero(labels != part)
            gaps, ends = cKDTree(vertices[outside]).query(vertices[inside])
            closest = np.argsort(gaps, kind="stable")[:bridges]
            links.append(np.stack([inside[closest], outside[ends[closest]]], axis=1))
        edges = np.unique(np.sort(np.concatenate(links), axis=1), axis=0)
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) + 1e-9
    half = coo_matrix((lengths, edges.T), shape=size).tocsr()
    return half + half.T


def rest_pose(graph: DeformationGraph) -> Pose:
    """The pose that leaves the mesh as it is."""
    return Pose(np.tile(np.eye(3), (len(graph.nodes), 1, 1)), graph.nodes.copy())


def rest_state(graph: DeformationGraph) -> RestState:
    """The state in which the mesh was built."""
    first, second = graph.nodes[graph.edges[:, 0]], graph.nodes[graph.edges[:, 1]]
    return RestState(np.stack([second - first, first - second], axis=1), np.tile(np.eye(3), (len(graph.edges), 1, 1)))


def deform(graph: DeformationGraph, pose: Pose) -> Float64:
    """(V,3) vertices carried by the posed nodes (linear blend skinning)."""
    local = graph.rest[:, None] - graph.nodes[graph.node_indices]  # (V,K,3)
    turned = np.einsum("vkab,vkb->vka", pose.rotations[graph.node_indices], local)
    return np.einsum("vk,vkc->vc", graph.skinning_weights, turned + pose.positions[graph.node_indices])


def relax_rest_state(graph: DeformationGraph, pose: Pose, tolerance: float) -> RestState:
    """The rest state after ``pose`` (plasticity): edges that changed by more than ``tolerance`` of their length, as
    seen from either end, take over most of the change; others return."""
    first, second = graph.edges[:, 0], graph.edges[:, 1]
    start = rest_state(graph)
    apart = pose.positions[second] - pose.positions[first]
    offsets = np.stack(
        [
            np.einsum("eba,eb->ea", pose.rotations[first], apart),
            np.einsum("eba,eb->ea", pose.rotations[second], -apart),
        ],
        axis=1,
    )  # (E,2,3)
    length = np.linalg.norm(start.offsets[:, 0], axis=1)
    change = np.linalg.norm(offsets - start.offsets, axis=2).max(axis=1) / length
    kept = change**2 / (change**2 + tolerance**2)  # (E,) share of the change
    turns = Rotation.from_matrix(np.einsum("eba,ebc->eac", pose.rotations[first], pose.rotations[second]))
    relative = Rotation.from_rotvec(kept[:, None] * turns.as_rotvec()).as_matrix()
    return RestState(start.offsets + kept[:, None, None] * (offsets - start.offsets), relative)


def equalised_weights(graph: DeformationGraph, planes: PointToPlane, strength: float, floor: float) -> Float64:
    """(P,) weights under which nodes get constraints in more equal measure, however many pixels their surface covers.

    A thin limb has few pixels; summed as they come, they would drown in the trunk's. strength: 0 leaves the weights'
    proportions, 1 gives every node the same. floor: of a typical node's weight; less than this is not raised further.
    The new weights add up to the number of nodes.
    """
    count = len(graph.nodes)
    carriers = graph.node_indices[planes.corners]  # (P,3,K)
    shares = planes.barycentrics[..., None] * graph.skinning_weights[planes.corners]  # (P,3,K)
    received = np.bincount(carriers.ravel(), (shares * planes.weights[:, None, None]).ravel(), count)  # (N,)
    typical = received.sum() / count
    if typical == 0:
        return planes.weights
    gain = (received + floor * typical) ** -strength
    weights = planes.weights * (shares * gain[carriers]).sum((1, 2))
    return weights * (count / max(weights.sum(), 1e-9))


def solve(
    graph: DeformationGraph,
    pose: Pose,
    rest: RestState,
    priors: Sequence[PositionPrior],
    planes: PointToPlane,
    stiffness: Stiffness,
    robust: float,
) -> Pose:
    """One Gauss-Newton step from ``pose``: meet the planes, hold nodes together as ``rest`` says, follow the priors.

    robust: distance beyond which a plane is distrusted (Geman-McClure); infinite trusts all.
    """
    count = len(graph.nodes)
    matrix, gradient = np.zeros((6 * count, 6 * count)), np.zeros(6 * count)
    # 1. The constraints on the surface.
    add_point_to_plane(
        planes.corners,
        planes.barycentrics,
        planes.normals,
        planes.distances,
        planes.weights,
        graph.node_indices,
        graph.skinning_weights,
        graph.rest,
        graph.nodes,
        pose.rotations,
        pose.positions,
        min(robust, 1e150),  # the kernel knows no infinity, but squares this
        matrix,
        gradient,
    )
    # 2. The energies of the edges.
    square = float(np.linalg.norm(rest.offsets[:, 0], axis=1).mean() ** 2) if len(graph.edges) else 1.0
    add_rigidity(graph.edges, stiffness.rigidity, rest.offsets, pose.rotations, pose.positions, matrix, gradient)
    add_bending(graph.edges, stiffness.bending * square, rest.relative_rotations, pose.rotations, matrix, gradient)
    # 3. Damping of turns, and the priors of positions.
    index = 6 * np.arange(count)
    for axis in range(3):
        matrix[index + axis, index + axis] += stiffness.damping * square
    for prior in priors:
        force = (pose.positions - prior.towards) @ prior.strength
        for a in range(3):
            gradient[index + 3 + a] += force[:, a]
            for b in range(3):
                matrix[index + 3 + a, index + 3 + b] += prior.strength[a, b]
    # 4. Only near nodes share surface, so the matrix is mostly empty; symmetric minimum degree keeps the factor so too.
    factor = splu(_sparse(matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    step = -factor.solve(gradient).reshape(count, 6)  # (N,6) a turn and a move each
    turns = Rotation.from_rotvec(step[:, :3]).as_matrix()
    return Pose(turns @ pose.rotations, pose.positions + step[:, 3:])


def _sparse(matrix: Float64) -> csc_matrix:
    """A symmetric matrix that is mostly zeros; a third of the time that `csc_matrix` takes to find the others."""
    filled = matrix != 0
    places = np.flatnonzero(filled)  # row by row, which are the columns
    ends = np.concatenate([[0], np.cumsum(np.count_nonzero(filled, axis=1))])
    return csc_matrix((matrix.ravel()[places], places % len(matrix), ends), shape=matrix.shape)
