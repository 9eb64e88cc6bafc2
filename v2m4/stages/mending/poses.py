"""Poses without torn places.

A mesh that follows a video is drawn after what its pixels seem to tell: where limbs cross or come out from behind
others, single faces are drawn out to streaks or turn over. What happened to their surroundings is told by far more
pixels. So torn places are let go and completed from around them, as rigid as possible, ever wider, until nothing is
torn. Then the outline draws the whole, smoothly, to the frame again: where a limb has to be longer, all of it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from v2m4.arrays import Float64, Int64, Mask
from v2m4.events import Progress, StageRun
from v2m4.geometry.rigid_completion import RigidCompletion
from v2m4.geometry.strain import FaceStrain
from v2m4.render.threads import in_order, side_by_side
from v2m4.settings import MendingSettings
from v2m4.stages.registration.calming import calmed

POSES_AT_ONCE = 8


class Outline(Protocol):
    """The outline of the object in one frame."""

    def drawn(self, vertices: Float64, free: Mask) -> Float64:
        """The pose (V,3) whose ``free`` vertices (V,) are drawn to it."""

    def overlap(self, vertices: Float64) -> float:
        """Intersection over union of what it encloses and the mesh in that pose (V,3)."""


class PoseMender:
    """Mends poses of the mesh whose rest shape is vertices (V,3), faces (F,3)."""

    def __init__(self, rest: Float64, faces: Int64, settings: MendingSettings) -> None:
        self.settings = settings
        self._strain = FaceStrain(rest, faces)
        self._completion = RigidCompletion(rest, faces, settings.loose_hold)

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

    def fitted(self, pose: Float64, outline: Callable[[], Outline]) -> Float64:
        """`mended`, and where that moved anything, drawn to its frame's outline again until it overlaps as the torn one
        did; of all rounds the one that does best."""
        best = moved = self.mended(pose)
        if moved is pose:
            return pose
        there = outline()
        enough, most = self._soundness(pose, there, torn=False), self._soundness(moved, there)
        for _ in range(self.settings.fits):
            if most >= enough:
                break
            near = self._completion.faded((moved != pose).any(axis=1), self.settings.fit_rings)
            moved = self.mended(moved + near[:, None] * (there.drawn(moved, near > 0) - moved))
            reached = self._soundness(moved, there)
            if reached > most:
                best, most = moved, reached
        return best

    def _soundness(self, pose: Float64, outline: Outline, *, torn: bool = True) -> float:
        """The overlap with an outline less the weighted share of ``torn`` faces, if these count."""
        share = self._strain.torn(pose, self.settings.most_stretch).mean() if torn else 0.0
        return outline.overlap(pose) - self.settings.torn_weight * float(share)

    def _hurt(self, pose: Float64) -> Mask:
        """(V,) the corners of torn faces."""
        out = np.zeros(len(pose), bool)
        out[self._strain.faces[self._strain.torn(pose, self.settings.most_stretch)]] = True
        return out

    def _polished(self, pose: Float64) -> Float64:
        """Face by face, for slivers and sharp creases, which their surroundings do not hold; the best round stays."""
        most, strain = self.settings.most_stretch, self._strain
        best, moved, fewest, since = pose, pose, len(strain.faces) + 1, 0
        while True:
            over = strain.turned_over(moved)
            torn = int((over | (strain.largest_stretch(moved) > most)).sum())
            if torn < fewest:
                best, fewest, since = moved, torn, 0
            if not torn or since == self.settings.polish:
                return best
            turned = np.zeros(len(pose), bool)
            turned[strain.faces[over]] = True
            moved, since = strain.limited(self._completion.smoothed(moved, turned), most), since + 1


def mend_poses(
    poses: Float64,
    faces: Int64,
    rest: Float64,
    keyframes: Sequence[int],
    outline: Callable[[int], Outline],
    settings: MendingSettings,
) -> StageRun[Float64]:
    """(K,V,3) the poses (K,V,3) of the keyframes' frames without torn places; those that have none are untouched.

    rest: (V,3) the shape that they are measured by. outline: that of the frame of a number; asked for where needed.
    Where mending shakes the motion, what it adds is smoothed over time, over all poses, and what tears by that is
    mended once more.
    """
    mender = PoseMender(rest, faces, settings)
    out = poses.copy()
    fits = in_order(lambda k: mender.fitted(poses[k], partial(outline, keyframes[k])), len(keyframes), POSES_AT_ONCE)
    for index, pose in enumerate(fits):
        out[index] = pose
        yield Progress("mending", (index + 1) / len(keyframes))
    still = np.abs(poses - rest).sum(axis=(1, 2)).argmin()
    calm = calmed(poses, out, keyframes, np.ones(len(out), bool), int(still), settings.calming)
    return out if calm is out else np.stack(side_by_side(lambda k: mender.mended(calm[k]), len(calm)))
