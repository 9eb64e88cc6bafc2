"""Quaternions with their real part last, x, y, z, w: the form in which stereo models hold poses."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from v2m4.geometry import rotations

# The nine entries of a rotation as sums of products of a unit quaternion's x, y, z, w: (left, right, entry) -> factor.
_PRODUCTS = {
    **{(i, i, 4 * j): 1.0 if i in (j, 3) else -1.0 for i in range(4) for j in range(3)},
    (0, 1, 1): 2.0,
    (0, 1, 3): 2.0,
    (0, 2, 2): 2.0,
    (0, 2, 6): 2.0,
    (1, 2, 5): 2.0,
    (1, 2, 7): 2.0,
    (2, 3, 1): -2.0,
    (2, 3, 3): 2.0,
    (1, 3, 2): 2.0,
    (1, 3, 6): -2.0,
    (0, 3, 5): -2.0,
    (0, 3, 7): 2.0,
}


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """(..., 3, 3) rotations of quaternions (..., 4), x, y, z, w, of any length but zero.

    In few operations, since descent on a GPU takes hundreds of steps on a few dozen poses.
    """
    unit = functional.normalize(quaternion, dim=-1)
    products = (unit[..., :, None] * unit[..., None, :]).flatten(-2)  # (...,16)
    return (products[..., None] * _factors(products.device, products.dtype)).sum(-2).unflatten(-1, (3, 3))


@cache
def _factors(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(16,9): `_PRODUCTS`."""
    factors = torch.zeros(4, 4, 9, dtype=dtype)
    for place, factor in _PRODUCTS.items():
        factors[place] = factor
    return factors.flatten(0, 1).to(device)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """(..., 4) unit quaternions x, y, z, w of rotations (..., 3, 3); the largest component is positive."""
    quaternion = rotations.quaternion_from_rotation(rotation).roll(-1, -1)
    largest = quaternion.gather(-1, quaternion.abs().argmax(-1, keepdim=True))
    return quaternion * largest.sign()
