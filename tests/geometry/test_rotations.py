"""Rotations in their several forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from v2m4.geometry.rotations import (
    closest_rotation,
    quaternion_from_rotation,
    rotation_from_6d,
    rotation_from_axis_angle,
    rotation_from_quaternion,
)

seeds = st.integers(0, 10**6)


def random_rotations(seed: int, count: int = 20) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return rotation_from_quaternion(torch.randn(count, 4, generator=rng, dtype=torch.float64))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_every_form_leads_back_to_the_same_rotation(seed):
    r = random_rotations(seed)
    torch.testing.assert_close(r @ r.mT, torch.eye(3, dtype=r.dtype).expand_as(r))
    torch.testing.assert_close(torch.linalg.det(r), torch.ones(20, dtype=r.dtype))
    torch.testing.assert_close(rotation_from_6d(r[:, :2].flatten(1)), r)
    torch.testing.assert_close(rotation_from_quaternion(quaternion_from_rotation(r)), r)
    vectors = torch.from_numpy(Rotation.from_matrix(r.numpy()).as_rotvec())
    torch.testing.assert_close(rotation_from_axis_angle(vectors), r)


@pytest.mark.parametrize("axis", [[1.0, 0, 0], [0.0, 1, 0], [0.0, 0, 1], [0.6, 0, 0.8]])
def test_half_turns_and_no_turn_at_all(axis):
    turn = torch.tensor(axis) * torch.pi
    rotation = rotation_from_axis_angle(turn)
    torch.testing.assert_close(rotation @ torch.tensor(axis), torch.tensor(axis))
    torch.testing.assert_close(rotation.trace(), torch.tensor(-1.0))
    assert (rotation_from_axis_angle(0 * turn) == torch.eye(3)).all()


def test_axis_angle_turns_counter_clockwise():
    quarter = rotation_from_axis_angle(torch.tensor([0.0, 0.0, torch.pi / 2]))
    torch.testing.assert_close(quarter @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


def test_axis_angle_has_a_gradient_at_zero():
    assert torch.autograd.gradcheck(
        rotation_from_axis_angle, torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    )


def test_the_closest_rotation_is_never_a_reflection():
    mirrored = random_rotations(3) @ torch.diag(torch.tensor([1.0, 1.0, -0.9], dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.det(closest_rotation(mirrored)), torch.ones(20, dtype=torch.float64))
