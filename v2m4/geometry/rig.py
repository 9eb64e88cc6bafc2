"""The skeleton and skin that a mesh was brought with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from v2m4.arrays import Float64, Int64


@dataclass(frozen=True)
class Rig:
    """N bones. parents: (N,) each one's, which comes before it, -1 for those that hang on none. joints: (N,3) where it
    turns. points: (P,3) of the surface, and weights: (P,N) which bones carry them; rows sum to one."""

    parents: Int64
    joints: Float64
    points: Float64
    weights: Float64

    def transformed(self, matrix: Float64) -> Rig:
        """The same under a (4,4) affine transform."""
        turn, shift = matrix[:3, :3].T, matrix[:3, 3]
        return replace(self, joints=self.joints @ turn + shift, points=self.points @ turn + shift)

    def carrying(self, most: int) -> Rig:
        """The same with at most ``most`` bones, of which each carries something: those that carry least give what they
        carry to the bone that they hang on, or to one that hangs on them."""
        parents, weights = self.parents.copy(), self.weights.copy()
        kept = np.ones(len(parents), bool)
        while kept.sum() > 1:
            carried = np.where(kept, weights.sum(axis=0), np.inf)
            least = int(carried.argmin())
            if carried[least] > 0 and kept.sum() <= most:
                break
            children, heir = np.flatnonzero(kept & (parents == least)), int(parents[least])
            if heir < 0:  # the heaviest of those that hang on it stands in its place
                if not len(children):
                    kept[least] = False
                    continue
                heir = int(children[weights[:, children].sum(axis=0).argmax()])
                parents[heir] = -1
            weights[:, heir] += weights[:, least]
            parents[children[children != heir]] = heir
            kept[least] = False
        return self._only(kept, parents, weights)

    def _only(self, kept: Int64, parents: Int64, weights: Float64) -> Rig:
        """The kept bones (N,), with other parents (N,) and weights (P,N), in an order in which parents come first."""
        order, waiting = list[int](), np.flatnonzero(kept).tolist()
        while waiting:
            ready = [bone for bone in waiting if parents[bone] < 0 or int(parents[bone]) in order]
            order += ready
            waiting = [bone for bone in waiting if bone not in ready]
        place = {bone: number for number, bone in enumerate(order)}
        renamed = np.array([place.get(int(parents[bone]), -1) for bone in order], np.int64)
        total = weights[:, order].sum(axis=1, keepdims=True)
        return Rig(renamed, self.joints[order], self.points, weights[:, order] / np.maximum(total, 1e-12))
