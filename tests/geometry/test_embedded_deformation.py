"""Embedded deformation: graphs, energies and their gradients, and a bend found from planes through the camera."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from v2m4.geometry.embedded_deformation import (
    DeformationGraph,
    PointToPlane,
    Pose,
    PositionPrior,
    Stiffness,
    build_graph,
    deform,
    equalised_weights,
    farthest_points,
    geodesic_graph,
    relax_rest_state,
    rest_pose,
    rest_state,
    solve,
)
from v2m4.geometry.embedded_deformation_numba import add_bending, add_point_to_plane, add_rigidity
from v2m4.settings import DeformationGraphSettings

GRAPH = DeformationGraphSettings()
Array = np.ndarray


def tube(rings: int = 16, sides: int = 10, length: float = 1.0, radius: float = 0.1) -> tuple[Array, Array]:
    """A closed tube along x before the camera."""
    x = np.linspace(-length / 2, length / 2, rings)
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius
    body = np.concatenate([np.column_stack([np.full(sides, at), ring]) for at in x])
    vertices = np.concatenate([body, [[x[0], 0, 0], [x[-1], 0, 0]]]) + np.array([0, 0, 3])
    faces = []
    for r in range(rings - 1):
        for s in range(sides):
            a, b = r * sides + s, r * sides + (s + 1) % sides
            faces += [[a, a + sides, b], [b, a + sides, b + sides]]
    for s in range(sides):
        last = (rings - 1) * sides
        faces += [[s, (s + 1) % sides, len(body)], [last + (s + 1) % sides, last + s, len(body) + 1]]
    return vertices, np.array(faces)


def bent(vertices: Array, angle: float) -> Array:
    """The half of the tube with x > 0 turned about the view axis, with a smooth joint."""
    share = 1 / (1 + np.exp(-vertices[:, 0] / 0.03))
    turn = Rotation.from_rotvec(np.outer(share * angle, [0, 0, 1]))
    centre = np.array([0.0, 0.0, 3.0])
    return np.asarray(turn.apply(vertices - centre) + centre)


@pytest.fixture(scope="module")
def graph() -> DeformationGraph:
    return build_graph(*tube(), 24, GRAPH)


def random_pose(graph: DeformationGraph, seed: int, size: float) -> Pose:
    rng = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(size * rng.standard_normal((len(graph.nodes), 3))).as_matrix()
    return Pose(turns, graph.nodes + size * rng.standard_normal(graph.nodes.shape))


def moved(pose: Pose, step: Array) -> Pose:
    step = step.reshape(-1, 6)
    return Pose(Rotation.from_rotvec(step[:, :3]).as_matrix() @ pose.rotations, pose.positions + step[:, 3:])


def numeric_gradient(energy, pose: Pose, size: float = 1e-5) -> Array:
    """Central differences over every node's turn and move."""
    count = 6 * len(pose.positions)
    each = np.eye(count) * size
    return np.array([(energy(moved(pose, e)) - energy(moved(pose, -e))) / (2 * size) for e in each])


def empty(graph: DeformationGraph) -> tuple[Array, Array]:
    count = 6 * len(graph.nodes)
    return np.zeros((count, count)), np.zeros(count)


def test_the_rest_pose_leaves_the_mesh_as_it_is(graph: DeformationGraph) -> None:
    np.testing.assert_allclose(deform(graph, rest_pose(graph)), graph.rest, atol=1e-12)
    np.testing.assert_allclose(graph.skinning_weights.sum(axis=1), 1)


def test_edges_are_distinct_and_join_separate_parts() -> None:
    vertices, faces = tube()
    both = np.concatenate([vertices, vertices + np.array([0, 0.25, 0])])
    two = build_graph(both, np.concatenate([faces, faces + len(vertices)]), 20, GRAPH)
    assert (two.edges[:, 0] < two.edges[:, 1]).all()
    assert len(np.unique(two.edges, axis=0)) == len(two.edges)
    links = coo_matrix((np.ones(len(two.edges)), two.edges.T), shape=(20, 20))
    assert connected_components(links, directed=False)[0] == 1


