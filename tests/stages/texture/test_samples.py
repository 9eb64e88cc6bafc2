"""Samples carry values between vertices and texels without loss."""

from __future__ import annotations

import numpy as np

from tests.stages.texture.test_stage import ball
from v2m4.render.atlas import texels_of, unwrap
from v2m4.stages.texture.samples import place_samples


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
