"""The distances forgive pose and size, but not shape and motion."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toys import ball, poses
from v2m4.errors import V2M4Error
from v2m4.evaluation.actionbench import chamfer, compare_motion, compare_surfaces, motion_chamfer, normal_consistency
from v2m4.evaluation.alignment import Alignment, iterative_closest_points
from v2m4.evaluation.surfaces import MovingMesh, SeparateMeshes, SurfacePoints, TrackedPoints

POINTS = 1200


def rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def lopsided(count: int) -> np.ndarray:
    """Points of a shape without any symmetry."""
    mesh = ball()
    v = mesh.vertices.numpy().astype(float) * [1.0, 0.6, 0.4]
    v[:, 0] += 0.5 * v[:, 1] ** 2 + 0.8 * np.maximum(v[:, 2], 0)
    v[v[:, 1] > 0.3] *= 1.7
    rng = np.random.default_rng(0)
    return SurfacePoints.draw(v, mesh.faces.numpy(), count, rng).on(v, mesh.faces.numpy())


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 100))
def test_alignment_finds_any_similarity(seed, size):
    cloud = lopsided(800)
    turn, shift = rotation(seed), np.random.default_rng(seed).normal(size=3) * size
    found = iterative_closest_points(
        cloud, size * cloud @ turn.T + shift, per_axis=False, rng=np.random.default_rng(1), count=800
    )
    np.testing.assert_allclose(found.rotation, turn, atol=1e-3)
    assert found.scale == pytest.approx(size, rel=1e-3)


def test_alignment_with_a_scale_per_axis():
    cloud = lopsided(800)
    target = (cloud * [1.0, 1.3, 0.8]) @ rotation(3).T
    rng = np.random.default_rng(1)
    loose = iterative_closest_points(cloud, target, per_axis=True, rng=rng, count=800)
    stiff = iterative_closest_points(cloud, target, per_axis=False, rng=rng, count=800)
    assert np.abs(loose(cloud) - target).max() < 0.02 < np.abs(stiff(cloud) - target).max()


def test_surface_points_are_spread_by_area_and_stick():
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [3, 1, 0]])
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    drawn = SurfacePoints.draw(vertices * [[1], [1], [1], [1]], faces, 20_000, np.random.default_rng(0))
    points = drawn.on(vertices, faces)
    assert points.mean(0) == pytest.approx([1.5, 0.5, 0], abs=0.03)
    np.testing.assert_allclose(drawn.on(vertices + 5, faces), points + 5)


def test_a_surface_without_area_is_refused():
    with pytest.raises(V2M4Error, match="no measurable surface"):
        SurfacePoints.draw(np.zeros((3, 3)), np.array([[0, 1, 2]]), 10, np.random.default_rng(0))


def test_chamfer_by_hand():
    a, b = np.zeros((1, 3)), np.array([[3.0, 0, 0], [0, 4.0, 0]])
    assert chamfer(a, b, np.random.default_rng(0)) == pytest.approx(3 + 3.5)


def test_motion_chamfer_follows_points():
    """Two points that swap places look the same in every frame, but have moved."""
    start, swapped = np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([[1.0, 0, 0], [0, 0, 0]])
    assert motion_chamfer([start, start], [start, swapped]) == pytest.approx(0.5 + 0.5)


def sphere_cloud(count: int, radius: float, seed: int) -> np.ndarray:
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    return radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_chamfer_of_two_spheres_about_one_centre():
    """Every point of one is |R - r| from the other surface: twice that, and little more for finite clouds."""
    inner, outer = sphere_cloud(20_000, 1.0, 0), sphere_cloud(20_000, 1.4, 1)
    assert chamfer(inner, outer, np.random.default_rng(0)) == pytest.approx(0.8, rel=0.01)


def test_normals_of_planes_at_an_angle_agree_by_its_cosine():
    flat = np.random.default_rng(0).uniform(-1, 1, (500, 3)) * [1, 1, 0]
    up, tilted = np.tile([0.0, 0, 1], (500, 1)), np.tile([0.0, math.sin(1), math.cos(1)], (500, 1))
    assert normal_consistency(flat, up, flat, up) == pytest.approx(1)
    assert normal_consistency(flat, up, flat, -tilted) == pytest.approx(math.cos(1))


def test_normals_follow_a_stretch_as_its_surface_does():
    """The normal of a plane through mapped points is the mapped normal."""
    alignment = Alignment(rotation(2), np.array([1.0, 3.0, 0.5]), np.array([1.0, 2, 3]))
    corners = np.random.default_rng(0).normal(size=(3, 3))
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    turned = alignment.turn_normals((normal / np.linalg.norm(normal))[None])[0]
    a, b, c = alignment(corners)
    assert [turned @ (b - a), turned @ (c - a), np.linalg.norm(turned)] == pytest.approx([0, 0, 1], abs=1e-12)


def test_points_and_separate_meshes_are_compared_as_far_as_they_can_be(monkeypatch):
    """Tracked points of the truth score as the mesh they lie on; meshes without common points have no CD-M."""
    still = Alignment(np.eye(3), np.ones(3), np.zeros(3))
    monkeypatch.setattr("v2m4.evaluation.actionbench.iterative_closest_points", lambda *_, **__: still)
    vertices = np.stack([lopsided(300) + 0.1 * k for k in range(3)])
    faces = np.random.default_rng(0).integers(0, 300, (400, 3))
    mesh = MovingMesh(vertices, faces)
    clouds = mesh.follow(2000, np.random.default_rng(7))
    points = TrackedPoints(np.stack([c.points for c in clouds]), np.stack([c.normals for c in clouds]))
    by_points = compare_surfaces(mesh, points, points=2000)
    by_mesh = compare_surfaces(mesh, mesh, points=2000)
    assert by_points.cd_4d == pytest.approx(by_mesh.cd_4d, rel=0.1)
    assert by_points.cd_m == pytest.approx(by_mesh.cd_m, rel=0.1)
    separate = compare_surfaces(SeparateMeshes([(v, faces) for v in vertices]), points, points=2000)
    assert math.isnan(separate.cd_m) and separate.cd_4d == pytest.approx(by_points.cd_4d, rel=0.1)
    bare = compare_surfaces(mesh, TrackedPoints(points.points), points=2000)
    assert math.isnan(bare.normals) and "normals" not in bare.per_frame


@pytest.fixture(scope="module")
def truth():
    mesh = ball()
    bent = mesh.vertices * torch.tensor([1.0, 0.6, 0.4])
    bent[:, 0] += 0.8 * bent[:, 2].clamp_min(0)
    return mesh.faces, poses(mesh.with_vertices(bent), torch.linspace(0, 0.5, 3))


def compare(truth, predicted, **options):
    faces, vertices = truth
    return compare_motion(predicted, faces, vertices, faces, points=POINTS, **options)


def test_the_truth_itself_scores_the_floor_in_any_pose(truth):
    _, vertices = truth
    turn = torch.from_numpy(rotation(5)).float()
    same = compare(truth, vertices * 7 @ turn.T + 3, every_frame=False)
    spacing = 2 * math.sqrt(1.5 / POINTS)  # of random points on a surface of a few units
    assert same.cd_m < 2 * spacing and same.cd_4d < 2 * spacing
    assert math.isnan(same.cd_3d)


def test_less_motion_scores_worse(truth):
    _, vertices = truth
    scores = [
        compare(truth, vertices[:1] + share * (vertices - vertices[:1]), every_frame=False, per_axis=False).cd_m
        for share in (1.0, 0.5, 0.0)
    ]
    assert scores[0] < scores[1] < scores[2]
    assert scores[2] > 2 * scores[0]


def test_aligning_every_frame_forgives_a_drift(truth):
    _, vertices = truth
    drifting = vertices + torch.arange(3.0)[:, None, None] * 0.3
    drift = compare(truth, drifting, per_axis=False)
    assert drift.cd_3d < 0.5 * drift.cd_4d


def test_lengths_must_agree(truth):
    with pytest.raises(ValueError, match="2 predicted poses"):
        compare(truth, truth[1][:2])
