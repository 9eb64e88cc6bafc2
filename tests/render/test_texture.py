"""Texture lookups: bilinear weights, repetition, mip levels, gradients."""

import pytest
import torch

from tests.render.scenes import quad
from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.render import interpolate, rasterize, render, sample_texture
from v2m4.render.texture import footprint_level, mip_levels, uv_derivatives


def test_texel_centres_give_the_texels_and_points_between_their_mean():
    texture = torch.arange(12.0).view(3, 4, 1)
    centres = torch.tensor([[0.5 / 4, 0.5 / 3], [3.5 / 4, 2.5 / 3], [1.0 / 4, 0.5 / 3]])
    torch.testing.assert_close(sample_texture(texture, centres)[:, 0], torch.tensor([0.0, 11.0, 0.5]))


def test_coordinates_beyond_the_border_repeat():
    texture = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(0))
    uv = torch.rand(20, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sample_texture(texture, uv + torch.tensor([2.0, -3.0])), sample_texture(texture, uv))


def test_gradients_of_texture_and_coordinates_match_finite_differences():
    rng = torch.Generator().manual_seed(2)
    texture = torch.rand(4, 5, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    uv = torch.rand(6, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sample_texture, (texture, uv))


def test_mip_levels_halve_and_keep_the_mean():
    levels = mip_levels(torch.rand(16, 8, 3, generator=torch.Generator().manual_seed(0)))
    assert [tuple(t.shape[:2]) for t in levels] == [(16, 8), (8, 4), (4, 2), (2, 1)]
    for level in levels:
        torch.testing.assert_close(level.mean((0, 1)), levels[0].mean((0, 1)))


def test_a_footprint_of_four_texels_reads_level_two():
    per_pixel = torch.tensor([[4 / 64, 0.0, 0.0, 2 / 32]])
    torch.testing.assert_close(footprint_level(per_pixel, height=32, width=64), torch.tensor([2.0]))


def test_uv_derivatives_are_those_of_the_rendered_coordinates():
    # A tilted square: the coordinates' derivative changes over the picture.
    mesh = quad(half=0.6)
    tilted = mesh.vertices + torch.tensor([[0, 0, 0.0], [0, 0, 1.5], [0, 0, 1.5], [0, 0, 0.0]])
    clip = Camera.identity().clip(tilted)[None]
    raster = rasterize(clip, mesh.faces, 64)
    uv = interpolate(mesh.uv, raster, mesh.uv_faces)[0]
    found = torch.zeros(64, 64, 4)
    found[raster.triangle[0] >= 0] = uv_derivatives(raster, clip, mesh.faces, mesh.uv, mesh.uv_faces)
    y, x = 32, 30
    assert (raster.triangle[0, y - 1 : y + 2, x - 1 : x + 2] >= 0).all()
    by_x, by_y = (uv[y, x + 1] - uv[y, x - 1]) / 2, (uv[y + 1, x] - uv[y - 1, x]) / 2
    torch.testing.assert_close(found[y, x], torch.stack([by_x, by_y], dim=1).view(4), atol=1e-4, rtol=0.02)


def test_mip_mapping_removes_the_noise_of_a_distant_checkerboard():
    mesh = quad(depth=4.0, half=1.4)
    board = ((torch.arange(512)[:, None] + torch.arange(512)) % 2).float()[..., None].expand(-1, -1, 3)
    mesh = type(mesh)(mesh.vertices, mesh.faces, uv=mesh.uv, uv_faces=mesh.uv_faces, texture=board.contiguous())
    sharp = render(mesh, Camera.identity(), 61, ("color",), antialias=False)
    smooth = render(mesh, Camera.identity(), 61, ("color",), antialias=False, texture_filter="mipmap")
    inside = sharp.triangle >= 0
    assert sharp.color[inside].std() > 0.1
    assert smooth.color[inside].std() < 0.02
    assert (smooth.color[inside].mean() - 0.5).abs() < 0.01


def test_mip_mapping_without_derivatives_is_refused():
    with pytest.raises(V2M4Error, match="derivatives"):
        sample_texture(torch.zeros(2, 2, 3), torch.zeros(1, 2), None, "mipmap")
