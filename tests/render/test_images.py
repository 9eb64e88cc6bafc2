"""The pictures the stages ask for, and the fast ones without gradients."""

import pytest
import torch

from tests.render.scenes import ellipsoid, orbit, quad
from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.render import render, render_fast

EVERYTHING = ("mask", "color", "depth", "normal", "position")


def test_row_zero_is_the_top_and_the_texture_is_upright():
    color = render(quad(), Camera.identity(), 32, ("color",)).color[0]
    quarter = 11
    assert color[quarter, quarter].tolist() == [1, 0, 0]
    assert color[quarter, -quarter].tolist() == [0, 1, 0]
    assert color[-quarter, quarter].tolist() == [0, 0, 1]


def test_depth_position_and_normal_of_a_square_facing_the_camera():
    images = render(quad(), Camera.identity(), 16, EVERYTHING, antialias=False)
    inside = images.triangle >= 0
    torch.testing.assert_close(images.depth[inside], torch.full_like(images.depth[inside], 2.0))
    torch.testing.assert_close(images.position[inside][:, 2], images.depth[inside])
    assert (images.normal[inside] == torch.tensor([0.0, 0.0, -1.0])).all()
    assert (images.depth[~inside] == 0).all() and (images.color[~inside] == 0).all()


@pytest.mark.parametrize("supersample", [1, 3])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("scene", [ellipsoid(), quad(depth=0.0)], ids=["vertex colours", "texture"])
def test_fast_pictures_equal_the_differentiable_ones(scene, smooth, supersample):
    camera = orbit(3)
    background = torch.rand(3, 24, 24, 3, generator=torch.Generator().manual_seed(0))
    options = {"supersample": supersample, "background": background, "smooth_normals": smooth}
    fast = render_fast(scene, camera, 24, EVERYTHING, **options)
    slow = render(scene, camera, 24, EVERYTHING, antialias=False, **options)
    for kind in (*EVERYTHING, "triangle", "barycentrics"):
        torch.testing.assert_close(getattr(fast, kind), getattr(slow, kind), atol=1e-4, rtol=0)


def test_fast_pictures_leave_the_background_as_it_was():
    background = torch.ones(1, 16, 16, 3)
    render_fast(quad(), Camera.identity(), 16, ("color",), background=background)
    assert (background == 1).all()


def test_backends_give_the_same_pictures():
    numba, torch_ = (render(ellipsoid(), orbit(2), 40, EVERYTHING, backend=b) for b in ("numba", "torch"))
    for kind in (*EVERYTHING, "triangle"):
        torch.testing.assert_close(getattr(numba, kind), getattr(torch_, kind), atol=1e-5, rtol=0)


def test_views_may_show_different_vertices():
    mesh = quad()
    moved = torch.stack([mesh.vertices, mesh.vertices + torch.tensor([0.2, 0.0, 0.0])])
    camera = Camera(torch.eye(4).expand(2, 4, 4))
    mask = render(mesh.with_vertices(moved), camera, 32, ("mask",)).mask
    alone = render(mesh.with_vertices(moved[1]), Camera.identity(), 32, ("mask",)).mask
    torch.testing.assert_close(mask[1], alone[0])
    assert not torch.equal(mask[0], mask[1])


def test_supersampling_averages_and_keeps_the_size():
    images = render(ellipsoid(), orbit(1), 20, ("mask", "color", "depth"), supersample=4, antialias=False)
    assert images.mask.shape == (1, 20, 20) and images.color.shape == (1, 20, 20, 3)
    assert images.depth.shape == images.triangle.shape == (1, 20, 20)
    partly = (images.mask > 0) & (images.mask < 1)
    assert partly.any()
    assert torch.equal((images.mask * 16).round(), images.mask * 16)


def test_a_mesh_without_colours_is_plain_grey():
    mesh = ellipsoid()
    plain = type(mesh)(mesh.vertices, mesh.faces)
    for images in (
        render(plain, orbit(1), 16, ("color",), antialias=False),
        render_fast(plain, orbit(1), 16, ("color",)),
    ):
        assert (images.color[images.triangle >= 0] == 0.8).all()


def test_gradients_reach_camera_texture_and_background():
    mesh = quad()
    w2c = torch.eye(4, requires_grad=True)
    texture = mesh.texture.clone().requires_grad_()
    background = torch.rand(3).requires_grad_()
    textured = type(mesh)(mesh.vertices, mesh.faces, uv=mesh.uv, uv_faces=mesh.uv_faces, texture=texture)
    render(textured, Camera(w2c), 24, ("color",), background=background).color.square().sum().backward()
    for tensor in (w2c, texture, background):
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0 and tensor.grad.isfinite().all()


def test_an_object_out_of_view_gives_empty_pictures_and_zero_gradients():
    mesh = quad()
    vertices = (mesh.vertices + torch.tensor([50.0, 0, 0])).requires_grad_()
    images = render(mesh.with_vertices(vertices), Camera.identity(), 16, EVERYTHING)
    assert images.mask.sum() == 0 and images.color.sum() == 0
    (images.mask.sum() + images.color.sum()).backward()
    assert vertices.grad is None or (vertices.grad == 0).all()


def test_an_unknown_kind_of_picture_is_refused_by_name():
    with pytest.raises(V2M4Error, match="albedo"):
        render(quad(), Camera.identity(), 16, ("albedo",))