def test_nodes_are_spread_evenly(graph: DeformationGraph) -> None:
    gaps = np.linalg.norm(graph.rest[:, None] - graph.nodes[None], axis=2).min(axis=1)
    assert gaps.max() < 0.2


def test_a_mesh_with_fewer_vertices_than_nodes_uses_them_all() -> None:
    vertices = np.array([[0.0, 0, 3], [1, 0, 3], [0, 1, 3], [0, 0, 4]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    small = build_graph(vertices, faces, 50, GRAPH)
    assert len(small.nodes) == 4
    np.testing.assert_allclose(deform(small, rest_pose(small)), vertices, atol=1e-12)


def test_four_parts_in_two_pairs_hang_together() -> None:
    """Each part's nearest neighbour is the other of its pair, so one round of bridges leaves two halves."""
    vertices, faces = tube(4, 4)
    shifts = [np.array([0, y, 0]) for y in (0.0, 0.25, 5.0, 5.25)]
    parts = [faces + i * len(vertices) for i in range(4)]
    at = np.concatenate([vertices + shift for shift in shifts])
    links = geodesic_graph(at, np.concatenate(parts), bridges=2)
    assert connected_components(links, directed=False)[0] == 1
    graph = build_graph(at, np.concatenate(parts), 8, replace(GRAPH, bridges=2))
    assert np.isfinite(graph.skinning_weights).all()


def test_distances_along_the_surface_are_at_least_those_through_space() -> None:
    vertices, faces = tube()
    chosen, distances = farthest_points(geodesic_graph(vertices, faces, 12), 0, 6)
    assert len(set(chosen.tolist())) == 6
    through = np.linalg.norm(vertices[:, None] - vertices[chosen], axis=2)
    assert (distances >= through - 1e-9).all()
    np.testing.assert_allclose(distances[chosen], distances[chosen].T, atol=1e-9)
    # Farthest first: no vertex is further from all points than the last of them was from those before it.
    assert distances.min(axis=1).max() <= distances[chosen[-1], :-1].min() + 1e-9


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_rigid_motion_carries_the_mesh_rigidly_and_costs_nothing(seed: int) -> None:
    graph = build_graph(*tube(8, 6), 10, GRAPH)
    rng = np.random.default_rng(seed)
    turn, shift = Rotation.from_rotvec(rng.standard_normal(3)).as_matrix(), rng.standard_normal(3)
    pose = Pose(np.tile(turn, (10, 1, 1)), graph.nodes @ turn.T + shift)
    np.testing.assert_allclose(deform(graph, pose), graph.rest @ turn.T + shift, atol=1e-9)
    rest = rest_state(graph)
    matrix, gradient = empty(graph)
    add_rigidity(graph.edges, 1.0, rest.offsets, pose.rotations, pose.positions, matrix, gradient)
    add_bending(graph.edges, 1.0, rest.relative_rotations, pose.rotations, matrix, gradient)
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


@pytest.mark.parametrize("robust", [0.05, 1e6])
def test_the_gradient_of_the_planes_is_that_of_their_energy(graph: DeformationGraph, robust: float) -> None:
    rng = np.random.default_rng(1)
    corners = rng.integers(0, len(graph.rest), (30, 3))
    barycentrics, weights = rng.dirichlet([1.0, 1.0, 1.0], 30), rng.random(30)
    normals, distances = rng.standard_normal((30, 3)) * 0.1, rng.standard_normal(30) * 0.1
    pose = random_pose(graph, 2, 0.1)

    def energy(at: Pose) -> float:
        points = (barycentrics[..., None] * deform(graph, at)[corners]).sum(1)
        squared = ((points * normals).sum(1) - distances) ** 2
        return float(0.5 * (weights * squared / (1 + squared / robust**2)).sum())

    matrix, gradient = empty(graph)
    carried = (graph.node_indices, graph.skinning_weights, graph.rest, graph.nodes, pose.rotations, pose.positions)
    add_point_to_plane(corners, barycentrics, normals, distances, weights, *carried, robust, matrix, gradient)
    np.testing.assert_allclose(gradient, numeric_gradient(energy, pose), atol=1e-7)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_the_gradient_of_rigidity_is_that_of_its_energy(graph: DeformationGraph) -> None:
    pose, rest = random_pose(graph, 3, 0.3), rest_state(graph)
    first, second = graph.edges.T

    def energy(at: Pose) -> float:
        total = 0.0
        for k, j, offsets in ((first, second, rest.offsets[:, 0]), (second, first, rest.offsets[:, 1])):
            off = np.einsum("eab,eb->ea", at.rotations[k], offsets) + at.positions[k] - at.positions[j]
            total += 0.5 * 0.7 * float((off**2).sum())
        return total

    matrix, gradient = empty(graph)
    add_rigidity(graph.edges, 0.7, rest.offsets, pose.rotations, pose.positions, matrix, gradient)
    np.testing.assert_allclose(gradient, numeric_gradient(energy, pose), atol=1e-7)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > -1e-9


def test_the_gradient_of_bending_is_that_of_the_squared_angle(graph: DeformationGraph) -> None:
    pose = random_pose(graph, 4, 0.3)
    bends = Rotation.from_rotvec(0.2 * np.random.default_rng(5).standard_normal((len(graph.edges), 3))).as_matrix()
    first, second = graph.edges.T

    def energy(at: Pose) -> float:
        off = at.rotations[second] @ (at.rotations[first] @ bends).transpose(0, 2, 1)
        return float(0.5 * 0.7 * (Rotation.from_matrix(off).magnitude() ** 2).sum())

    matrix, gradient = empty(graph)
    add_bending(graph.edges, 0.7, bends, pose.rotations, matrix, gradient)
    np.testing.assert_allclose(gradient, numeric_gradient(energy, pose), atol=1e-6)


def planes_to(points: Array) -> PointToPlane:
    """Every vertex is to be seen where ``points`` are."""
    count = len(points)
    ray = points / points[:, 2:]
    one, zero = np.ones(count), np.zeros(count)
    normals = np.concatenate([np.stack([one, zero, -ray[:, 0]], 1), np.stack([zero, one, -ray[:, 1]], 1)])
    corners = np.tile(np.arange(count)[:, None], (2, 3))
    return PointToPlane.through_camera(corners, np.tile([1.0, 0.0, 0.0], (2 * count, 1)), normals, np.ones(2 * count))


@pytest.mark.parametrize("angle", [-1.0, 0.4])
def test_a_bend_across_the_view_is_found(graph: DeformationGraph, angle: float) -> None:
    target = bent(graph.rest, angle)
    pose, rest = rest_pose(graph), rest_state(graph)
    priors = [PositionPrior(graph.nodes, np.diag([0.0, 0.0, 0.1]))]
    for _ in range(20):
        planes = planes_to(target)
        planes = replace(planes, weights=equalised_weights(graph, planes, 0.3, 0.1))
        pose = solve(graph, pose, rest, priors, planes, Stiffness(0.05, 0.05, 0.02), 1.0)
    off = np.linalg.norm(deform(graph, pose) - target, axis=1).mean()
    assert off < 0.1 * np.linalg.norm(graph.rest - target, axis=1).mean()


def test_points_in_space_are_reached_exactly_by_a_rigid_motion(graph: DeformationGraph) -> None:
    turn, shift = Rotation.from_rotvec([0.2, -0.3, 0.4]).as_matrix(), np.array([0.3, -0.1, 0.2])
    target = (graph.rest - graph.rest.mean(0)) @ turn.T + graph.rest.mean(0) + shift
    corners = np.repeat(np.arange(len(target))[:, None], 3, axis=1)
    points = PointToPlane.at_points(corners, np.tile([1.0, 0, 0], (len(target), 1)), target, np.ones(len(target)))
    pose = rest_pose(graph)
    for _ in range(15):
        pose = solve(graph, pose, rest_state(graph), [], points, Stiffness(1.0, 0.0, 1e-4), np.inf)
    np.testing.assert_allclose(deform(graph, pose), target, atol=1e-6)


def test_points_in_space_cost_their_squared_distance(graph: DeformationGraph) -> None:
    rng = np.random.default_rng(7)
    corners, barycentrics = rng.integers(0, len(graph.rest), (9, 3)), rng.dirichlet([1.0, 1.0, 1.0], 9)
    targets, weights = rng.standard_normal((9, 3)), rng.random(9)
    planes = PointToPlane.at_points(corners, barycentrics, targets, weights)
    points = (planes.barycentrics[..., None] * graph.rest[planes.corners]).sum(1)
    residuals = (points * planes.normals).sum(1) - planes.distances
    found = (barycentrics[..., None] * graph.rest[corners]).sum(1)
    wanted = (weights * np.square(found - targets).sum(1)).sum()
    assert (planes.weights * residuals**2).sum() == pytest.approx(wanted)


def test_without_planes_a_step_only_follows_the_prior(graph: DeformationGraph) -> None:
    priors = [PositionPrior(graph.nodes + np.array([0.1, -0.2, 0.3]), np.eye(3))]
    pose = solve(
        graph, rest_pose(graph), rest_state(graph), priors, PointToPlane.none(), Stiffness(1.0, 1.0, 0.02), 1.0
    )
    np.testing.assert_allclose(deform(graph, pose), graph.rest + np.array([0.1, -0.2, 0.3]), atol=1e-6)


def test_a_prior_acts_only_along_its_strength(graph: DeformationGraph) -> None:
    normal = np.array([0.6, 0.0, 0.8])
    priors = [PositionPrior(graph.nodes + 0.1, np.outer(normal, normal)), PositionPrior(graph.nodes, 1e-6 * np.eye(3))]
    pose = solve(
        graph, rest_pose(graph), rest_state(graph), priors, PointToPlane.none(), Stiffness(1.0, 1.0, 0.02), 1.0
    )
    shift = (deform(graph, pose) - graph.rest).mean(axis=0)
    np.testing.assert_allclose(shift, normal * (0.1 * normal.sum()), atol=1e-4)


def test_thin_parts_get_their_say() -> None:
    """A hundred planes on one end and one on the other: equalising gives the one more than its hundredth."""
    vertices, faces = tube()
    graph = build_graph(vertices, faces, 24, GRAPH)
    many, one = int(vertices[:, 0].argmin()), int(vertices[:, 0].argmax())
    corners = np.array([[many] * 3] * 100 + [[one] * 3])
    one_hot = np.tile([1.0, 0, 0], (101, 1))
    planes = PointToPlane.through_camera(corners, one_hot, one_hot, np.ones(101))
    weights = equalised_weights(graph, planes, 0.3, 0.1)
    assert weights.sum() == pytest.approx(24)
    assert weights[100] > 1.5 * weights[0]
    unchanged = equalised_weights(graph, planes, 0.0, 0.1)
    np.testing.assert_allclose(unchanged, 24 / 101)


def test_the_rest_state_stays_for_small_changes_and_follows_large_ones(graph: DeformationGraph) -> None:
    start = rest_state(graph)
    same = relax_rest_state(graph, rest_pose(graph), 0.1)
    np.testing.assert_allclose(same.offsets, start.offsets, atol=1e-12)
    np.testing.assert_allclose(same.relative_rotations, start.relative_rotations, atol=1e-12)
    pose = random_pose(graph, 6, 0.5)
    followed = relax_rest_state(graph, pose, 1e-6)
    matrix, gradient = empty(graph)
    add_rigidity(graph.edges, 1.0, followed.offsets, pose.rotations, pose.positions, matrix, gradient)
    add_bending(graph.edges, 1.0, followed.relative_rotations, pose.rotations, matrix, gradient)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)
