"""Closed forms recover what their input was made with."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.stereo.dust3r.scenes import wavy_scene
from v2m4.stereo.dust3r.registration import (
    camera_from_points,
    estimate_focal,
    fit_similarity,
    signed_expm1,
    signed_log1p,
)
from v2m4.stereo.rotations import rotation_from_quaternion


@pytest.mark.parametrize("seed", range(4))
def test_the_similarity_between_two_clouds_is_found_exactly(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(3, 50, 3, generator=generator)
    rotation = rotation_from_quaternion(torch.randn(3, 4, generator=generator))
    scale, shift = torch.rand(3, generator=generator) + 0.2, torch.randn(3, 3, generator=generator)
    target = scale[:, None, None] * source @ rotation.transpose(1, 2) + shift[:, None]
    fit = fit_similarity(source, target, torch.rand(3, 50, generator=generator) + 0.1)
    assert torch.allclose(fit.rotation, rotation, atol=1e-5)
    assert torch.allclose(fit.scale, scale, atol=1e-5)
    assert torch.allclose(fit.translation, shift, atol=1e-5)


def test_points_without_weight_do_not_count() -> None:
    source = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    target = 2 * source + 1
    target[30:] = 100
    weights = torch.ones(40)
    weights[30:] = 1e-12
    assert torch.allclose(fit_similarity(source, target, weights).apply(source)[:30], target[:30], atol=1e-4)


def test_a_reflection_is_not_taken_for_a_rotation() -> None:
    source = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    fit = fit_similarity(source, source * torch.tensor([1.0, 1.0, -1.0]), torch.ones(40))
    assert torch.linalg.det(fit.rotation) > 0


@given(st.floats(-50, 50))
def test_signed_logarithm_and_exponential_undo_each_other(x: float) -> None:
    value = torch.tensor(x, dtype=torch.float64)
    assert torch.allclose(signed_expm1(signed_log1p(value)), value, rtol=1e-9)
    assert torch.allclose(signed_log1p(-value), -signed_log1p(value))


def test_the_focal_length_is_read_off_a_point_map_with_outliers() -> None:
    scene = wavy_scene(2, seed=0)
    own = (scene.points[0] - scene.cameras[0][:3, 3]) @ scene.cameras[0][:3, :3]
    own[::7, ::5, :2] += 0.5
    assert float(estimate_focal(own)) == pytest.approx(scene.focal, rel=5e-3)


@pytest.mark.parametrize("known", [True, False])
def test_pnp_finds_the_camera_of_world_points(known: bool) -> None:
    scene = wavy_scene(3, seed=1, size=(160, 192), focal=208.0)
    mask = torch.ones(160, 192, dtype=torch.bool)
    found = camera_from_points(scene.points[2], mask, scene.focal if known else None, iterations=20)
    assert found is not None
    focal, camera = found
    # Tried focal lengths are 9 % apart, and the camera moves to make up for the difference.
    assert math.isclose(focal, scene.focal, rel_tol=1e-9 if known else 0.3)
    assert torch.allclose(camera, scene.cameras[2], atol=1e-3 if known else 0.6)


def test_pnp_gives_up_without_enough_points() -> None:
    mask = torch.zeros(20, 24, dtype=torch.bool)
    mask[0, :3] = True
    assert camera_from_points(wavy_scene(2, seed=1).points[0], mask, None, iterations=5) is None
