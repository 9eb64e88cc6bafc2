"""Samples of surfaces and spheres: every part gets its share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.render.scenes import ellipsoid
from v2m4.errors import V2M4Error
from v2m4.geometry.losses import face_areas
from v2m4.geometry.sampling import (
    cover_surface,
    draw_surface,
    fibonacci_directions,
    half_sphere_directions,
    hammersley_directions,
    sample_surface,
    surface_points,
)


def test_samples_cover_the_surface_evenly() -> None:
    mesh = ellipsoid(2)
    vertices, faces = mesh.vertices.double(), mesh.faces
    face, weights = sample_surface(vertices, faces, 5000, torch.Generator().manual_seed(0))
    points = surface_points(vertices, faces, face, weights)
    area = face_areas(vertices, faces)
    expected = 5000 * area / area.sum()
    assert (torch.bincount(face, minlength=len(faces)) - expected).abs().max() <= 2
    torch.testing.assert_close(weights.sum(1), torch.ones_like(weights[:, 0]))
    assert points.abs().amax(0).le(vertices.abs().amax(0)).all()


def test_directions_cover_the_sphere_evenly() -> None:
    directions = fibonacci_directions(600)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)
    cosines = directions @ directions.T - 2 * np.eye(600)
    nearest = np.degrees(np.arccos(cosines.max(1)))
    assert nearest.min() > 5 and nearest.max() < 10


def test_a_half_sphere_has_one_of_each_opposite_pair() -> None:
    half = half_sphere_directions(300)
    assert (half[:, 2] > 0).all()
    both = np.concatenate([half, -half])
    nearest = np.degrees(np.arccos((both @ both.T - 2 * np.eye(600)).max(1)))
    assert nearest.min() > 3 and nearest.max() < 10


def test_hammersley_directions_cover_the_sphere_evenly() -> None:
    yaw, pitch = hammersley_directions(512)
    points = torch.stack([yaw.sin() * pitch.cos(), yaw.cos() * pitch.cos(), pitch.sin()], dim=1)
    assert points.mean(0).abs().max() < 0.01
    octant = ((points > 0).long() * torch.tensor([1, 2, 4])).sum(1)
    assert torch.bincount(octant, minlength=8).sub(64).abs().max() <= 4


@given(st.integers(0, 10**6), st.integers(1, 3000))
def test_a_cover_misses_no_triangle_and_goes_by_area(seed: int, count: int) -> None:
    corners = np.random.default_rng(seed).random((20, 3, 3))
    face, weights = cover_surface(corners, count)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    assert np.abs(np.bincount(face, minlength=20) - count * area / area.sum() - 0.5).max() <= 0.5 + 1e-6
    assert (weights > -1e-12).all() and np.allclose(weights.sum(1), 1)


def test_the_points_of_a_covered_triangle_keep_apart() -> None:
    _, weights = cover_surface(np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]]), 500)
    gaps = np.linalg.norm(weights[:, None, 1:] - weights[None, :, 1:], axis=2) + np.eye(len(weights))
    assert gaps.min() > 0.25 / np.sqrt(2 * 500)
    assert weights.mean(0) == pytest.approx([1 / 3] * 3, abs=0.01)


def test_a_surface_without_area_cannot_be_drawn_from() -> None:
    with pytest.raises(V2M4Error, match="no measurable surface"):
        draw_surface(np.zeros((3, 3)), np.array([[0, 1, 2]]), 10, np.random.default_rng(0))
