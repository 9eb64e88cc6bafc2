"""Barycentrics and interpolation: perspective-correct, differentiable, the same with and without gradients."""

import pytest
import torch

from tests.render.scenes import ellipsoid, orbit, soup
from v2m4.geometry.camera import Camera
from v2m4.render import interpolate, rasterize
from v2m4.render.raster import locate


def test_interpolated_positions_lie_on_the_rays_of_their_pixels():
    mesh, size = ellipsoid(), 32
    camera = orbit(3)
    raster = rasterize(camera.clip(mesh.vertices), mesh.faces, size)
    position = interpolate(mesh.vertices, raster, mesh.faces)
    image, _ = camera.project(position.view(3, -1, 3))
    centre = (torch.arange(size) + 0.5) / size
    want = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), dim=-1).view(1, -1, 2).expand(3, -1, 2)
    covered = (raster.triangle >= 0).view(3, -1)
    torch.testing.assert_close(image[covered], want[covered], atol=1e-4, rtol=0)


def test_barycentrics_are_weights_of_corners_zero_and_one_and_zero_outside():
    mesh = ellipsoid()
    raster = rasterize(orbit(1).clip(mesh.vertices), mesh.faces, 24)
    u, v = raster.barycentrics.unbind(-1)
    assert u.min() > -1e-5 and v.min() > -1e-5 and (u + v).max() < 1 + 1e-5
    assert (raster.barycentrics[raster.triangle < 0] == 0).all()
    one_hot = interpolate(torch.eye(len(mesh.vertices)), raster, mesh.faces)
    inside = raster.triangle >= 0
    picked = one_hot[inside].gather(1, mesh.faces[raster.triangle[inside]])
    torch.testing.assert_close(picked[:, :2], raster.barycentrics[inside], atol=1e-5, rtol=0)


def test_the_path_with_gradients_and_the_compiled_one_give_the_same():
    clip, faces = soup(3, 30)
    plain = rasterize(clip, faces, 40)
    traced = rasterize(clip.clone().requires_grad_(), faces, 40)
    torch.testing.assert_close(plain.barycentrics, traced.barycentrics.detach(), atol=1e-4, rtol=0)
    torch.testing.assert_close(plain.depth, traced.depth, atol=1e-4, rtol=0)


def test_gradients_inside_faces_match_finite_differences():
    torch.manual_seed(0)
    clip, faces = soup(11, 6)
    clip, triangle = clip.double(), rasterize(clip, faces, 9).triangle
    attributes = torch.rand(18, 2, dtype=torch.float64)

    def picture(positions, values):
        return interpolate(values, locate(positions, faces, triangle, "torch"), faces)

    assert torch.autograd.gradcheck(picture, (clip.requires_grad_(), attributes.requires_grad_()), atol=1e-5)


def test_attributes_may_differ_between_views():
    mesh = ellipsoid(1)
    raster = rasterize(orbit(2).clip(mesh.vertices), mesh.faces, 16)
    values = torch.stack([torch.full_like(mesh.vertices, 1.0), torch.full_like(mesh.vertices, 2.0)])
    out = interpolate(values, raster, mesh.faces)
    assert out[0].max() == 1 and out[1].max() == 2


@pytest.mark.gpu
def test_nvdiffrast_agrees_with_our_rasteriser():
    pytest.importorskip("nvdiffrast")
    mesh, camera = ellipsoid(3), orbit(4)
    clip = camera.clip(mesh.vertices)
    ours = rasterize(clip, mesh.faces, 128, "numba")
    theirs = rasterize(clip.cuda(), mesh.faces.cuda(), 128, "nvdiffrast")
    same = ours.triangle == theirs.triangle.cpu()
    assert same.float().mean() > 0.999
    error = (ours.barycentrics - theirs.barycentrics.cpu())[same].abs()
    assert error.max() < 1e-2 and error.mean() < 1e-5


def test_a_rectangular_image_has_the_requested_shape():
    mesh = ellipsoid(1)
    raster = rasterize(Camera.identity().clip(mesh.vertices + torch.tensor([0.0, 0, 2]))[None], mesh.faces, (10, 20))
    assert raster.triangle.shape == (1, 10, 20) and raster.barycentrics.shape == (1, 10, 20, 2)
    assert (raster.triangle >= 0).any()
