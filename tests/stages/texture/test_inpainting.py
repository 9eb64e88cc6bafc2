"""Colours of what nobody saw are continued along the surface."""

from __future__ import annotations

import numpy as np

from tests.stages.texture.test_stage import ball
from v2m4.render.atlas import texels_of, unwrap
from v2m4.settings import FillSettings
from v2m4.stages.texture.inpainting import diffuse_colors
from v2m4.stages.texture.samples import place_samples


def test_colours_spread_along_the_surface_and_stay_clean() -> None:
    mesh = ball(3)
    uv, uv_faces = unwrap(mesh.vertices, mesh.faces, 64)
    samples = place_samples(mesh.faces.numpy(), texels_of(uv, uv_faces, 64), 8000)
    points = samples.interpolate(mesh.faces.numpy(), mesh.vertices.numpy())
    red_above = np.where(points[:, 1:2] > 0, [[1.0, 0, 0]], [[0, 0, 1.0]])
    seen = (points[:, 2] < 0).astype(np.float64)
    smooth, clean = (diffuse_colors(red_above, seen, samples, FillSettings(), palette=n) for n in (0, 2))
    for filled in (smooth, clean):
        assert np.abs(filled - red_above)[seen > 0].mean() < 0.05
        assert np.abs(filled - red_above)[points[:, 1] > 0.3].max() < 0.55
    mud_smooth, mud_clean = (np.minimum(f[:, 0], f[:, 2]).mean() for f in (smooth, clean))
    assert mud_clean < 0.6 * mud_smooth
