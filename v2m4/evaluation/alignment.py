"""Iterative closest points: the similarity, or scaled rotation, that lays one point cloud on another.

Besl and McKay 1992, with closest points in both directions and, in every step, the best transform for fixed pairs in
closed form (Umeyama 1991).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree

from v2m4.arrays import Float64
from v2m4.geometry.rotations import closest_rotation

_COARSE, _MIDDLE = 400, 2000  # points at first, from all starts, and then
_ROUNDS = (15, 40, 60)  # of closest points: with as many, with more, and with all
_SURVIVORS = 5  # starts that go on after the first
_SCALE_LIMIT = 5.0  # factor by which an axis may differ from the usual scale: flat shapes would be stretched at will


@dataclass(frozen=True)
class Alignment:
    """x -> rotation @ (scale * x) + shift, with one scale per axis of x."""

    rotation: Float64
    scale: Float64
    shift: Float64

    def __call__(self, points: Float64) -> Float64:
        """Map (…,3) points."""
        return (points * self.scale) @ self.rotation.T + self.shift

    def turn_normals(self, normals: Float64) -> Float64:
        """Map unit normals (…,3): the inverse transpose, made unit again."""
        turned = (normals / self.scale) @ self.rotation.T
        return turned / np.maximum(np.linalg.norm(turned, axis=-1, keepdims=True), 1e-20)


def iterative_closest_points(
    source: Float64, target: Float64, *, per_axis: bool, rng: np.random.Generator, count: int = 10_000
) -> Alignment:
    """The transform of ``source`` (N,3) that is closest to ``target`` (M,3) in the symmetric squared chamfer distance.

    ``per_axis``: a scale for each axis of the source instead of one. Starts from the 24 rotations of a cube and those
    turned by 45 degrees about y, with equal centres and sizes; the best go on with more points, at last ``count``.
    """
    x, y = (p[rng.permutation(len(p))] for p in (source, target))
    ratio = math.sqrt(y.var(axis=0).sum() / max(x.var(axis=0).sum(), 1e-20))
    starts = []
    for rotation in _start_rotations():
        scale = np.full(3, ratio)
        starts.append(Alignment(rotation, scale, y.mean(0) - rotation @ (scale * x.mean(0))))
    ranked = _refine_all(starts, x[:_COARSE], y[:_COARSE], False, _ROUNDS[0])
    ranked = _refine_all([a for _, a in ranked[:_SURVIVORS]], x[:_MIDDLE], y[:_MIDDLE], False, _ROUNDS[1])
    best = _refine_all([a for _, a in ranked[:2]], x[:count], y[:count], False, _ROUNDS[2])[0]
    if not per_axis:
        return best[1]
    stretched = _refine_all([a for _, a in ranked[:3]], x[:_MIDDLE], y[:_MIDDLE], True, _ROUNDS[1])
    return _refine_all([stretched[0][1], best[1]], x[:count], y[:count], True, _ROUNDS[2])[0][1]


def _start_rotations() -> list[Float64]:
    cube = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                cube.append(matrix)
    h = math.sqrt(0.5)
    eighth = np.array([[h, 0, h], [0, 1, 0], [-h, 0, h]])
    return cube + [eighth @ r for r in cube]


def _refine_all(
    starts: list[Alignment], x: Float64, y: Float64, per_axis: bool, steps: int
) -> list[tuple[float, Alignment]]:
    tree = cKDTree(y)
    return sorted((_refine(start, x, y, tree, per_axis, steps) for start in starts), key=lambda pair: pair[0])


def _refine(
    start: Alignment, x: Float64, y: Float64, tree: cKDTree, per_axis: bool, steps: int
) -> tuple[float, Alignment]:
    """(loss, transform) after at most ``steps`` iterations from ``start``."""
    now, best, least = start, start, math.inf
    weights = np.concatenate([np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))])
    for _ in range(steps + 1):
        moved = now(x)
        forth, nearest_y = tree.query(moved)
        back, nearest_x = cKDTree(moved).query(y)
        loss = float((forth**2).mean() + (back**2).mean())
        if loss >= least * (1 - 1e-5):
            break
        best, least = now, loss
        pairs = np.concatenate([x, x[nearest_x]]), np.concatenate([y[nearest_y], y])
        now = _stretched_fit(*pairs, weights, now) if per_axis else _similarity_fit(*pairs, weights)
    return least, best


def _rotation_fit(a: Float64, b: Float64, weights: Float64) -> tuple[Float64, float]:
    """The rotation of centred points a towards b, and the best scale with it."""
    covariance = (b * weights[:, None]).T @ a
    rotation = closest_rotation(torch.from_numpy(covariance)).numpy()
    return rotation, float((rotation * covariance).sum() / max(weights @ (a**2).sum(axis=1), 1e-20))


def _similarity_fit(a: Float64, b: Float64, weights: Float64) -> Alignment:
    normalised = weights / weights.sum()
    centre_a, centre_b = normalised @ a, normalised @ b
    rotation, scale = _rotation_fit(a - centre_a, b - centre_b, weights)
    return Alignment(rotation, np.full(3, scale), centre_b - scale * rotation @ centre_a)


def _stretched_fit(a: Float64, b: Float64, weights: Float64, now: Alignment) -> Alignment:
    """Scales and rotation in turns: each has a closed form while the other is fixed."""
    normalised = weights / weights.sum()
    centre_a, centre_b = normalised @ a, normalised @ b
    a0, b0, rotation, scale = a - centre_a, b - centre_b, now.rotation, now.scale
    typical = scale.mean()
    for _ in range(3):
        turned_back = b0 @ rotation
        scale = (normalised @ (a0 * turned_back)) / np.maximum(normalised @ a0**2, 1e-20)
        scale = scale.clip(typical / _SCALE_LIMIT, typical * _SCALE_LIMIT)
        rotation, _ = _rotation_fit(a0 * scale, b0, weights)
    return Alignment(rotation, scale, centre_b - rotation @ (scale * centre_a))
