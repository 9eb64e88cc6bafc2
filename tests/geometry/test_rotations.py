"""Rotations in their several forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from v2m4.geometry.rotations import (
    closest_rotation,
    closest_rotation_by_quaternion,
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


def test_both_ways_to_the_closest_rotation_agree():
    rng = torch.Generator().manual_seed(0)
    flat = torch.randn(200, 3, 2, generator=rng) @ torch.randn(200, 2, 3, generator=rng)  # as of flat neighbourhoods
    nearly = rotation_from_axis_angle(torch.randn(3, generator=rng)) + 1e-3 * torch.randn(200, 3, 3, generator=rng)
    for matrices in (torch.randn(500, 3, 3, generator=rng), flat, nearly, 1e-12 * nearly, -nearly):
        found, expected = closest_rotation_by_quaternion(matrices), closest_rotation(matrices.double())
        torch.testing.assert_close(found @ found.mT, torch.eye(3).expand_as(found), rtol=0, atol=1e-5)
        assert bool((torch.linalg.det(found) > 0).all())
        reached, best = ((r.double() * matrices.double()).sum((1, 2)) for r in (found, expected))
        size = matrices.double().norm(dim=(1, 2))
        assert float(((best - reached) / size).abs().max()) < 1e-6
    clear = torch.linalg.svdvals(flat.double())[:, 1] > 0.05
    torch.testing.assert_close(
        closest_rotation_by_quaternion(flat)[clear], closest_rotation(flat.double())[clear].float(), rtol=0, atol=1e-5
    )
    for nothing in (torch.zeros(2, 3, 3), torch.diag(torch.tensor([1.0, 0, 0])).expand(2, 3, 3)):
        assert bool(closest_rotation_by_quaternion(nothing).isfinite().all())


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
