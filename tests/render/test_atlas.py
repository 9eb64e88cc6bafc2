"""Atlases: charts that do not overlap, texels that know their place on the surface, gutters without seams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from v2m4.geometry.mesh import Mesh
from v2m4.render.atlas import (
    PART_FACES,
    compact_parts,
    dominant_colors,
    fill_gutters,
    has_own_atlas,
    push_pull,
    texels_of,
    unwrap,
)
from v2m4.settings import OwnAtlasSettings

OWN = OwnAtlasSettings()


def ball(subdivisions: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    sphere = trimesh.creation.icosphere(subdivisions)
    return torch.from_numpy(sphere.vertices.astype(np.float32)), torch.from_numpy(sphere.faces.astype(np.int64))


def sheet(n: int = 8) -> Mesh:
    """A flat square whose texture coordinates are its x and y."""
    y, x = np.mgrid[: n + 1, : n + 1] / n
    vertices = torch.from_numpy(np.stack([x, y, 0 * x], -1).reshape(-1, 3).astype(np.float32))
    at = np.arange((n + 1) * (n + 1)).reshape(n + 1, n + 1)
    a, b, c, d = (t.ravel() for t in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    faces = torch.from_numpy(np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))
    return Mesh(vertices, faces, vertices[:, :2].contiguous(), faces)


@pytest.mark.parametrize("subdivisions", [3, 4])
def test_charts_do_not_overlap_and_fill_the_square(subdivisions: int) -> None:
    vertices, faces = ball(subdivisions)
    assert (len(faces) > PART_FACES) == (subdivisions > 3), "the larger one is unwrapped in parts"
    uv, uv_faces = unwrap(vertices, faces, 256)
    assert uv_faces.shape == faces.shape and float(uv.min()) >= 0 and float(uv.max()) <= 1
    assert has_own_atlas(Mesh(vertices, faces, uv, uv_faces), 256, OWN)
    corners = uv[uv_faces]
    edge = torch.linalg.det(torch.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], 1))
    assert float(edge.abs().sum() / 2) > 0.4


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200), st.integers(1, 50), st.integers(0, 10**6))
def test_compact_parts_hold_every_point_once_and_are_of_one_size(count: int, most: int, seed: int) -> None:
    parts = compact_parts(np.random.default_rng(seed).random((count, 3)), most)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    sizes = [len(part) for part in parts]
    assert max(sizes) <= most and max(sizes) - min(sizes) <= 1


def test_texels_know_where_on_the_surface_they_lie() -> None:
    mesh = sheet()
    assert mesh.uv is not None and mesh.uv_faces is not None
    texels = texels_of(mesh.uv, mesh.uv_faces, 32)
    assert texels.mask.all()
    place = (mesh.vertices.numpy()[mesh.faces.numpy()[texels.face]] * texels.weights[..., None]).sum(1)
    y, x = np.divmod(texels.index, 32)
    np.testing.assert_allclose(place[:, :2] * 32, np.column_stack([x, y]) + 0.5, atol=1e-3)


def test_own_coordinates_are_refused_when_they_overlap_leave_the_square_or_starve_a_part() -> None:
    mesh = sheet()
    assert mesh.uv is not None
    assert has_own_atlas(mesh, 64, OWN)
    assert not has_own_atlas(Mesh(mesh.vertices, mesh.faces), 64, OWN)
    folded = torch.stack([(mesh.uv[:, 0] - 0.5).abs(), mesh.uv[:, 1]], dim=1)
    assert not has_own_atlas(Mesh(mesh.vertices, mesh.faces, folded, mesh.faces), 64, OWN)
    assert not has_own_atlas(Mesh(mesh.vertices, mesh.faces, mesh.uv * 2, mesh.faces), 64, OWN)
    starved = torch.stack(
        [torch.where(mesh.uv[:, 0] > 0.5, 0.5 + 0.01 * mesh.uv[:, 0], mesh.uv[:, 0]), mesh.uv[:, 1]], 1
    )
    assert not has_own_atlas(Mesh(mesh.vertices, mesh.faces, starved, mesh.faces), 64, OWN)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.9))
def test_filling_keeps_what_is_known_and_stays_within_its_range(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    picture = random.random((37, 50, 3)).astype(np.float32) * 0.5 + 0.25
    known = random.random((37, 50)) < share
    known[5, 7] = True
    for filled in (fill_gutters(picture, known), push_pull(picture, known.astype(np.float32))):
        np.testing.assert_array_equal(filled[known], picture[known])
        low, high = picture[known].min(0), picture[known].max(0)
        assert (filled >= low - 1e-4).all() and (filled <= high + 1e-4).all()


def test_gutters_continue_the_charts_own_colour() -> None:
    picture = np.zeros((40, 40, 3), np.float32)
    known = np.zeros((40, 40), bool)
    picture[5:20, 5:20], known[5:20, 5:20] = (1, 0, 0), True
    picture[26:35, 26:35], known[26:35, 26:35] = (0, 0, 1), True
    filled = fill_gutters(picture, known)
    np.testing.assert_allclose(filled[3:5, 5:20], np.broadcast_to((1, 0, 0), (2, 15, 3)), atol=1e-5)
    np.testing.assert_allclose(filled[35:37, 26:35], np.broadcast_to((0, 0, 1), (2, 9, 3)), atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_dominant_colours_tell_clear_groups_apart(count: int) -> None:
    groups = np.repeat(np.array([[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.1, 0.9, 0.9]]), (50, 30, 20), axis=0)
    label, number = dominant_colors(groups, count)
    assert number == min(count, 100) and label.shape == (100,)
    if count >= 3:
        assert len({label[0], label[60], label[90]}) == 3
