"""What a stage adds to a motion must not shake it: the added shifts are smoothed over time as far as that needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import solveh_banded

from v2m4.arrays import Float64, Mask
from v2m4.settings import CalmingSettings

_LOOSE = 1e-6  # weight of every other frame's pose, against the anchor's, which stays


def calmed(
    motion: Float64,
    shifted: Float64,
    frames: Sequence[int],
    joined: Mask,
    anchor: int,
    settings: CalmingSettings,
    told: Mask | None = None,
) -> Float64:
    """Poses (K,V,3) of the ``frames`` (K,), ascending: ``shifted`` drawn back to ``motion``, both (K,V,3), until their
    mean acceleration is little above that of the motion.

    The shift d of a vertex minimises weight |d - given|^2 + strength |acceleration of d|^2 (Whittaker 1923), with the
    smallest strength of a doubling row that is calm enough. joined: (K,) poses whose motion goes on from the one
    before. anchor: place among them of the pose that stays as it is. told: (K,V) vertices whose place the picture
    tells, which weigh more.
    """
    second = _second_differences(frames, joined)
    if not len(second):
        return shifted
    allowed = settings.allowed * _shaking(second, motion)
    weight = np.ones(motion.shape[1::-1])  # (V,K)
    if told is not None:
        weight[told.T] = settings.told
    weight[:, anchor] = 1 / _LOOSE
    given = (weight[..., None] * (shifted - motion).swapaxes(0, 1)).reshape(-1, 3)  # (VK,3)
    stiff = second.T @ second
    # Vertices in a row, each a block of K unknowns with two diagonals above the main one.
    above = np.stack([np.concatenate([np.zeros(gap), np.diag(stiff, gap)]) for gap in (2, 1, 0)])  # (3,K)
    band = np.tile(above, len(weight))
    out, strength = shifted, settings.gentlest
    for _ in range(settings.doublings):
        if _shaking(second, out) <= allowed:
            break
        system = strength * band
        system[-1] += weight.ravel()
        shift = solveh_banded(system, given).reshape(*weight.shape, 3)
        out = motion + shift.swapaxes(0, 1)
        strength *= 2
    return out


def _shaking(second: Float64, poses: Float64) -> float:
    """Mean length of the accelerations of poses (K,V,3)."""
    changes = (second @ poses.reshape(len(poses), -1)).reshape(-1, poses.shape[1], 3)
    return float(np.linalg.norm(changes, axis=2).mean())


def _second_differences(frames: Sequence[int], joined: Mask) -> Float64:
    """(R,K) second differences at the poses whose neighbours on both sides belong to one motion, divided by the steps
    between their frames."""
    middles = [k for k in range(1, len(frames) - 1) if joined[k] and joined[k + 1]]
    out = np.zeros((len(middles), len(frames)))
    for row, k in enumerate(middles):
        before, after = frames[k] - frames[k - 1], frames[k + 1] - frames[k]
        out[row, k - 1 : k + 2] = np.array([1 / before, -1 / before - 1 / after, 1 / after]) * 2 / (before + after)
    return out
