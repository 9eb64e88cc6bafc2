"""The plane of mirror symmetry of a shape: most things that move by themselves have one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from v2m4.arrays import Float64, Real
from v2m4.geometry.sampling import half_sphere_directions
from v2m4.settings import MirrorSearchSettings

_Trial = tuple[float, Float64, float]  # a plane's error, normal (3,) and offset


_WORTH_SHARING = 8000  # points, whose search takes some milliseconds


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
    closest = (_refine(cloud.tree, some, start, settings) for start in starts[: 2 * settings.planes])
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
        refined = (_refine(tree, everything, start, settings) for start in starts[: settings.candidates])
        return sorted(refined, key=_error_of)

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
    return sorted(
        (_error(tree, points, normal, 0.0, settings) for normal in half_sphere_directions(settings.directions)),
        key=_error_of,
    )


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
            found = min((_error(tree, points, *trial, settings) for trial in trials), key=_error_of)
            if found[0] >= best[0]:
                break
            best = found
    return best


def _mirrored(points: Real, normal: Float64, offset: float) -> Float64:
    result: Float64 = points - 2 * np.outer(points @ normal - offset, normal)
    return result


def _error(tree: cKDTree, points: Float64, normal: Float64, offset: float, settings: MirrorSearchSettings) -> _Trial:
    gaps = np.sort(tree.query(_mirrored(points, normal, offset), workers=_workers(points))[0])
    return float(gaps[: int(settings.kept * len(gaps))].mean()), normal, offset


def _workers(points: Real) -> int:
    """Threads for a search for points (P,3): starting them takes longer than the search for few."""
    return -1 if len(points) >= _WORTH_SHARING else 1


def _refine(tree: cKDTree, points: Float64, start: _Trial, settings: MirrorSearchSettings) -> _Trial:
    """Iterated closest points."""
    best, (_, normal, offset) = start, start
    for _ in range(settings.rounds):
        gaps, mates = tree.query(_mirrored(points, normal, offset), workers=_workers(points))
        kept = gaps <= np.quantile(gaps, settings.kept)
        # The reflection that best maps points to their mates has the normal that minimises sum (p.n)(q.n) about their
        # common middle, which lies in the plane.
        p, q = points[kept], np.asarray(tree.data)[mates[kept]]
        middle = (p + q).mean(axis=0) / 2
        cross = (p - middle).T @ (q - middle)
        normal = np.linalg.eigh(cross + cross.T)[1][:, 0]
        offset = float(normal @ middle)
        best = min(best, _error(tree, points, normal, offset, settings), key=_error_of)
    return best
