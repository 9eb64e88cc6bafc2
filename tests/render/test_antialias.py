"""Silhouettes: coverage, its gradient against finite differences, and the compiled search against PyTorch's."""

import sys
from dataclasses import replace

import pytest
import torch

from tests.render.scenes import ellipsoid, orbit, quad, soup
from v2m4.geometry.camera import Camera
from v2m4.render import Raster, antialias, rasterize, render
from v2m4.render.outlines import opposite_edges, outlines_numba, outlines_torch


def box(left: float, right: float) -> tuple[torch.Tensor, torch.Tensor]:
    """An upright rectangle in clip space, between two columns given in pixels of an 8-pixel image, taller than it."""
    x = torch.tensor([left, right, right, left]) / 4 - 1
    y = torch.tensor([-1.5, -1.5, 1.5, 1.5])
    return torch.stack([x, y, torch.full((4,), 0.5), torch.ones(4)], dim=1)[None], torch.tensor([[0, 1, 2], [0, 2, 3]])


@pytest.mark.parametrize("right", [5.1, 5.4, 5.6, 5.9])
def test_a_pixel_cut_by_an_edge_shows_the_share_that_is_covered(right):
    clip, faces = box(2.0, right)
    raster = rasterize(clip, faces, 8)
    mask = antialias((raster.triangle >= 0).float()[..., None], raster, clip, faces)[0, 4, :, 0]
    torch.testing.assert_close(mask, torch.tensor([0.0, 0, 1, 1, 1, right - 5, 0, 0]), atol=1e-5, rtol=0)


