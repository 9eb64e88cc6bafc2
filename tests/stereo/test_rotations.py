"""Quaternions and matrices are two names of one rotation."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from v2m4.geometry import rotations
from v2m4.stereo.rotations import quaternion_from_rotation, rotation_from_quaternion

components = st.floats(-1, 1, allow_subnormal=False)
quaternions = st.tuples(components, components, components, components).filter(lambda q: sum(x * x for x in q) > 1e-2)


@given(quaternions)
def test_there_and_back_up_to_length_and_sign(numbers: tuple[float, ...]) -> None:
    quaternion = torch.tensor(numbers, dtype=torch.float64)
    back = quaternion_from_rotation(rotation_from_quaternion(quaternion))
    unit = quaternion / quaternion.norm()
    assert torch.allclose(back * torch.sign(back @ unit), unit, atol=1e-9)
    assert back.max() >= back.abs().max() - 1e-9


@given(quaternions, st.floats(0.1, 10))
def test_matrices_are_rotations_whatever_the_length(numbers: tuple[float, ...], length: float) -> None:
    quaternion = torch.tensor(numbers, dtype=torch.float64)
    matrix = rotation_from_quaternion(quaternion)
    assert torch.allclose(matrix @ matrix.T, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert torch.linalg.det(matrix) > 0
    assert torch.allclose(rotation_from_quaternion(quaternion * length), matrix, atol=1e-9)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    half = 0.5**0.5
    matrix = rotation_from_quaternion(torch.tensor([0.0, 0.0, half, half]))
    assert torch.allclose(matrix @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6)


def test_rotations_in_few_operations_are_those_of_the_formula() -> None:
    quaternion = torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.randn(20, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, known = rotation_from_quaternion(quaternion), rotations.rotation_from_quaternion(quaternion.roll(1, -1))
    torch.testing.assert_close(found, known)
    slopes = [torch.autograd.grad((r * weight).sum(), quaternion)[0] for r in (found, known)]
    torch.testing.assert_close(*slopes)
