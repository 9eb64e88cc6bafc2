"""The plane of mirror symmetry of a shape: most things that move by themselves have one."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from v2m4.arrays import Float64
from v2m4.geometry.sampling import half_sphere_directions

_DIRECTIONS = 150  # normals tried, spread over a half sphere
_CANDIDATES = 4  # of which the best are refined
_ROUNDS = 15
_KEPT = 0.7  # share of the points that must have a counterpart: limbs of a posed body have none


def mirror_plane(points: Float64) -> tuple[Float64, float]:
    """The unit normal (3,) of the best mirror plane of surface points (P,3), and its error as a share of their spread.

    The error is the mean distance of the best 70 % of the points to the mirror image; about 0.02 is a posed animal.
    """
    scale = float(np.sqrt(points.var(axis=0).sum())) + 1e-12
    centred = (points - points.mean(axis=0)) / scale
    tree = cKDTree(centred)
    found = [_error(tree, centred, normal, 0.0) for normal in half_sphere_directions(_DIRECTIONS)]
    best = sorted(found, key=lambda each: each[0])[:_CANDIDATES]
    refined = [_refine(tree, centred, normal, offset) for _, normal, offset in best]
    error, normal, _ = min(refined, key=lambda each: each[0])
    return normal, error


def _mirrored(points: Float64, normal: Float64, offset: float) -> Float64:
    result: Float64 = points - 2 * np.outer(points @ normal - offset, normal)
    return result


def _error(tree: cKDTree, points: Float64, normal: Float64, offset: float) -> tuple[float, Float64, float]:
    gaps = np.sort(tree.query(_mirrored(points, normal, offset))[0])
    return float(gaps[: int(_KEPT * len(gaps))].mean()), normal, offset


def _refine(tree: cKDTree, points: Float64, normal: Float64, offset: float) -> tuple[float, Float64, float]:
    """Iterated closest points."""
    best = _error(tree, points, normal, offset)
    for _ in range(_ROUNDS):
        gaps, mates = tree.query(_mirrored(points, normal, offset))
        kept = gaps <= np.quantile(gaps, _KEPT)
        # The reflection that best maps points to their mates has the normal that minimises sum (p.n)(q.n) about their
        # common middle, which lies in the plane.
        p, q = points[kept], points[mates[kept]]
        middle = (p + q).mean(axis=0) / 2
        cross = (p - middle).T @ (q - middle)
        normal = np.linalg.eigh(cross + cross.T)[1][:, 0]
        offset = float(normal @ middle)
        best = min(best, _error(tree, points, normal, offset), key=lambda each: each[0])
    return best
