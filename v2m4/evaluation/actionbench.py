"""CD-3D, CD-4D and CD-M: how near an animated mesh is to the true one, after the ActionBench protocol.

The truth is scaled into [-1,1]^3. Surfaces are sampled with points; the chamfer distance is the mean distance to the
nearest point, unsquared, summed over both directions. The prediction's scale, place and direction are unknown, so it is
aligned first: in every frame (CD-3D), or once in the first (CD-4D, CD-M). CD-M follows the same surface points through
time: pairs are made in the first frame, and their distance is averaged over all frames, so it measures motion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

from v2m4.arrays import Float64
from v2m4.evaluation.alignment import Alignment, iterative_closest_points
from v2m4.evaluation.surfaces import MovingMesh, MovingSurface

_QUERIES = 10_000  # points whose nearest ones are sought, of all: the protocol's


@dataclass(frozen=True)
class Distances:
    """Means over the frames, and cd_3d, cd_4d and normals of each frame; NaN where they were not asked for.

    normals: mean absolute cosine of the surfaces' normals at nearest points, both ways (Mescheder et al. 2019), after
    the alignment of cd_3d, or of cd_4d where each frame is not aligned on its own.
    """

    cd_3d: float
    cd_4d: float
    cd_m: float
    normals: float = float("nan")
    per_frame: Mapping[str, Sequence[float]] = field(default_factory=dict)


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
    """`compare_surfaces` of predicted vertices (T,V,3) with true ones (T,W,3), in any units and position."""
    ours = MovingMesh(predicted.double().numpy(), predicted_faces.numpy())
    theirs = MovingMesh(into_unit_box(truth.double().numpy()), truth_faces.numpy())
    return compare_surfaces(ours, theirs, per_axis=per_axis, every_frame=every_frame, points=points, seed=seed)


def compare_surfaces(
    predicted: MovingSurface,
    truth: MovingSurface,
    *,
    per_axis: bool = True,
    every_frame: bool = True,
    points: int = 100_000,
    seed: int = 0,
) -> Distances:
    """Distances of a moving surface from the true one, pose by pose, in the units of the truth.

    ``per_axis``: align with a scale per axis as ActionBench does; otherwise with one, which forgives less.
    ``every_frame``: also align each frame on its own, for CD-3D (slow). CD-M is NaN where the prediction's poses share
    no points, and so are normals where one side has none.
    """
    if len(predicted) != len(truth):
        raise ValueError(f"{len(predicted)} predicted poses cannot be compared with {len(truth)} true ones")
    rng = np.random.default_rng(seed)
    targets, moving = truth.follow(points, rng), predicted.follow(points, rng)
    if targets is None:
        raise ValueError("the truth's poses must share their points")

    first: Alignment | None = None
    own_cd, fixed, agreement = [], [], []
    for k, target in enumerate(targets):
        drawn = predicted.draw(k, points, rng)
        own = first
        if own is None or every_frame:
            own = iterative_closest_points(drawn.points, target.points, per_axis=per_axis, rng=rng)
            own_cd.append(chamfer(own(drawn.points), target.points, rng))
            first = first or own
        assert first is not None
        fixed.append(chamfer(first(drawn.points), target.points, rng))
        if drawn.normals is not None and target.normals is not None:
            turned = own.turn_normals(drawn.normals)
            agreement.append(normal_consistency(own(drawn.points), turned, target.points, target.normals))
    motion = float("nan")
    if moving is not None and first is not None:
        motion = motion_chamfer([first(cloud.points) for cloud in moving], [cloud.points for cloud in targets])
    rows = {"cd_3d": own_cd if every_frame else [], "cd_4d": fixed, "normals": agreement}
    means = {name: float(np.mean(row)) if row else float("nan") for name, row in rows.items()}
    return Distances(
        means["cd_3d"], means["cd_4d"], motion, means["normals"], {n: row for n, row in rows.items() if row}
    )


def chamfer(a: Float64, b: Float64, rng: np.random.Generator) -> float:
    """Mean distance from points of ``a`` to the nearest of ``b``, plus the other way round (10 000 queries each)."""
    some_a, some_b = (p[rng.permutation(len(p))[:_QUERIES]] for p in (a, b))
    return float(cKDTree(b).query(some_a)[0].mean() + cKDTree(a).query(some_b)[0].mean())


def normal_consistency(a: Float64, normals_a: Float64, b: Float64, normals_b: Float64) -> float:
    """Mean |cosine| of unit normals (N,3) at points (N,3) with those at the nearest of the other cloud, both ways."""
    a, normals_a, b, normals_b = (x[:_QUERIES] for x in (a, normals_a, b, normals_b))
    of_a, of_b = cKDTree(b).query(a)[1], cKDTree(a).query(b)[1]
    forth = np.abs((normals_a * normals_b[of_a]).sum(axis=1)).mean()
    return float((forth + np.abs((normals_b * normals_a[of_b]).sum(axis=1)).mean()) / 2)


def motion_chamfer(a: list[Float64], b: list[Float64]) -> float:
    """Mean distance over time of points paired as nearest in the first frame, summed over both directions."""
    of_b = cKDTree(a[0]).query(b[0])[1]
    of_a = cKDTree(b[0]).query(a[0])[1]
    forth = np.mean([np.linalg.norm(x[of_b] - y, axis=1).mean() for x, y in zip(a, b, strict=True)])
    back = np.mean([np.linalg.norm(x - y[of_a], axis=1).mean() for x, y in zip(a, b, strict=True)])
    return float(forth + back)


def into_unit_box(vertices: Float64) -> Float64:
    """Points (T,N,3), moved and scaled so that the box around all poses lies in [-1,1]^3, its longest side full."""
    low, high = vertices.min(axis=(0, 1)), vertices.max(axis=(0, 1))
    return (vertices - (low + high) / 2) * (2 / (high - low).max())
