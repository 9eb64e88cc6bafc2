"""The plane of mirror symmetry of a shape: most things that move by themselves have one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from v2m4.arrays import Float64, Real
from v2m4.geometry.sampling import half_sphere_directions

_DIRECTIONS = 150  # normals tried, spread over a half sphere
_CANDIDATES = 4  # of which the best are refined
_ROUNDS = 15
_KEPT = 0.7  # share of the points that must have a counterpart: limbs of a posed body have none


_TILTS = (0.1, 0.05, 0.025, 0.0125)  # radians, by which a plane found is improved
_APART_DEG = 25.0  # planes closer than this count as one


@dataclass(frozen=True)
class MirrorPlane:
    """The plane of points x with normal (3,) . x = offset. error: as `mirror_plane` measures it; whole_error: the same
    over all points, less how far neighbouring points lie apart. It tells planes apart that differ in small parts only,
    a nose or a fin."""

    normal: Float64
    offset: float
    error: float
    whole_error: float

    def mirrored(self, points: Real) -> Real:
        """The mirror images of points (N,3)."""
        return _mirrored(points, self.normal, self.offset)

    def turned(self, directions: Real) -> Real:
        """The mirror images of directions (N,3)."""
        return _mirrored(directions, self.normal, 0.0)


def mirror_planes(points: Float64, most: int = 3, asked: int = 1500) -> list[MirrorPlane]:
    """Up to ``most`` mirror planes of surface points (P,3) that differ in direction, the best one first.

    About ``asked`` of the points are mirrored; all of them count as places where an image may lie.
    """
    middle = points.mean(axis=0)
    scale = float(np.sqrt(points.var(axis=0).sum())) + 1e-12
    tree = cKDTree((points - middle) / scale)
    some = np.asarray(tree.data)[:: max(1, len(points) // asked)]
    found = sorted((_error(tree, some, n, 0.0) for n in half_sphere_directions(_DIRECTIONS)), key=lambda each: each[0])
    apart = np.cos(np.radians(_APART_DEG))
    # Neighbouring directions mostly lead to the same plane, so each start lies apart from those before.
    starts: list[tuple[float, Float64, float]] = []
    for start in found:
        if all(abs(start[1] @ other[1]) <= apart for other in starts):
            starts.append(start)
    closest = (_refine(tree, some, normal, offset) for _, normal, offset in starts[: 2 * most])
    refined = sorted((_polish(tree, some, each) for each in closest), key=lambda each: each[0])
    spacing = float(tree.query(some, k=2)[0][:, 1].mean())
    planes: list[MirrorPlane] = []
    for error, normal, offset in refined:
        if all(abs(normal @ other.normal) <= apart for other in planes):
            whole = float(tree.query(_mirrored(some, normal, offset))[0].mean()) - spacing
            planes.append(MirrorPlane(normal, offset * scale + float(normal @ middle), error, whole))
    return planes[:most]


def _polish(tree: cKDTree, points: Float64, start: tuple[float, Float64, float]) -> tuple[float, Float64, float]:
    """Tilts and shifts as long as one makes the error smaller, then ever smaller ones: on smooth surfaces closest
    points slide along and hardly pull."""
    best = start
    for step in _TILTS:
        while True:
            _, normal, offset = best
            side = np.linalg.svd(normal[None])[2][1:]  # two directions within the plane
            tilted = [normal + sign * step * direction for direction in side for sign in (-1, 1)]
            trials = [(n / np.linalg.norm(n), offset) for n in tilted]
            trials += [(normal, offset + sign * step / 2) for sign in (-1, 1)]
            found = min((_error(tree, points, *trial) for trial in trials), key=lambda each: each[0])
            if found[0] >= best[0]:
                break
            best = found
    return best


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


def _mirrored(points: Real, normal: Float64, offset: float) -> Float64:
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
        p, q = points[kept], np.asarray(tree.data)[mates[kept]]
        middle = (p + q).mean(axis=0) / 2
        cross = (p - middle).T @ (q - middle)
        normal = np.linalg.eigh(cross + cross.T)[1][:, 0]
        offset = float(normal @ middle)
        best = min(best, _error(tree, points, normal, offset), key=lambda each: each[0])
    return best
