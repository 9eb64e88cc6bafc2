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

    @property
    def flaw(self) -> str | None:
        """What is wrong with it, as the end of a sentence on it; None if nothing is."""
        count = len(self.joints)
        if np.shape(self.joints) != (count, 3) or not count or not np.isfinite(self.joints).all():
            return "whose joints are no (N,3) finite numbers"
        if np.shape(self.parents) != (count,) or not all(-1 <= up < bone for bone, up in enumerate(self.parents)):
            return "in which a bone does not come after the one that it hangs on"
        if np.ndim(self.points) != 2 or np.shape(self.points)[1] != 3 or not np.isfinite(self.points).all():
            return "whose points are no (P,3) finite numbers"
        if np.shape(self.weights) != (len(self.points), count) or not np.isfinite(self.weights).all():
            return "whose weights are no (P,N) finite numbers"
        return None

    def carrying(self, most: int) -> Rig:
        """The same with at most ``most`` bones, of which each carries something: those that carry least give what they
        carry to the bone that they hang on, else to one that hangs on them, else to the nearest."""
        parents, weights = self.parents.copy(), self.weights.copy()
        kept = np.ones(len(parents), bool)
        while kept.sum() > 1:
            carried = np.where(kept, weights.sum(axis=0), np.inf)
            least = int(carried.argmin())
            if carried[least] > 0 and kept.sum() <= most:
                break
            children, heir = np.flatnonzero(kept & (parents == least)), int(parents[least])
            if heir < 0:  # the heaviest of those that hang on it stands in its place
                if len(children):
                    heir = int(children[weights[:, children].sum(axis=0).argmax()])
                    parents[heir] = -1
                else:
                    others = np.flatnonzero(kept & (np.arange(len(kept)) != least))
                    gaps = np.linalg.norm(self.joints[others] - self.joints[least], axis=1)
                    heir = int(others[gaps.argmin()])
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
