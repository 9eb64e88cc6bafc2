"""Samples carry values between vertices and texels without loss."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stages.texture.test_stage import ball
from v2m4.render.atlas import texels_of, unwrap
from v2m4.stages.texture.samples import place_samples
from v2m4.stages.texture.samples_numba import blend_rows, locate_in_pieces


def test_samples_and_texels_interpolate_linear_functions_exactly() -> None:
    """For coarse meshes, whose faces are subdivided, and fine ones, whose are not."""
    for subdivisions in (0, 2, 4):
        mesh = ball(subdivisions)
        uv, uv_faces = unwrap(mesh.vertices, mesh.faces, 128)
        texels = texels_of(uv, uv_faces, 128)
        faces, vertices = mesh.faces.numpy(), mesh.vertices.numpy()
        samples = place_samples(faces, texels, 8000)
        through = samples.at_texels(samples.interpolate(faces, vertices))
        direct = (vertices[faces[texels.face]] * texels.weights[..., None]).sum(1)
        np.testing.assert_allclose(through, direct, atol=2e-4)
        np.testing.assert_allclose(np.asarray(samples.adjacency.sum(1)).ravel(), 1)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_pieces_are_those_whose_corners_shares_meet_at_the_point(m: int) -> None:
    rng = np.random.default_rng(m)
    grid = np.array([(i, j) for i in range(m + 1) for j in range(m + 1 - i)])
    number = np.full((m + 2, m + 2), -1)
    number[grid[:, 0], grid[:, 1]] = np.arange(len(grid))
    local = rng.permutation(4 * len(grid)).reshape(4, -1)
    weights = np.concatenate([rng.dirichlet([1, 1, 1], 400), np.eye(3), np.full((1, 3), 1 / 3)]).astype(np.float32)
    face = rng.integers(0, 4, len(weights))
    rows, share = locate_in_pieces(weights, face, local, number, m)
    np.testing.assert_allclose(share.sum(1), 1, rtol=1e-6)
    for w, f, row, part in zip(weights, face, rows, share, strict=True):
        corners = np.array([grid[list(local[f]).index(r)] for r in row])
        assert np.ptp(corners, axis=0).max() <= 1, "the corners of one piece"
        np.testing.assert_allclose(part @ corners, w[:2] * m, atol=1e-5 * m)


def test_rows_are_blended_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    for kind in (np.float32, np.float64):
        values = rng.standard_normal((9, 4)).astype(kind)
        rows, share = rng.integers(0, 9, (50, 3)), rng.random((50, 3)).astype(np.float32)
        np.testing.assert_allclose(
            blend_rows(values, rows, share), (values[rows] * share[..., None]).sum(1), rtol=1e-5, atol=1e-6
        )
