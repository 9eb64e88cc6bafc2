"""The plane of mirror symmetry of a shape: most things that move by themselves have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from torch import get_num_threads

from v2m4.arrays import Float64, Int64, Mask, Real
from v2m4.geometry.sampling import half_sphere_directions
from v2m4.settings import MirrorSearchSettings

_Plane = tuple[Float64, float]  # normal (3,) and offset
_Trial = tuple[float, Float64, float]  # a plane's error, normal (3,) and offset

_WORTH_SHARING = 8000  # points, whose search takes some milliseconds
_AT_ONCE = 200_000  # points of all planes together


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


def mirror_planes(points: Float64, settings: MirrorSearchSettings) -> list[MirrorPlane]:
    """Mirror planes of surface points (P,3) that differ in direction, the best one first."""
    cloud = _Cloud.of(points)
    some = np.asarray(cloud.tree.data)[:: max(1, len(points) // settings.points)]
    apart = np.cos(np.radians(settings.apart_deg))
    # 1. Neighbouring directions mostly lead to the same plane, so each start lies apart from those before.
    starts: list[_Trial] = []
    for start in _through_middle(cloud.tree, some, settings):
        if all(abs(start[1] @ other[1]) <= apart for other in starts):
            starts.append(start)
    # 2. Closest points, then small tilts and shifts.
    closest = _refined(cloud.tree, some, starts[: 2 * settings.planes], settings)
    refined = sorted((_polish(cloud.tree, some, each, settings) for each in closest), key=_error_of)
    # 3. What is left of those that ended at the same plane.
    spacing = float(cloud.tree.query(some, k=2)[0][:, 1].mean())
    planes: list[MirrorPlane] = []
    for error, normal, offset in refined:
        if all(abs(normal @ other.normal) <= apart for other in planes):
            whole = float(cloud.tree.query(_mirrored(some, normal, offset))[0].mean()) - spacing
            planes.append(MirrorPlane(normal, offset * cloud.scale + float(normal @ cloud.middle), error, whole))
    return planes[: settings.planes]


@dataclass(frozen=True)
class PlaneFound:
    """The best mirror plane of a shape. normal: (3,), of unit length. error: the mean distance of the points that have
    a counterpart to the mirror image, as a share of the points' spread; about 0.02 is a posed animal. rivalry: how many
    times that is the error of the best plane in another direction; 1 where a shape has several, or a round one any."""

    normal: Float64
    error: float
    rivalry: float


def mirror_plane(points: Float64, settings: MirrorSearchSettings) -> PlaneFound:
    """The best mirror plane of surface points (P,3).

    Of `mirror_planes` it has the first steps alone: for the best plane's normal they are enough.
    """
    tree = _Cloud.of(points).tree
    everything = np.asarray(tree.data)
    starts = _through_middle(tree, everything, settings)
    apart = np.cos(np.radians(settings.apart_deg))

    def best(starts: list[_Trial]) -> list[_Trial]:
        return sorted(_refined(tree, everything, starts[: settings.candidates], settings), key=_error_of)

    found = best(starts)[0]
    others = [start for start in starts if abs(start[1] @ found[1]) <= apart]
    # A rival that closest points lead back to the plane is none.
    rivals = [each for each in best(others) if abs(each[1] @ found[1]) <= apart] or others[:1]
    error, normal, _ = found
    return PlaneFound(normal, error, rivals[0][0] / max(error, 1e-9) if rivals else np.inf)


def _error_of(trial: _Trial) -> float:
    return trial[0]


@dataclass(frozen=True)
class _Cloud:
    """Points about their middle (3,), in units of their spread (scale)."""

    tree: cKDTree
    middle: Float64
    scale: float

    @staticmethod
    def of(points: Float64) -> _Cloud:
        middle = points.mean(axis=0)
        scale = float(np.sqrt(points.var(axis=0).sum())) + 1e-12
        return _Cloud(cKDTree((points - middle) / scale), middle, scale)


def _through_middle(tree: cKDTree, points: Float64, settings: MirrorSearchSettings) -> list[_Trial]:
    """The planes through the middle with normals from all over the half sphere, best first."""
    planes = [(normal, 0.0) for normal in half_sphere_directions(settings.directions)]
    return sorted(_errors(tree, points, planes, settings), key=_error_of)


def _polish(tree: cKDTree, points: Float64, start: _Trial, settings: MirrorSearchSettings) -> _Trial:
    """Tilts and shifts as long as one makes the error smaller, then ever smaller ones: on smooth surfaces closest
    points slide along and hardly pull."""
    best = start
    for halvings in range(settings.halvings + 1):
        step = settings.tilt / 2**halvings
        while True:
            _, normal, offset = best
            side = np.linalg.svd(normal[None])[2][1:]  # two directions within the plane
            tilted = [normal + sign * step * direction for direction in side for sign in (-1, 1)]
            trials = [(n / np.linalg.norm(n), offset) for n in tilted]
            trials += [(normal, offset + sign * step / 2) for sign in (-1, 1)]
            found = min(_errors(tree, points, trials, settings), key=_error_of)
            if found[0] >= best[0]:
                break
            best = found
    return best


def _mirrored(points: Real, normal: Float64, offset: float) -> Float64:
    result: Float64 = points - 2 * np.outer(points @ normal - offset, normal)
    return result


def _errors(tree: cKDTree, points: Float64, planes: Sequence[_Plane], settings: MirrorSearchSettings) -> list[_Trial]:
    found = []
    for start in range(0, len(planes), at_once := max(1, _AT_ONCE // len(points))):
        some = planes[start : start + at_once]
        for (normal, offset), gaps in zip(some, _counterparts(tree, points, some)[0], strict=True):
            error = float(np.sort(gaps)[: int(settings.kept * len(gaps))].mean())
            found.append((error, normal, offset))
    return found


def _counterparts(tree: cKDTree, points: Float64, planes: Sequence[_Plane]) -> tuple[Float64, Int64]:
    """(N,P) how far the mirror images of points (P,3) at N planes are from the nearest of the shape, and which."""
    images = np.concatenate([_mirrored(points, *plane) for plane in planes])
    workers = get_num_threads() if len(images) >= _WORTH_SHARING else 1
    gaps, mates = tree.query(images, workers=workers)
    return gaps.reshape(len(planes), -1), mates.reshape(len(planes), -1)


def _refined(tree: cKDTree, points: Float64, starts: Sequence[_Trial], settings: MirrorSearchSettings) -> list[_Trial]:
    """Iterated closest points from each start."""
    best, planes = [*starts], [(normal, offset) for _, normal, offset in starts]
    if not planes:
        return best
    for _ in range(settings.rounds):
        planes = [
            _closest_plane(points, np.asarray(tree.data)[mates], gaps <= np.quantile(gaps, settings.kept))
            for gaps, mates in zip(*_counterparts(tree, points, planes), strict=True)
        ]
        errors = _errors(tree, points, planes, settings)
        best = [min(pair, key=_error_of) for pair in zip(best, errors, strict=True)]
    return best


def _closest_plane(points: Float64, mates: Float64, kept: Mask) -> _Plane:
    """The plane whose mirror images of the ``kept`` of the points (P,3) lie closest to their mates (P,3)."""
    # Its normal n minimises sum (p.n)(q.n) about their common middle, which lies in the plane.
    p, q = points[kept], mates[kept]
    middle = (p + q).mean(axis=0) / 2
    cross = (p - middle).T @ (q - middle)
    normal = np.linalg.eigh(cross + cross.T)[1][:, 0]
    return normal, float(normal @ middle)
