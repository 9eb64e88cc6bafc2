"""CD-3D, CD-4D and CD-M: how near an animated mesh is to the true one, after the ActionBench protocol.

The truth is scaled into [-1,1]^3. Surfaces are sampled with points; the chamfer distance is the mean distance to the
nearest point, unsquared, summed over both directions. The prediction's scale, place and direction are unknown, so it is
aligned first: in every frame (CD-3D), or once in the first (CD-4D, CD-M). CD-M follows the same surface points through
time: pairs are made in the first frame, and their distance is averaged over all frames, so it measures motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

from v2m4.arrays import Float64, Int64
from v2m4.evaluation.alignment import Alignment, iterative_closest_points
from v2m4.geometry.sampling import draw_surface

_QUERIES = 10_000


@dataclass(frozen=True)
class Distances:
    """cd_3d is NaN if it was not asked for."""

    cd_3d: float
    cd_4d: float
    cd_m: float


@dataclass(frozen=True)
class SurfacePoints:
    """Float64 that stick to the surface: the face and the barycentric weights (N,3) of each."""

    face: Int64
    weights: Float64

    @staticmethod
    def draw(vertices: Float64, faces: Int64, count: int, rng: np.random.Generator) -> SurfacePoints:
        """``count`` points, evenly over the area of the mesh."""
        return SurfacePoints(*draw_surface(vertices, faces, count, rng))

    def on(self, vertices: Float64, faces: Int64) -> Float64:
        """Where the points are on vertices (V,3)."""
        return np.einsum("nk,nkc->nc", self.weights, vertices[faces[self.face]])


def compare_motion(
    predicted: Tensor,
    predicted_faces: Tensor,
    truth: Tensor,
    truth_faces: Tensor,
    *,
    per_axis: bool = True,
    every_frame: bool = True,
    points: int = 100_000,
    seed: int = 0,
) -> Distances:
    """Distances of predicted vertices (T,V,3) from true ones (T,W,3), frame by frame, in any units and position.

    ``per_axis``: align with a scale per axis as ActionBench does; otherwise with one, which forgives less.
    ``every_frame``: also align each frame on its own, for CD-3D (slow).
    """
    if len(predicted) != len(truth):
        raise ValueError(f"{len(predicted)} predicted poses cannot be compared with {len(truth)} true ones")
    rng = np.random.default_rng(seed)
    ours, theirs = predicted.double().numpy(), _into_unit_box(truth.double().numpy())
    our_faces, their_faces = predicted_faces.numpy(), truth_faces.numpy()
    on_truth = SurfacePoints.draw(theirs[0], their_faces, points, rng)
    tracked = SurfacePoints.draw(ours[0], our_faces, points, rng)

    def fresh(k: int) -> Float64:
        return SurfacePoints.draw(ours[k], our_faces, points, rng).on(ours[k], our_faces)

    first: Alignment | None = None
    per_frame, fixed = [], []
    for k in range(len(theirs)):
        cloud, target = fresh(k), on_truth.on(theirs[k], their_faces)
        if first is None or every_frame:
            own = iterative_closest_points(cloud, target, per_axis=per_axis, rng=rng)
            per_frame.append(chamfer(own(cloud), target, rng))
            first = first or own
        fixed.append(chamfer(first(cloud), target, rng))
    assert first is not None
    moving = [first(tracked.on(v, our_faces)) for v in ours]
    motion = motion_chamfer(moving, [on_truth.on(v, their_faces) for v in theirs])
    return Distances(float(np.mean(per_frame)) if every_frame else float("nan"), float(np.mean(fixed)), motion)


def chamfer(a: Float64, b: Float64, rng: np.random.Generator) -> float:
    """Mean distance from points of ``a`` to the nearest of ``b``, plus the other way round (10 000 queries each)."""
    some_a, some_b = (p[rng.permutation(len(p))[:_QUERIES]] for p in (a, b))
    return float(cKDTree(b).query(some_a)[0].mean() + cKDTree(a).query(some_b)[0].mean())


def motion_chamfer(a: list[Float64], b: list[Float64]) -> float:
    """Mean distance over time of points paired as nearest in the first frame, summed over both directions."""
    of_b = cKDTree(a[0]).query(b[0])[1]
    of_a = cKDTree(b[0]).query(a[0])[1]
    forth = np.mean([np.linalg.norm(x[of_b] - y, axis=1).mean() for x, y in zip(a, b, strict=True)])
    back = np.mean([np.linalg.norm(x - y[of_a], axis=1).mean() for x, y in zip(a, b, strict=True)])
    return float(forth + back)


def _into_unit_box(vertices: Float64) -> Float64:
    low, high = vertices.min(axis=(0, 1)), vertices.max(axis=(0, 1))
    return (vertices - (low + high) / 2) * (2 / (high - low).max())
