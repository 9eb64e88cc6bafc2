"""Shapes without a look of their own: what no frame saw is mirrored where the shape has a left and a right, and else
continued; the back of a head is no face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.stages.texture.test_stage import Paint, ball, error_of, film, turned
from v2m4.events import drain
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.symmetry import mirror_planes
from v2m4.settings import FillSettings, OptimiseSettings, TextureSettings
from v2m4.stages.texture.mirror import color_plane, fill_mirrored
from v2m4.stages.texture.stage import texture_mesh

SETTINGS = TextureSettings(size=128)
MIRRORING = SETTINGS.fill.mirroring
HAIR, SKIN, EYE = (0.45, 0.25, 0.1), (0.95, 0.75, 0.6), (0.05, 0.1, 0.4)


def fish() -> Mesh:
    """Long in x, tapering to its tail, with a fin on its back (-y is up); z is left and right."""
    mesh = ball(4)
    x, y, z = mesh.vertices.unbind(1)
    taper = 1 + 0.9 * x
    fin = 0.35 * torch.exp(-((x - 0.1) ** 2) / 0.02) * torch.exp(-(z**2) / 0.004) * (y < 0)
    return Mesh(torch.stack([1.3 * x, 0.6 * taper * y - fin, 0.35 * taper * z], dim=1), mesh.faces)


def scales(points: Tensor) -> Tensor:
    """Bands along the fish, lighter below; the same on both flanks."""
    bands = 0.5 + 0.4 * torch.sin(14 * points[:, :1])
    return torch.cat([bands, 0.5 + 0.5 * points[:, 1:2].clamp(-0.8, 0.8), 1 - bands], dim=1).clamp(0.05, 0.95)


def head(nose: float) -> Mesh:
    """A ball with a nose towards the camera (-z)."""
    mesh = ball(4)
    x, y, z = mesh.vertices.unbind(1)
    bump = nose * torch.exp(-(x**2 + (y - 0.05) ** 2) / 0.01) * (z < 0)
    return Mesh(torch.stack([0.85 * x, y, z - bump], dim=1), mesh.faces)


def bust() -> Mesh:
    """A narrow head with a nose and a bun at the back: left and right are clear from its shape."""
    mesh = head(0.15)
    x, y, z = mesh.vertices.unbind(1)
    bun = 0.25 * torch.exp(-(x**2 + (y + 0.25) ** 2) / 0.02) * (z > 0)
    return Mesh(torch.stack([0.8 * x, y, z + bun], dim=1), mesh.faces)


def face(points: Tensor) -> Tensor:
    """Skin in the middle of the front, two dark eyes, hair all around."""
    x, y, z = points.unbind(1)
    color = torch.tensor(HAIR).expand(len(points), 3).clone()
    color[(z < -0.2) & (x.abs() < 0.28) & (y > -0.25)] = torch.tensor(SKIN)
    eyes = ((x.abs() - 0.13) ** 2 + (y + 0.1) ** 2 < 0.006) & (z < 0)
    color[eyes] = torch.tensor(EYE)
    return color


def painted(folder: Path, mesh: Mesh, angles: list[float], paint: Paint, settings: TextureSettings = SETTINGS) -> Mesh:
    """The mesh with the texture that its frames give it, in object space."""
    clip, poses = film(folder, mesh, angles, paint)
    rng = torch.Generator().manual_seed(1)
    result = drain(texture_mesh(poses, mesh, clip, range(len(angles)), settings, anchor=0, rng=rng))
    return replace(result, vertices=mesh.vertices)


def far(points: Tensor) -> Tensor:
    """Away from the camera of the first frame, and not on the rim."""
    return points[:, 2] > 0.12 * points[:, 2].max()


def test_the_far_flank_looks_like_the_near_one(tmp_path: Path) -> None:
    mirrored = error_of(painted(tmp_path, fish(), [0.0, 8.0], scales), scales, far)
    plain = replace(SETTINGS, fill=FillSettings(mirror=False))
    continued = error_of(painted(tmp_path, fish(), [0.0, 8.0], scales, plain), scales, far)
    assert float(mirrored.mean()) < 0.08
    assert float(mirrored.mean()) < 0.5 * float(continued.mean())


def test_descent_mirrors_too(tmp_path: Path) -> None:
    descent = TextureSettings(method="optimise", size=48, optimise=OptimiseSettings(iterations=120, views=4, lr=6e-2))
    error = error_of(painted(tmp_path, fish(), [0.0], scales, descent), scales, far)
    assert float(error.mean()) < 0.15


@pytest.mark.parametrize("nose", [0.0, 0.15])
def test_the_back_of_a_head_is_neither_a_face_nor_grey(tmp_path: Path, nose: float) -> None:
    mesh = head(nose)
    result = painted(tmp_path, mesh, [0.0], face)

    def hair_everywhere(points: Tensor) -> Tensor:
        return torch.tensor(HAIR).expand(len(points), 3)

    # Under the chin skin goes on, for all that the camera knows.
    back = error_of(result, hair_everywhere, lambda p: (p[:, 2] > 0.15) & (p[:, 1] < 0.25))
    assert float(back.mean()) < 0.06
    assert float(back.amax(1).quantile(0.98)) < 0.25
    front = error_of(result, face, lambda p: (p[:, 2] < -0.25) & (p[:, :2].abs().amax(1) < 0.3))
    assert float(front.mean()) < 0.12


def test_a_half_seen_face_is_completed(tmp_path: Path) -> None:
    """The camera sees one cheek; the other one is its mirror image."""
    result = painted(tmp_path, bust(), [50.0], face)
    hidden_side = torch.sign(turned(torch.tensor([[1.0, 0, 0]]), 50.0)[0, 2] - 2.0)
    other = error_of(result, face, lambda p: (p[:, 2] < -0.1) & (p[:, 0] * hidden_side > 0.2))
    assert float(other.mean()) < 0.12


def test_colours_that_contradict_the_plane_are_not_mirrored(tmp_path: Path) -> None:
    """A fish that is red on one flank and blue on the other, both partly seen."""
    mesh = fish()
    points = mesh.vertices.double().numpy()
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((len(points), 3))
    red_or_blue = np.where(points[:, 2:] > 0, [[0.9, 0.1, 0.1]], [[0.1, 0.1, 0.9]]) + noise
    seen = (points[:, 0] > 0).astype(float)
    assert color_plane(mesh.vertices, mesh.faces, points, red_or_blue, seen, MIRRORING) is None
    bands = scales(mesh.vertices).double().numpy()
    plane = color_plane(mesh.vertices, mesh.faces, points, bands, seen, MIRRORING)
    assert plane is not None
    assert abs(plane.normal[2]) > 0.99


def test_planes_of_a_box_are_found_and_ordered() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-1, 1, (3000, 3)) * [1.0, 0.6, 0.3] + [5, 6, 7]
    planes = mirror_planes(points, MIRRORING.search)
    assert len(planes) == 3
    assert [p.error for p in planes] == sorted(p.error for p in planes)
    normals = np.abs([p.normal for p in planes])
    assert np.allclose(np.sort(normals.argmax(1)), [0, 1, 2])
    for plane in planes:
        assert np.allclose(plane.mirrored(plane.mirrored(points)), points)
        assert plane.offset == pytest.approx(plane.normal @ [5, 6, 7], abs=0.05)


def test_what_is_seen_stays_and_what_has_no_image_stays_unseen() -> None:
    mesh = fish()
    points = mesh.vertices.double().numpy()
    plane = mirror_planes(points, MIRRORING.search)[0]
    colors = np.zeros((len(points), 3))
    colors[:, 0] = 1
    seen = (points[:, 2] < 0).astype(float)
    filled, trust = fill_mirrored(plane, points, points, colors, seen, MIRRORING)
    assert np.array_equal(filled[seen > 0], colors[seen > 0])
    assert np.quantile(trust, 0.05) > 0.5
    nothing, same = fill_mirrored(plane, points, -points, colors, np.zeros(len(points)), MIRRORING)
    assert np.array_equal(nothing, colors)
    assert not same.any()
