"""Rotations in the forms that are optimised."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def rotation_from_6d(d6: Tensor) -> Tensor:
    """Rotation matrices (…,3,3) of six numbers (…,6): two vectors, made orthonormal, are the first two rows.

    Continuous everywhere but for parallel vectors (Zhou et al. 2019).
    """
    a, b = d6[..., :3], d6[..., 3:]
    x = functional.normalize(a, dim=-1)
    y = functional.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-2)


def rotation_from_quaternion(q: Tensor) -> Tensor:
    """Rotation matrices (…,3,3) of quaternions (…,4), real part first, of any length but zero."""
    w, x, y, z = functional.normalize(q, dim=-1).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """Unit quaternions (…,4), real part first and not negative, of rotation matrices (…,3,3) (Shepperd 1978)."""
    diagonal = rotation.diagonal(dim1=-2, dim2=-1)
    trace = diagonal.sum(-1, keepdim=True)
    # Four times the squares; the largest of them is the safe one to divide by.
    squares = torch.cat([1 + trace, 1 - trace + 2 * diagonal], dim=-1).clamp_min(0)
    r = rotation
    w = [r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]]
    s = [r[..., 1, 0] + r[..., 0, 1], r[..., 2, 0] + r[..., 0, 2], r[..., 2, 1] + r[..., 1, 2]]
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], w[0], w[1], w[2]], dim=-1),
            torch.stack([w[0], squares[..., 1], s[0], s[1]], dim=-1),
            torch.stack([w[1], s[0], squares[..., 2], s[2]], dim=-1),
            torch.stack([w[2], s[1], s[2], squares[..., 3]], dim=-1),
        ],
        dim=-2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    q = functional.normalize(candidates.gather(-2, best)[..., 0, :], dim=-1)
    return torch.where(q[..., :1] < 0, -q, q)


def rotation_from_axis_angle(vector: Tensor) -> Tensor:
    """Rotation matrices (…,3,3) of vectors (…,3) along the axis, as long as the angle in radians (Rodrigues)."""
    square = (vector * vector).sum(-1)[..., None, None]
    small = square < 1e-8
    angle = torch.where(small, 1.0, square).sqrt()
    sine = torch.where(small, 1 - square / 6, angle.sin() / angle)
    cosine = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / angle**2)
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(*vector.shape[:-1], 3, 3)
    return torch.eye(3, dtype=vector.dtype, device=vector.device) + sine * cross + cosine * (cross @ cross)


def closest_rotation(matrix: Tensor) -> Tensor:
    """The rotation (…,3,3) R that maximises trace(R^T M), the orthogonal Procrustes problem; never a reflection (Kabsch
    1976, Umeyama 1991).

    On a GPU, whose singular value decompositions of many small matrices are slow and wait for the host, by quaternions.
    """
    if matrix.is_cuda:
        return closest_rotation_by_quaternion(matrix)
    u, _, vt = torch.linalg.svd(matrix)
    sign = torch.ones(*matrix.shape[:-1], dtype=matrix.dtype, device=matrix.device)
    sign[..., 2] = torch.linalg.det(u @ vt).sign()
    return (u * sign[..., None, :]) @ vt


_SQUARINGS = 20  # of a matrix, whose powers then point along its largest eigenvector to double precision
_SCALED_EVERY = 5  # a power 2^5 of numbers that add up to one stays within double precision's range


def closest_rotation_by_quaternion(matrix: Tensor) -> Tensor:
    """The same by multiplications alone: trace(R^T M) is a quadratic form of R's unit quaternion (Horn 1987), whose
    greatest eigenvector is what a shifted power of its matrix K maps everything to.

    K is squared so often that eigenvalues apart by more than a millionth of M's size are told apart; rotations that
    hardly differ in trace(R^T M) are not.
    """
    m = matrix.double()
    m = m / m.square().sum((-2, -1), keepdim=True).sqrt().clamp_min(1e-300)
    a, b, c = (m[..., i, i] for i in range(3))
    x, y, z = (m[..., j, i] - m[..., i, j] for i, j in ((1, 2), (2, 0), (0, 1)))  # what the turn's sine meets
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    rows = [a + b + c, x, y, z, x, a - b - c, xy, xz, y, xy, b - a - c, yz, z, xz, yz, c - a - b]
    # Eigenvalues lie within the square root of three of zero.
    power = torch.stack(rows, dim=-1).unflatten(-1, (4, 4)) + math.sqrt(3) * torch.eye(4, device=m.device).double()
    for squaring in range(_SQUARINGS):
        if squaring % _SCALED_EVERY == 0:
            power = power / power.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        power = (power[..., :, :, None] * power[..., None, :, :]).sum(-2)  # libraries are slow at many small products
    largest = power.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None].expand(*power.shape[:-1], 1)
    q = torch.nn.functional.normalize(power.gather(-1, largest)[..., 0], dim=-1)
    w, x, y, z = q.unbind(-1)
    turn = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(turn, dim=-1).unflatten(-1, (3, 3)).to(matrix.dtype)
