"""Splatting: a plain loop over pixels as oracle, conservation laws, gradients."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.geometry.rotations import rotation_from_quaternion
from v2m4.render.gaussians import choose_backend, project, render_gaussians
from v2m4.render.splats import Gaussians


def some_gaussians(n: int, seed: int = 0, opacity: float = 0.7, scale: float = 0.05) -> Gaussians:
    rng = torch.Generator().manual_seed(seed)
    means = torch.randn(n, 3, generator=rng) * 0.2 + torch.tensor([0.0, 0.0, 2.0])
    return Gaussians(
        means,
        scale * (0.3 + torch.rand(n, 3, generator=rng)),
        torch.nn.functional.normalize(torch.randn(n, 4, generator=rng), dim=1),
        opacity * (0.2 + 0.8 * torch.rand(n, generator=rng)),
        torch.rand(n, 3, generator=rng),
    )


def _pixel_by_pixel(gaussians: Gaussians, camera: Camera, size: int, kernel: float) -> Tensor:
    """(size,size,4) the rendering equation as written in the paper, one pixel and one Gaussian at a time."""
    splats = project(gaussians, camera, size, kernel)
    order = torch.argsort(splats.depth).tolist()
    image = torch.zeros(size, size, 4)
    for row in range(size):
        for column in range(size):
            light = 1.0
            for g in order:
                d = torch.tensor([column + 0.5, row + 0.5]) - splats.center[g]
                xx, xy, yy = splats.conic[g].tolist()
                power = 0.5 * (xx * d[0] ** 2 + yy * d[1] ** 2) + xy * d[0] * d[1]
                alpha = min(0.999, float(splats.opacity[g] * torch.exp(-power)))
                if alpha < 1 / 255:
                    continue
                if light * (1 - alpha) < 1e-4:
                    break
                image[row, column, :3] += light * alpha * splats.color[g]
                light *= 1 - alpha
            image[row, column, 3] = 1 - light
    return image


def test_tiles_equal_the_rendering_equation() -> None:
    gaussians, camera = some_gaussians(60, scale=0.08, opacity=0.99), Camera.identity()
    color, alpha = render_gaussians(gaussians, camera, 20)
    expected = _pixel_by_pixel(gaussians, camera, 20, 0.1)
    torch.testing.assert_close(color, expected[..., :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(alpha, expected[..., 3], atol=1e-5, rtol=0)


def test_projected_covariance_is_that_of_projected_samples() -> None:
    gaussians, camera = some_gaussians(1, seed=4, scale=0.01), Camera.identity()
    rng = torch.Generator().manual_seed(1)
    axes = rotation_from_quaternion(gaussians.rotations)[0] * gaussians.scales[0]
    samples = gaussians.means + torch.randn(200_000, 3, generator=rng) @ axes.T
    pixels = camera.project(samples)[0] * 100
    covariance = torch.cov(pixels.T) + 0.1 * torch.eye(2)
    splats = project(gaussians, camera, 100)
    xx, xy, yy = splats.conic[0]
    torch.testing.assert_close(torch.stack([xx, xy, xy, yy]).view(2, 2).inverse(), covariance, rtol=0.02, atol=0.005)
    torch.testing.assert_close(splats.center[0], pixels.mean(0), rtol=0, atol=0.02)


def test_a_gaussian_smaller_than_a_pixel_keeps_its_light() -> None:
    tiny = Gaussians(
        torch.tensor([[0.0, 0.0, 2.0]]), torch.full((1, 3), 1e-3), torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1),
        torch.ones(1, 3),
    )  # fmt: skip
    splats = project(tiny, Camera.identity(), 64, kernel_size=0.3)
    xx, xy, yy = splats.conic[0].tolist()
    light = 2 * math.pi / math.sqrt(xx * yy - xy * xy) * float(splats.opacity)
    std = 1e-3 * Camera.identity().focal * 64 / 2
    assert light == pytest.approx(2 * math.pi * std**2, rel=1e-3)


def test_background_shows_through_and_hidden_colours_do_not() -> None:
    wall = Gaussians(
        torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 2.2]]), torch.full((2, 3), 0.5),
        torch.tensor([[1.0, 0, 0, 0]]).expand(2, 4), torch.tensor([1.0, 1.0]),
        torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]),
    )  # fmt: skip
    color, alpha = render_gaussians(wall, Camera.identity(), 16, background=torch.tensor([0.0, 0.0, 1.0]))
    # An opaque Gaussian, dimmed by the filter and met half a pixel beside its centre in x and y, lets 1.1 % through.
    alphas = []
    for depth in (2.0, 2.2):
        variance = (0.5 * 16 * Camera.identity().focal / depth) ** 2
        alphas.append(variance / (variance + 0.1) * math.exp(-0.25 / (variance + 0.1)))
    assert color[8, 8, 0].item() == pytest.approx(alphas[0], abs=1e-5)
    assert color[8, 8, 1].item() == pytest.approx((1 - alphas[0]) * alphas[1], abs=1e-5)
    torch.testing.assert_close(color.sum(-1), torch.ones(16, 16), atol=2e-3, rtol=0)
    empty, alpha = render_gaussians(replace(wall, means=-wall.means), Camera.identity(), 16)
    assert float(alpha.abs().max()) == 0 and float(empty.abs().max()) == 0


def test_gradients_match_finite_differences() -> None:
    camera = Camera.identity()
    fields = [t.double().requires_grad_() for t in vars(some_gaussians(5, seed=2, scale=0.15)).values()]
    target = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss(*values: Tensor) -> Tensor:
        color, alpha = render_gaussians(Gaussians(*values), camera, 8)
        return ((color - target) ** 2).sum() + (alpha**2).sum()

    # Cut-offs at 1/255 make tiny steps in the image; the step is small enough not to meet one here.
    assert torch.autograd.gradcheck(loss, fields, eps=1e-7, atol=1e-3, rtol=1e-3)


def test_opaque_tiles_are_cut_short_without_changing_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    gaussians = some_gaussians(600, seed=5, scale=0.1, opacity=0.99)
    short, _ = render_gaussians(gaussians, Camera.identity(), 24)
    monkeypatch.setattr("v2m4.render.gaussians._needed", lambda table, lists, across: lists.length)
    monkeypatch.setattr("v2m4.render.gaussians._LANES", 1 << 18)
    whole, _ = render_gaussians(gaussians, Camera.identity(), 24)
    torch.testing.assert_close(short, whole, atol=1e-6, rtol=0)


def test_gsplat_is_called_as_its_release_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1.5.3 refuses backgrounds in packed mode, which is its default."""

    def rasterization(
        means, quats, scales, opacities, colors, viewmats, Ks, width, height, *, near_plane, eps2d, backgrounds,
        rasterize_mode, packed=True,
    ):  # fmt: skip
        assert backgrounds is None or not packed
        assert width == height and near_plane == 0.2 and rasterize_mode == "antialiased"
        camera = Camera(viewmats[0])
        torch.testing.assert_close(Ks[0, 0, 0] / width, torch.tensor(camera.focal))
        given = Gaussians(means, scales, quats, opacities, colors)
        color, alpha = render_gaussians(given, camera, width, eps2d, backgrounds[0], "torch")
        return color[None], alpha[None, ..., None], {}

    package = ModuleType("gsplat")
    package.rasterization = rasterization  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat", package)
    monkeypatch.setattr("v2m4.render.gaussians.choose_backend", lambda backend, device: backend)
    scene, blue = some_gaussians(20), torch.tensor([0.0, 0.0, 1.0])
    ours, theirs = (
        render_gaussians(scene, Camera.identity(), 16, background=blue, backend=b) for b in ("torch", "gsplat")
    )
    torch.testing.assert_close(ours, theirs)


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(V2M4Error, match="CUDA only"):
        choose_backend("triton", torch.device("cpu"))
    with pytest.raises(V2M4Error, match="one camera"):
        render_gaussians(some_gaussians(2), Camera(torch.eye(4).expand(2, 4, 4)), 8)
