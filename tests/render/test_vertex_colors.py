"""A texture as vertex colours: what a vertex shows is what its corner of each face shows."""

from __future__ import annotations

import torch

from tests.render.scenes import ellipsoid
from v2m4.geometry.mesh import Mesh
from v2m4.render.vertex_colors import vertex_colored


def textured(texture: torch.Tensor) -> Mesh:
    """A ball onto which a picture is projected along y."""
    ball = ellipsoid(4)
    low, high = ball.vertices.amin(0), ball.vertices.amax(0)
    uv = 0.05 + 0.9 * ((ball.vertices - low) / (high - low))[:, [0, 2]]  # off the edge, where pictures repeat
    return Mesh(ball.vertices, ball.faces, uv=uv, uv_faces=ball.faces, texture=texture)


def test_each_side_of_a_border_keeps_its_colour() -> None:
    texture = torch.zeros(64, 64, 3)
    texture[:, 32:] = 1.0
    mesh = vertex_colored(textured(texture))
    assert mesh.colors is not None and mesh.texture is None and mesh.uv is None
    across = mesh.vertices[:, 0] / mesh.vertices[:, 0].amax()
    assert bool((mesh.colors[across > 0.2] > 0.9).all())
    assert bool((mesh.colors[across < -0.2] < 0.1).all())


def test_a_fine_pattern_is_averaged_and_not_picked_from() -> None:
    texture = (torch.rand(512, 512, 1, generator=torch.Generator().manual_seed(0)) > 0.5).float().expand(-1, -1, 3)
    mesh = vertex_colored(textured(texture))
    assert mesh.colors is not None
    assert abs(float(mesh.colors.mean()) - 0.5) < 0.02 and float(mesh.colors.std()) < 0.15


def test_a_mesh_without_a_texture_stays_as_it_is() -> None:
    mesh = ellipsoid(1)
    assert vertex_colored(mesh) is mesh
