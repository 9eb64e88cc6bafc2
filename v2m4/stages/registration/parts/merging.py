"""Parts that a motion never bends against each other become one: fewer, truer joints, and less that can shake.

Pairs that hang on each other are joined, the cheapest first: what that costs is by how much worse one rigid motion fits
both than a motion of its own fits each (agglomeration after Ward 1963; residuals of Kabsch 1976 from sums that add up).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from v2m4.arrays import Float64, Int64
from v2m4.stages.registration.parts.pose_fit import Body
from v2m4.stages.registration.parts.skeleton import Skeleton


@dataclass(frozen=True)
class _Sums:
    """Of points at rest v and in T frames x, weighed by w: mass, w v (3,), w x (T,3), w x v^T (T,3,3), and w |v|^2 in
    all frames and w |x|^2."""

    mass: float
    rest: Float64
    moved: Float64
    products: Float64
    squares: float

    @staticmethod
    def of(weights: Float64, rest: Float64, moved: Float64) -> _Sums:
        squares = (weights * (rest**2).sum(axis=1)).sum() * len(moved) + np.einsum("v,tva,tva->", weights, moved, moved)
        weighed = weights[:, None] * rest
        products = np.einsum("tva,vb->tab", moved, weighed)
        return _Sums(
            float(weights.sum()), weighed.sum(axis=0), np.einsum("v,tva->ta", weights, moved), products, squares
        )

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.mass + other.mass,
            self.rest + other.rest,
            self.moved + other.moved,
            self.products + other.products,
            self.squares + other.squares,
        )

    def residual(self) -> float:
        """Squared distances that the best rigid motion of each frame leaves."""
        if self.mass <= 0:
            return 0.0
        covariance = self.products - self.moved[:, :, None] * self.rest / self.mass
        u, s, v = np.linalg.svd(covariance)
        fitted = s[:, 0] + s[:, 1] + s[:, 2] * np.sign(np.linalg.det(u @ v))
        middles = (len(self.moved) * self.rest @ self.rest + (self.moved**2).sum()) / self.mass
        return float(self.squares - middles - 2 * fitted.sum())


def merged(body: Body, shapes: Float64, most: int) -> tuple[Body, Int64]:
    """The body with at most ``most`` parts, by its motion through shapes (T,V,3); and (N,) the part that each of its
    parts went to."""
    count, parents = len(body.skeleton), body.skeleton.parents.copy()
    sums = [_Sums.of(body.weights[:, part], body.vertices, shapes) for part in range(count)]
    residuals = [each.residual() for each in sums]
    group, alive, costs = np.arange(count), set(range(count)), dict[int, float]()
    while len(alive) > max(most, 1):
        # 1. What it costs to join each part with the one that it hangs on.
        for part in alive - {0} - costs.keys():
            above = int(parents[part])
            costs[part] = (sums[part] + sums[above]).residual() - residuals[part] - residuals[above]
        # 2. The cheapest: what hung on it hangs on the other then.
        part = min(costs, key=lambda each: (costs[each], each))
        above = int(parents[part])
        sums[above] += sums[part]
        residuals[above] = sums[above].residual()
        parents[parents == part] = above
        group[group == part] = above
        alive.remove(part)
        costs = {each: cost for each, cost in costs.items() if above not in (each, parents[each]) and each != part}
    kept = np.array(sorted(alive))
    weights = np.stack([body.weights[:, group == part].sum(axis=1) for part in kept], axis=1)
    place = np.full(count, -1)
    place[kept] = np.arange(len(kept))
    hung = np.where(parents[kept] >= 0, place[parents[kept]], -1).astype(np.int64)
    return Body(Skeleton(hung, body.skeleton.joints[kept]), body.vertices, weights), place[group].astype(np.int64)
