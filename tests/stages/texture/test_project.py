"""What one frame shows of a surface: the compiled kernel against plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.stages.texture.test_stage import ball, film
from v2m4.arrays import Int32, Real
from v2m4.geometry.mesh import Mesh
from v2m4.render.atlas import texels_of, unwrap
from v2m4.settings import FillSettings, ProjectSettings
from v2m4.stages.texture.project import ProjectedFrame, project_frame
from v2m4.stages.texture.samples import Samples, place_samples


def plain_sample(view: ProjectedFrame, texel: Int32, share: Real, wanted: Real) -> tuple[Real, Real]:
    """`ProjectedFrame.sample`, all points at once."""
    side = len(view.image)
    point, normal = ((values[texel] * share[..., None]).sum(1) for values in (view.points, view.normals))
    z = point[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = -(normal * point).sum(1) / np.sqrt((point**2).sum(1) * (normal**2).sum(1))
        s, t = ((view.focal * point[:, k] / z + 0.5) * side - 0.5 for k in (0, 1))
        sine = np.sqrt(np.maximum(1 - cosine**2, 0))
        nearest = z - view.tolerance - 0.5 * z / (view.focal * side) * sine / cosine
    shown = (wanted[texel].sum(1) > 0) & (z > 0) & (cosine > view.grazing)
    shown &= (s >= 0) & (t >= 0) & (s < side - 1) & (t < side - 1)
    u, v = (np.where(shown, x, 0).astype(int) for x in (s, t))
    p, q = s - u, t - v
    weight, total = np.zeros(len(texel)), np.zeros((len(texel), 3))
    for dx, dy, bilinear in ((0, 0, (1 - p) * (1 - q)), (1, 0, p * (1 - q)), (0, 1, (1 - p) * q), (1, 1, p * q)):
        own = bilinear * view.trust[v + dy, u + dx] * (view.depth[v + dy, u + dx] > nearest)
        weight += np.where(shown, own, 0)
        total += np.where(shown, own, 0)[:, None] * view.image[v + dy, u + dx]
    believed = weight > 1e-4
    front = np.minimum((cosine - view.grazing) / (view.facing - view.grazing), 1)
    colors = np.where(believed[:, None], total / np.maximum(weight, 1e-9)[:, None], 0)
    return colors, np.where(believed, front**2 * (3 - 2 * front) * weight, 0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProjectedFrame, Samples]:
    """A frame of a ball before a larger one, whose edge hides part of it."""
    small, large = ball(2, 0.15), ball(3, 0.4)
    vertices = torch.cat([small.vertices + torch.tensor([0.1, 0.0, -0.7]), large.vertices])
    mesh = Mesh(vertices, torch.cat([small.faces, large.faces + len(small.vertices)]))
    clip, poses = film(tmp_path_factory.mktemp("frame"), mesh, [20.0])
    uv, uv_faces = unwrap(mesh.vertices, mesh.faces, 96)
    samples = place_samples(mesh.faces.numpy(), texels_of(uv, uv_faces, 96), FillSettings().samples)
    return project_frame(mesh, poses[0].contiguous(), clip.frame(0), samples, ProjectSettings()), samples


def test_the_kernel_sees_what_plain_numpy_sees(scene: tuple[ProjectedFrame, Samples]) -> None:
    view, samples = scene
    wanted = (np.arange(len(samples.face)) % 5 > 0).astype(np.float32)
    colors, trust = view.sample(samples.texel, samples.share, wanted)
    expected_colors, expected_trust = plain_sample(view, samples.texel, samples.share, wanted)
    differing = np.abs(trust - expected_trust) > 1e-4
    # Float32 may put a point on the other side of a threshold.
    assert differing.mean() < 1e-3
    both = (trust > 0.01) & ~differing
    assert both.sum() > 500
    np.testing.assert_allclose(colors[both], expected_colors[both], atol=2e-3)


def test_what_faces_away_or_lies_outside_the_picture_is_not_seen(scene: tuple[ProjectedFrame, Samples]) -> None:
    view, samples = scene
    everywhere = np.ones(len(samples.face), np.float32)
    _, trust = view.sample(samples.texel, samples.share, everywhere)
    away = (samples.at_texels(view.normals) * samples.at_texels(view.points)).sum(1) > 0
    assert not trust[away].any() and trust[~away].any()
    aside = replace(view, points=(view.points + np.float32([3, 0, 0])).astype(np.float32))
    assert not aside.sample(samples.texel, samples.share, everywhere)[1].any()