def test_covered_area_grows_with_the_edge_that_moves():
    clip, faces = box(2.3, 5.4)
    clip.requires_grad_()
    raster = rasterize(clip, faces, 8)
    antialias((raster.triangle >= 0).float()[..., None], raster, clip, faces).sum().backward()
    # A right corner moved by dx (8 px = 2 units) sweeps, with its partner, 8 rows of 4 px per unit each.
    right, left = clip.grad[0, [1, 2], 0].sum(), clip.grad[0, [0, 3], 0].sum()
    torch.testing.assert_close(right, torch.tensor(32.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(left, torch.tensor(-32.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("kind", "tolerance"), [("mask", 0.06), ("color", 0.06), ("normal", 0.1)])
def test_silhouette_gradients_match_finite_differences(kind, tolerance):
    """Moving and growing the object: the summed picture's derivative against a central difference.

    The blend is piecewise linear, so a finite step crosses pixels and only agrees to some percent; normals change
    quickly towards the outline, which a pixel does not see.
    """
    mesh, camera, size = ellipsoid(3), orbit(2, seed=5), 96
    weights = torch.rand(2, size, size, 1, generator=torch.Generator().manual_seed(1))
    weights = torch.nn.functional.avg_pool2d(weights[..., 0], 9, 1, 4)[..., None]  # smooth, so that shifts matter

    def value(change: torch.Tensor) -> torch.Tensor:
        grown = mesh.with_vertices(mesh.vertices * (1 + change[3]) + change[:3])
        image = getattr(render(grown, camera, size, (kind,), smooth_normals=True), kind)
        image = image[..., None] if kind == "mask" else image[..., :1]
        return (image * weights).sum()

    change = torch.zeros(4, requires_grad=True)
    value(change).backward()
    assert change.grad is not None
    steps = torch.eye(4) * 0.01
    with torch.no_grad():
        measured = torch.stack([(value(s) - value(-s)) / 0.02 for s in steps])
    scale = measured.abs().max()
    assert ((change.grad - measured).abs() < tolerance * scale).all(), (change.grad, measured)


def test_the_compiled_search_finds_the_outlines_pytorch_finds():
    for clip, faces in [
        (orbit(3).clip(ellipsoid(2).vertices), ellipsoid(2).faces),
        soup(5, 12),
        soup(6, 12, behind=True),
    ]:
        raster = rasterize(clip, faces, 48)
        ours, theirs = outlines_numba(raster, clip, faces), outlines_torch(raster, clip, faces)

        def rows(found):
            inner, outer, ends = found
            return set(map(tuple, torch.cat([inner[:, None], outer[:, None], ends], dim=1).tolist()))

        assert rows(ours) and rows(ours) == rows(theirs)


def test_interior_edges_are_not_blended():
    mesh = quad()
    clip = Camera.identity().clip(mesh.vertices)[None]
    raster = rasterize(clip, mesh.faces, 32)
    stripes = torch.rand(1, 32, 32, 1, generator=torch.Generator().manual_seed(0))
    inside = raster.triangle >= 0
    core = torch.nn.functional.avg_pool2d(inside.float()[:, None], 3, 1, 1)[:, 0] == 1
    blended = antialias(stripes, raster, clip, mesh.faces)
    torch.testing.assert_close(blended[core], stripes[core])


def test_an_antialiased_mask_is_close_to_a_supersampled_one():
    mesh, camera = ellipsoid(3), orbit(1)
    smooth = render(mesh, camera, 64, ("mask",)).mask
    exact = render(mesh, camera, 64, ("mask",), supersample=8, antialias=False).mask
    hard = render(mesh, camera, 64, ("mask",), antialias=False).mask
    assert (smooth - exact).abs().mean() < 0.35 * (hard - exact).abs().mean()
    assert smooth.min() >= 0 and smooth.max() <= 1


def test_opposite_edges_of_two_triangles_and_of_a_fan_of_three():
    pair = torch.tensor([[0, 1, 2], [2, 1, 3]])
    assert opposite_edges(pair).tolist() == [[-1, 3, -1], [1, -1, -1]]
    fan = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    assert (opposite_edges(fan) == -1).all()


def test_faces_smaller_than_pixels_keep_their_outline():
    """The area's derivative with respect to size must not depend on how finely the surface is cut."""
    camera, slopes = orbit(1), []
    for subdivisions in (2, 5):
        mesh = ellipsoid(subdivisions)
        scale = torch.ones((), requires_grad=True)
        render(mesh.with_vertices(mesh.vertices * scale), camera, 40, ("mask",)).mask.sum().backward()
        slopes.append(scale.grad.item())
    assert slopes[1] == pytest.approx(slopes[0], rel=0.1)


def test_an_edge_without_length_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an edge shorter than single precision can tell, the search finds a crossing that the blending cannot."""
    clip = torch.tensor([[[-0.5, -0.5, 0.5, 1], [-0.5, -0.5, 0.5, 1], [0.5, 0.5, 0.5, 1]]], requires_grad=True)
    faces = torch.tensor([[0, 1, 2]])
    raster = rasterize(clip.detach(), faces, 8)
    found = torch.tensor([9]), torch.tensor([10]), torch.tensor([[0, 1]])
    monkeypatch.setattr(sys.modules["v2m4.render.antialias"], "find_outlines", lambda *_: found)
    image = torch.rand(1, 8, 8, 3)
    blended = antialias(image, raster, clip, faces)
    blended.sum().backward()
    assert torch.equal(blended.detach(), image) and clip.grad is not None
    assert bool(torch.isfinite(clip.grad).all())


@pytest.mark.gpu
def test_nvdiffrast_blends_as_we_do():
    pytest.importorskip("nvdiffrast")
    mesh, camera = ellipsoid(3), orbit(4)
    on_gpu = type(camera)(camera.world_to_camera.cuda())
    ours = render(mesh, camera, 128, ("mask",), backend="numba").mask
    theirs = render(mesh.to("cuda"), on_gpu, 128, ("mask",), backend="nvdiffrast").mask.cpu()
    assert (ours - theirs).abs().mean() < 1e-3


def on_a_grid_of_sixteenths(clip: torch.Tensor, faces: torch.Tensor, size: int) -> Raster:
    """What nvdiffrast's rasteriser finds, which snaps the corners to sixteenths of a pixel."""
    pixels = ((clip[..., :2] / clip[..., 3:] / 2 + 0.5) * size * 16).round() / 16
    snapped = torch.cat([(pixels / size - 0.5) * 2 * clip[..., 3:], clip[..., 2:]], dim=-1).detach()
    return replace(rasterize(snapped, faces, size), backend="nvdiffrast")


@pytest.mark.parametrize(("subdivisions", "size"), [(3, 40), (5, 40), (5, 256)])
def test_slopes_are_true_after_either_rasteriser(subdivisions: int, size: int) -> None:
    """Growing an object that is far away: the slope of its area is twice the area, whether its faces are larger than
    pixels or smaller."""
    mesh, camera = ellipsoid(subdivisions), replace(orbit(4, radius=40.0), fov_deg=2.0)
    for find in (rasterize, on_a_grid_of_sixteenths):
        scale = torch.ones((), requires_grad=True)
        clip = camera.clip(mesh.vertices * scale)
        raster = find(clip, mesh.faces, size)
        area = antialias((raster.triangle >= 0).float()[..., None], raster, clip, mesh.faces).sum()
        area.backward()
        assert scale.grad is not None
        assert scale.grad.item() / (2 * area.item()) == pytest.approx(1, abs=0.03)


def test_a_forced_backend_searches_the_outlines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, camera = ellipsoid(2), orbit(1)
    expected = render(mesh, camera, 32, ("mask",), backend="torch").mask

    def refuse(*_):
        raise AssertionError("another backend was asked for")

    monkeypatch.setattr(sys.modules["v2m4.render.antialias"], "outlines_numba", refuse)
    torch.testing.assert_close(render(mesh, camera, 32, ("mask",), backend="torch").mask, expected)
    with pytest.raises(AssertionError, match="another backend"):
        render(mesh, camera, 32, ("mask",), backend="numba")
