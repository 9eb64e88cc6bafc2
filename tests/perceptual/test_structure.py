"""The weight-free image distance tells right poses from wrong ones, whatever the light, and has gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.stages.camera.known_cameras import orbit, painted_creature
from v2m4.geometry.camera import Camera
from v2m4.perceptual import PERCEPTUALS
from v2m4.perceptual.structure import Structure
from v2m4.render import render_fast


def views(yaws: list[float], size: int = 112) -> Tensor:
    """(N,S,S,3) pictures of the creature on black."""
    cameras = torch.stack([orbit(y, 15, 2.2).world_to_camera for y in yaws])
    return render_fast(painted_creature(), Camera(cameras), size, ("color",), supersample=2).color


def test_equal_pictures_are_at_distance_zero() -> None:
    pictures = views([0, 90])
    distance = Structure()
    assert float(distance(distance.prepare(pictures[0]), pictures)[0]) < 1e-3


def test_the_further_the_camera_the_larger_the_distance() -> None:
    pictures = views([30, 33, 40, 55, 80])
    distance = Structure()
    found = distance(distance.prepare(pictures[0]), pictures).tolist()
    assert found == sorted(found)


def test_front_and_back_with_nearly_the_same_outline_are_told_apart() -> None:
    pictures = views([90, 270])
    mirrored = pictures[1].flip(1)  # the far side's outline is the mirrored near side's
    distance = Structure()
    found = distance(distance.prepare(pictures[0]), torch.stack([pictures[0], mirrored]))
    assert float(found[1]) > float(found[0]) + 0.05


def test_light_matters_less_than_pose() -> None:
    pictures = views([30, 50])
    shade = torch.linspace(1.2, 0.5, pictures.shape[1])[None, :, None]
    distance = Structure()
    lit, turned = distance(distance.prepare((pictures[0] * shade).clamp(0, 1)), pictures).tolist()
    assert lit < 0.5 * turned


def test_gradients_are_finite_and_predict_the_change() -> None:
    pictures = views([30, 40], size=64)
    distance = Structure()
    prepared = distance.prepare(pictures[0])
    image = pictures[1:].clone().requires_grad_()
    value = distance(prepared, image)
    (gradient,) = torch.autograd.grad(value.sum(), image)
    assert bool(torch.isfinite(gradient).all())
    inside = (
        image.detach().amin(-1, keepdim=True) > 0.05
    ).float()  # the background's black is a corner of the function
    step = 1e-3 * inside * gradient / (inside * gradient).abs().max()
    change = float(distance(prepared, (image - step).detach()) - value.detach())
    assert change == pytest.approx(-float((gradient * step).sum()), rel=0.3)


def test_an_empty_rendering_is_far_but_finite() -> None:
    picture = views([30])
    distance = Structure()
    value = float(distance(distance.prepare(picture[0]), torch.zeros_like(picture)))
    assert value == pytest.approx(value) and value > 0.3


def test_the_plug_can_always_run() -> None:
    assert PERCEPTUALS["structure"].missing() == []
    assert isinstance(PERCEPTUALS["structure"].create(device="cpu"), Structure)
