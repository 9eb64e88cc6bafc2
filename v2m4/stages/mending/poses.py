"""Poses without torn places.

A mesh that follows a video is drawn after what its pixels seem to tell: where limbs cross or come out from behind
others, single faces are drawn out to streaks or turn over. What happened to their surroundings is told by far more
pixels. So torn places are let go and completed from around them, as rigid as possible, ever wider, until nothing is
torn. Then the outline draws the whole, smoothly, to the frame again: where a limb has to be longer, all of it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from v2m4.arrays import Float64, Int64, Mask
from v2m4.events import Progress, StageRun
from v2m4.geometry.rigid_completion import RigidCompletion
from v2m4.geometry.strain import FaceStrain
from v2m4.settings import MendingSettings

Fit = Callable[[Float64, int], Float64]
"""Draws a pose (V,3) to the outline in the frame of that number."""


class PoseMender:
    """Mends poses of the mesh whose rest shape is vertices (V,3), faces (F,3)."""

    def __init__(self, rest: Float64, faces: Int64, settings: MendingSettings) -> None:
        self.settings = settings
        self._strain = FaceStrain(rest, faces)
        self._completion = RigidCompletion(rest, faces)

    def mended(self, pose: Float64) -> Float64:
        """The pose (V,3) without torn places; the same one if it has none."""
        moved, free = pose, np.zeros(len(pose), bool)
        for turn in range(self.settings.growth + 1):
            hurt = self._hurt(moved)
            if not hurt.any():
                return moved
            free |= hurt if turn == 0 else self._completion.grown(hurt)
            moved = self._completion.complete(moved, free, self.settings.iterations)
        return self._polished(moved)

    def fitted(self, pose: Float64, frame: int, fit: Fit) -> Float64:
        """`mended`, and where that moved anything, drawn to its frame again by ``fit``."""
        moved = self.mended(pose)
        if moved is not pose:
            for _ in range(self.settings.fits):
                near = self._completion.faded((moved != pose).any(axis=1), self.settings.fit_rings)
                moved = self.mended(moved + near[:, None] * (fit(moved, frame) - moved))
        return moved

    def _hurt(self, pose: Float64) -> Mask:
        """(V,) the corners of torn faces."""
        out = np.zeros(len(pose), bool)
        out[self._strain.faces[self._strain.torn(pose, self.settings.most_stretch)]] = True
        return out

    def _polished(self, pose: Float64) -> Float64:
        """Face by face, for slivers and sharp creases, which their surroundings do not hold; the best round stays."""
        most, strain = self.settings.most_stretch, self._strain
        best, fewest, moved, since = pose, int(strain.torn(pose, most).sum()), pose, 0
        while fewest and since < self.settings.polish:
            over = np.zeros(len(pose), bool)
            over[strain.faces[strain.turned_over(moved)]] = True
            moved = strain.limited(self._completion.smoothed(moved, over), most)
            left, since = int(strain.torn(moved, most).sum()), since + 1
            if left < fewest:
                best, fewest, since = moved, left, 0
        return best


def mend_poses(
    poses: Float64, faces: Int64, rest: Float64, keyframes: Sequence[int], fit: Fit, settings: MendingSettings
) -> StageRun[Float64]:
    """(K,V,3) the poses (K,V,3) of the keyframes' frames without torn places; those that have none are untouched.

    rest: (V,3) the shape that they are measured by.
    """
    mender = PoseMender(rest, faces, settings)
    out = poses.copy()
    for index, frame in enumerate(keyframes):
        out[index] = mender.fitted(poses[index], frame, fit)
        yield Progress("mending", (index + 1) / len(keyframes))
    return out
