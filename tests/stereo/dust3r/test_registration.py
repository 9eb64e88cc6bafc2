"""Closed forms recover what their input was made with."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.stereo.dust3r.scenes import wavy_scene
from v2m4.settings import Dust3rSettings
from v2m4.stereo.dust3r.registration import (
    camera_from_points,
    estimate_focal,
    signed_expm1,
    signed_log1p,
)


@given(st.floats(-50, 50))
def test_signed_logarithm_and_exponential_undo_each_other(x: float) -> None:
    value = torch.tensor(x, dtype=torch.float64)
    assert torch.allclose(signed_expm1(signed_log1p(value)), value, rtol=1e-9)
    assert torch.allclose(signed_log1p(-value), -signed_log1p(value))


def test_the_focal_length_is_read_off_a_point_map_with_outliers() -> None:
    scene = wavy_scene(2, seed=0)
    own = (scene.points[0] - scene.cameras[0][:3, 3]) @ scene.cameras[0][:3, :3]
    own[::7, ::5, :2] += 0.5
    assert float(estimate_focal(own, Dust3rSettings().focal_rounds)) == pytest.approx(scene.focal, rel=5e-3)


@pytest.mark.parametrize("known", [True, False])
def test_pnp_finds_the_camera_of_world_points(known: bool) -> None:
    scene = wavy_scene(3, seed=1, size=(160, 192), focal=208.0)
    mask = torch.ones(160, 192, dtype=torch.bool)
    found = camera_from_points(scene.points[2], mask, scene.focal if known else None, Dust3rSettings(pnp_draws=20))
    assert found is not None
    focal, camera = found
    # Tried focal lengths are 9 % apart, and the camera moves to make up for the difference.
    assert math.isclose(focal, scene.focal, rel_tol=1e-9 if known else 0.3)
    assert torch.allclose(camera, scene.cameras[2], atol=1e-3 if known else 0.6)


def test_pnp_gives_up_without_enough_points() -> None:
    mask = torch.zeros(20, 24, dtype=torch.bool)
    mask[0, :3] = True
    assert camera_from_points(wavy_scene(2, seed=1).points[0], mask, None, Dust3rSettings()) is None
