"""The GPU kernels against their PyTorch twins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.render.test_gaussians import some_gaussians
from v2m4.geometry.camera import Camera, orbit_extrinsics
from v2m4.geometry.mesh import Mesh
from v2m4.nn.cuda_graphs import GraphPool, Recorded
from v2m4.render.gaussians import render_gaussians
from v2m4.render.outlines import outlines_torch
from v2m4.render.raster import rasterize
from v2m4.render.recordable import recordable_normal_map
from v2m4.render.splats import Gaussians
from v2m4.render.visibility import visible_triangles_torch
from v2m4.stages.registration.normal_views import normal_map

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("recordable", [False, True])
@pytest.mark.parametrize(("size", "radius"), [(64, 2.0), (257, 2.0), (64, 0.45)])
def test_the_same_triangles_are_visible(size: int, radius: float, recordable: bool) -> None:
    from v2m4.render.visibility_triton import visible_triangles_with_depth

    rng = torch.Generator().manual_seed(0)
    vertices = torch.rand(600, 3, generator=rng) - 0.5
    corner = torch.randint(600, (2000, 1), generator=rng)
    faces = (corner + torch.randint(1, 600, (2000, 3), generator=rng).cumsum(1)) % 600
    small = vertices[corner[:, 0]][:, None] + 0.05 * torch.randn(2000, 3, 3, generator=rng)
    vertices = torch.cat([vertices, small.flatten(0, 1)])
    faces = torch.cat([faces[:20], 600 + torch.arange(6000).view(-1, 3)])
    angles = torch.tensor([0.3, 1.0]), torch.tensor([0.2, -0.4])
    camera = Camera(orbit_extrinsics(*angles, torch.full((2,), radius), torch.zeros(2, 3)))
    clip, faces = camera.clip(vertices).cuda(), faces.cuda()
    expected = visible_triangles_torch(clip, faces, size, size)
    found, _ = visible_triangles_with_depth(clip, faces, size, size, recordable)
    # Multiply-add in one rounding may decide a pixel centre that lies on an edge the other way.
    assert float((found != expected).float().mean()) < 1e-4
    assert float((expected >= 0).float().mean()) > 0.1


def _globe(meridians: int) -> tuple[Tensor, Tensor]:
    """A sphere of radius 0.4 whose quads are split in two."""
    yaw = torch.arange(meridians) * (2 * torch.pi / meridians)
    pitch = torch.linspace(-torch.pi / 2, torch.pi / 2, meridians // 2 + 1)
    pitch, yaw = torch.meshgrid(pitch, yaw, indexing="ij")
    vertices = 0.4 * torch.stack([yaw.sin() * pitch.cos(), yaw.cos() * pitch.cos(), pitch.sin()], dim=-1)
    row, column = torch.meshgrid(torch.arange(meridians // 2), torch.arange(meridians), indexing="ij")
    a, b = row * meridians + column, row * meridians + (column + 1) % meridians
    c, d = a + meridians, b + meridians
    faces = torch.stack([torch.stack([a, c, b], dim=-1), torch.stack([b, c, d], dim=-1)])
    vertices, faces = vertices.reshape(-1, 3), faces.reshape(-1, 3)
    a, b, c = vertices[faces].unbind(1)
    # On either side of a face without area rounding decides.
    return vertices, faces[torch.linalg.cross(b - a, c - a).norm(dim=1) > 1e-6]


@pytest.mark.parametrize("at_most", [None, 2000])
@pytest.mark.parametrize(("subdivisions", "size"), [(1, 61), (5, 33)])
def test_the_same_outlines_are_found(subdivisions: int, size: int, at_most: int | None) -> None:
    from v2m4.render.outlines_triton import outlines_triton

    vertices, faces = _globe(4 * 2**subdivisions)
    vertices, faces = torch.cat([vertices, 0.5 * vertices + 0.3]), torch.cat([faces, faces + len(vertices)])
    angles = torch.tensor([0.3, 1.0]), torch.tensor([0.2, -0.4])
    camera = Camera(orbit_extrinsics(*angles, torch.tensor([2.0, 1.5]), torch.zeros(2, 3)))
    clip, faces = camera.clip(vertices).cuda(), faces.cuda()
    raster = rasterize(clip, faces, size)
    expected, found = (
        {tuple(row) for row in torch.cat([inner[:, None], outer[:, None], ends], dim=1).tolist() if row[0] != row[1]}
        for inner, outer, ends in (outlines_torch(raster, clip, faces), outlines_triton(raster, clip, faces, at_most))
    )
    assert len(expected) > 50
    assert len(expected ^ found) <= len(expected) // 100, sorted(expected ^ found)[:20]


def test_normal_maps_can_be_recorded() -> None:
    vertices, faces = (tensor.cuda() for tensor in _globe(48))
    angles = torch.tensor([0.3, 1.0]), torch.tensor([0.2, -0.4])
    camera = Camera(orbit_extrinsics(*angles, torch.tensor([2.0, 1.5]), torch.zeros(2, 3))).to("cuda")

    def maps(moved: Tensor) -> Tensor:
        return recordable_normal_map(moved, faces, camera, 64)

    replayed = Recorded(maps, 0, vertices, pool=GraphPool())
    weight = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(0)).cuda()
    for scale in (1.0, 0.8):
        moved = (scale * vertices).requires_grad_()
        slopes = [torch.autograd.grad((draw(moved) * weight).sum(), moved)[0] for draw in (replayed, maps)]
        plain = moved.detach().cpu().requires_grad_()
        known = (normal_map(Mesh(plain, faces.cpu()), camera.to("cpu"), 64) * weight.cpu()).sum()
        (expected,) = torch.autograd.grad(known, plain)
        torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-3, atol=1e-3)
        # A pixel centre that lies on an edge may belong to either face.
        assert (slopes[0].cpu() - expected).abs().mean() < 0.01 * expected.abs().mean()


@pytest.mark.parametrize(("count", "opacity", "scale"), [(300, 0.99, 0.05), (60, 0.5, 0.08), (5000, 0.1, 0.005)])
def test_the_same_picture_and_slopes_of_gaussians(count: int, opacity: float, scale: float) -> None:
    gaussians = some_gaussians(count, opacity=opacity, scale=scale).to("cuda")
    weight = torch.rand(75, 75, 4, generator=torch.Generator().manual_seed(1)).cuda()

    def run(backend: str) -> tuple[Tensor, Tensor, list[Tensor]]:
        fields = [t.clone().requires_grad_() for t in vars(gaussians).values()]
        color, alpha = render_gaussians(Gaussians(*fields), Camera.identity(device="cuda"), 75, backend=backend)
        ((color * weight[..., :3]).sum() + (alpha * weight[..., 3]).sum()).backward()
        return color.detach(), alpha.detach(), [t.grad for t in fields if t.grad is not None]

    expected, found = run("torch"), run("triton")
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=0)
    assert len(found[2]) == 5
    for ours, theirs in zip(found[2], expected[2], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
