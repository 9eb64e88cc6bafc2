"""Colours of what nobody saw are continued along the surface."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.stages.texture.test_stage import ball
from v2m4.render.atlas import texels_of, unwrap
from v2m4.settings import FillSettings
from v2m4.stages.texture.inpainting import diffuse_colors, inpaint
from v2m4.stages.texture.look import Look
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


def test_the_far_side_takes_the_tone_of_what_is_seen_but_not_its_marks() -> None:
    mesh = ball(3)
    uv, uv_faces = unwrap(mesh.vertices, mesh.faces, 64)
    texels = texels_of(uv, uv_faces, 64)
    samples = place_samples(mesh.faces.numpy(), texels, 8000)
    points = samples.interpolate(mesh.faces.numpy(), mesh.vertices.numpy())
    own = replace(mesh, colors=torch.full((len(mesh.vertices), 3), 0.6))
    # A frame sees the front, a little darker than the mesh brought it, with a black eye at the rim.
    seen = (points[:, 2] < 0).astype(np.float64)
    eye = np.linalg.norm(points - np.array([0.45, 0.0, -0.15]), axis=1) < 0.15
    colors = np.where(eye[:, None], 0.0, 0.5) * np.ones(3)
    look = Look(colors, seen, samples.at_texels(colors), samples.at_texels(seen[:, None])[:, 0])
    filled = inpaint(look, own, samples, texels, FillSettings())
    behind = samples.at_texels(points)[:, 2] > 0.1
    assert np.abs(filled[behind] - 0.5).max() < 0.02
