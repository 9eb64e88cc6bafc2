"""The descent on a texture: iterations that can be recorded, and what views touched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from v2m4.events import drain
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render import render
from v2m4.settings import OptimiseSettings
from v2m4.stages.texture import optimise
from v2m4.stages.texture.optimise import (
    Observation,
    StackedObservations,
    descend,
    look_around,
    observe,
    orbit,
    total_variation,
    touches,
    view_loss,
)

SETTINGS = OptimiseSettings(iterations=60, lr=0.05)


def some_observations(device: str = "cpu") -> list[Observation]:
    """Three of different lengths, of different colours."""
    rng = torch.Generator().manual_seed(0)

    def one(count: int, weight: float) -> Observation:
        colors = torch.rand(3, generator=rng).expand(count, 3).to(device)
        return Observation(torch.rand(count, 2, generator=rng).to(device), colors, weight)

    return [one(50, 1.0), one(200, 2.0), one(7, 1.0)]


def test_observations_made_equally_long_give_the_same_loss_and_slopes() -> None:
    observations = some_observations()
    stacked = StackedObservations.of(observations)
    texture = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for number, observation in enumerate(observations):
        values = view_loss(texture, observation, 0.0), stacked.difference(texture, torch.tensor([number]))
        torch.testing.assert_close(values[1], values[0])
        slopes = [torch.autograd.grad(value, texture)[0] for value in values]
        torch.testing.assert_close(slopes[1], slopes[0])


def both_descents(monkeypatch: pytest.MonkeyPatch, device: str) -> list[Tensor]:
    """The plain descent's texture on the CPU, and that of the iterations that can be recorded."""
    found = [drain(descend(some_observations(), 24, SETTINGS, torch.Generator().manual_seed(2)))]

    def recorded(texture: Tensor, observations: list[Observation], picks: Tensor, settings: OptimiseSettings):  # type: ignore[no-untyped-def]
        return optimise._recorded_descent(texture, StackedObservations.of(observations), picks, settings)

    monkeypatch.setattr(optimise, "_plain_descent", recorded)
    found.append(drain(descend(some_observations(device), 24, SETTINGS, torch.Generator().manual_seed(2))).cpu())
    return found


def test_iterations_that_can_be_recorded_end_where_the_plain_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, recorded = both_descents(monkeypatch, "cpu")
    assert (recorded - plain).abs().max() < 1e-3 < 0.2 < plain.max()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_recorded_iterations_end_where_the_plain_ones_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, recorded = both_descents(monkeypatch, "cuda")
    assert "could not be recorded" not in caplog.text
    assert (recorded - plain).abs().mean() < 1e-3  # Adam divides by slopes that may be rounding only


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shape", [(24, 31, 3), (300, 7, 4)])
def test_the_kernel_adds_the_slopes_of_the_total_variation(shape: tuple[int, ...]) -> None:
    from v2m4.stages.texture.variation_triton import add_variation_slopes

    texture = (torch.rand(shape, device="cuda") * 8).round().requires_grad_()  # with neighbours that are equal
    before, factor = torch.rand(shape, device="cuda"), torch.tensor([0.37], device="cuda")
    (expected,) = torch.autograd.grad(factor[0] * total_variation(texture), texture)
    found = before.clone()
    add_variation_slopes(texture.detach(), factor, found)
    torch.testing.assert_close(found - before, expected, rtol=1e-3, atol=2e-7)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_kernel_adds_the_slopes_of_the_difference() -> None:
    from v2m4.stages.texture.difference_triton import add_difference_slopes

    stacked = StackedObservations.of(some_observations("cuda"))
    stacked = replace(stacked, uv=3 * stacked.uv - 1)  # beyond the borders
    texture = torch.rand(24, 31, 3, device="cuda").requires_grad_()
    before = torch.rand_like(texture)
    for number in range(3):
        pick, found = torch.tensor([number], device="cuda"), before.detach().clone()
        (expected,) = torch.autograd.grad(stacked.difference(texture, pick), texture)
        add_difference_slopes(texture.detach(), stacked.uv, stacked.colors, stacked.share, pick, found)
        torch.testing.assert_close(found - before, expected, rtol=1e-3, atol=1e-6)


def test_looking_around_at_once_sees_what_single_pictures_show() -> None:
    vertices = torch.tensor([[-1.0, -1, 3], [1, -1, 3], [1, 1, 3.5], [-1, 1, 4], [0, 0, 2]])
    faces = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    mesh = Mesh(vertices, faces, colors=torch.rand(5, 3, generator=torch.Generator().manual_seed(0)))
    charted = Mesh(vertices, faces, vertices[:, :2] / 2 + 0.5, faces)
    cameras = orbit(vertices, 5, 2.0)
    found = look_around(mesh, charted, Camera(torch.stack([c.world_to_camera for c in cameras])), 40)
    assert len(found) == len(cameras)
    for camera, seen in zip(cameras, found, strict=True):
        image = render(mesh, camera, 40, ("mask", "color"), antialias=False)
        assert image.color is not None and image.mask is not None
        expected = observe(charted, camera, torch.cat([image.color[0], image.mask[0, ..., None]], -1), opaque=0.95)
        assert len(expected.uv) > 50
        torch.testing.assert_close(seen.uv, expected.uv)
        torch.testing.assert_close(seen.colors, expected.colors)


def test_touches_are_the_weights_of_bilinear_lookups() -> None:
    observations, side = some_observations(), 9
    expected = np.zeros((side, side))
    for u, v in torch.cat([o.uv for o in observations]).tolist():
        x, y = u * side - 0.5, v * side - 0.5
        for i in (int(np.floor(x)), int(np.floor(x)) + 1):
            for j in (int(np.floor(y)), int(np.floor(y)) + 1):
                expected[j % side, i % side] += abs(1 - abs(x - i)) * abs(1 - abs(y - j))
    found = touches(observations, side)
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-4)
