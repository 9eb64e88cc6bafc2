"""Quaternions with their real part last, x, y, z, w: the form in which stereo models hold poses."""

from __future__ import annotations

from torch import Tensor

from v2m4.geometry import rotations


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """(..., 3, 3) rotations of quaternions (..., 4), x, y, z, w, of any length but zero."""
    return rotations.rotation_from_quaternion(quaternion.roll(1, -1))


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """(..., 4) unit quaternions x, y, z, w of rotations (..., 3, 3); the largest component is positive."""
    quaternion = rotations.quaternion_from_rotation(rotation).roll(-1, -1)
    largest = quaternion.gather(-1, quaternion.abs().argmax(-1, keepdim=True))
    return quaternion * largest.sign()
