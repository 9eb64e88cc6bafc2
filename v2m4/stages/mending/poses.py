"""Poses without torn places.

A mesh that follows a video is drawn after what its pixels seem to tell: where limbs cross or come out from behind
others, single faces are drawn out to streaks or turn over. What happened to their surroundings is told by far more
pixels. So torn places are let go and completed from around them, as rigid as possible, ever wider, until nothing is
torn; so are crumpled ones, of a limb that another's outline or pixels pull at. Then the outline draws the whole,
smoothly, to the frame again: where a limb has to be longer, all of it is. Of faces that are torn even so, each takes
its shape at rest once more, with what lies about it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch

from v2m4.arrays import Float64, Int64, Mask
from v2m4.events import Progress, StageRun
from v2m4.geometry.rigid_completion import FreePart, RigidCompletion
from v2m4.geometry.rotations import closest_rotation
from v2m4.geometry.strain import FaceStrain
from v2m4.render.threads import in_order, side_by_side
from v2m4.settings import MendingSettings
from v2m4.stages.registration.calming import calmed

POSES_AT_ONCE = 8
_TRIES = 3  # of a way and of a reach, each half of the one before
_MARGIN = 3  # rings around what moves that tell how it goes and which faces are torn


class Outline(Protocol):
    """The outline of the object in one frame."""

    def drawn(self, vertices: Float64, free: Mask) -> Float64:
        """The pose (V,3) whose ``free`` vertices (V,) are drawn to it."""

    def overlap(self, vertices: Float64) -> float:
        """Intersection over union of what it encloses and the mesh in that pose (V,3)."""


class PoseMender:
    """Mends poses of the mesh whose rest shape is vertices (V,3), faces (F,3)."""

    def __init__(self, rest: Float64, faces: Int64, settings: MendingSettings) -> None:
        self.settings, self._rest = settings, rest
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

    def restored(self, pose: Float64) -> Float64:
        """The pose (V,3) where faces that are torn still lie as at rest, each with the vertices about it, as far as
        that leaves fewer torn ones."""
        torn = self._strain.torn(pose, self.settings.most_stretch)
        for _ in range(self.settings.restorations):
            for face in np.flatnonzero(torn):
                if torn[face]:  # not mended with one before it
                    pose, torn = self._with_face_at_rest(pose, torn, int(face))
        return pose

    def _with_face_at_rest(self, pose: Float64, torn: Mask, face: int) -> tuple[Float64, Mask]:
        """With what the face is laid down with as small as possible, the pose that moves least of those that leave
        fewer faces torn than now, (F,), and which these are; the pose as it is if none does."""
        core, settings = np.zeros(len(pose), bool), self.settings
        core[self._strain.faces[face]] = True
        zone = self._completion.grown(core, settings.restored_rings + settings.restored_reach + _MARGIN)
        vertices, faces, part = self._part(zone)
        now = pose[vertices]
        before = part._strain.torn(now, settings.most_stretch)
        laid = part._core_at_rest(now, before, core[vertices])
        if laid is now:
            return pose, torn
        pose, torn = pose.copy(), torn.copy()
        pose[vertices] = laid
        torn[faces] ^= before ^ part._strain.torn(laid, settings.most_stretch)
        return pose, torn

    def _part(self, zone: Mask) -> tuple[Int64, Int64, PoseMender]:
        """The vertices (N,) of a zone (V,), the faces (M,) between them, and the same for these by themselves."""
        vertices, faces = np.flatnonzero(zone), np.flatnonzero(zone[self._strain.faces].all(axis=1))
        place = np.cumsum(zone) - 1
        out = copy.copy(self)
        out._rest = self._rest[vertices]
        out._strain = self._strain.part(faces, place)
        out._completion = self._completion.part(vertices)
        return vertices, faces, out

    def _core_at_rest(self, pose: Float64, torn: Mask, core: Mask) -> Float64:
        """The pose with the core's vertices (V,), or some rings more, as at rest; itself if no way of that leaves fewer
        faces torn than now (F,)."""
        settings = self.settings
        for _ in range(settings.restored_rings):
            core = self._completion.grown(core)
            way = _moved_rigidly(self._rest[core], pose[core]) - pose[core]
            least, found = np.inf, pose
            for fewer in range(_TRIES):
                around = self._completion.grown(core, max(1, settings.restored_reach >> fewer)) & ~core
                loose = FreePart(self._completion, around) if around.any() else None
                for part in range(_TRIES):
                    laid = pose.copy()
                    laid[core] += way / (1 << part)
                    tried = laid if loose is None else loose.complete(laid, settings.iterations)
                    still = self._strain.torn(tried, settings.most_stretch)
                    moved = float(np.abs(tried - pose).sum())
                    if still.sum() < torn.sum() and moved < least:
                        least, found = moved, tried
            if np.isfinite(least):
                return found
        return pose

    def _soundness(self, pose: Float64, outline: Outline, *, torn: bool = True) -> float:
        """The overlap with an outline less the weighted share of ``torn`` faces, if these count."""
        share = self._torn(pose).mean() if torn else 0.0
        return outline.overlap(pose) - self.settings.torn_weight * float(share)

    def _hurt(self, pose: Float64) -> Mask:
        """(V,) the corners of torn faces."""
        out = np.zeros(len(pose), bool)
        out[self._strain.faces[self._torn(pose)]] = True
        return out

    def _torn(self, pose: Float64) -> Mask:
        """(F,) the faces that are stretched too far, turned over or crumpled. What shrinks or is foreshortened as a
        whole is not crumpled."""
        largest, smallest = self._strain.stretches(pose)
        crumpled = smallest < self.settings.least_stretch * min(1.0, float(np.median(smallest)))
        return (largest > self.settings.most_stretch) | self._strain.turned_over(pose) | crumpled

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


def _moved_rigidly(points: Float64, towards: Float64) -> Float64:
    """Points (N,3) turned and shifted to lie nearest to ``towards`` (N,3) (Kabsch 1976)."""
    middle, goal = points.mean(axis=0), towards.mean(axis=0)
    rotation = closest_rotation(torch.from_numpy((towards - goal).T @ (points - middle))).numpy()
    return np.asarray((points - middle) @ rotation.T + goal)


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
    mended once more. What is torn at the very end is `PoseMender.restored`.
    """
    mender = PoseMender(rest, faces, settings)
    out = poses.copy()
    fits = in_order(lambda k: mender.fitted(poses[k], partial(outline, keyframes[k])), len(keyframes), POSES_AT_ONCE)
    for index, pose in enumerate(fits):
        out[index] = pose
        yield Progress("mending", (index + 1) / len(keyframes))
    still = np.abs(poses - rest).sum(axis=(1, 2)).argmin()
    calm = calmed(poses, out, keyframes, np.ones(len(out), bool), int(still), settings.calming)

    def finished(k: int) -> Float64:
        return mender.restored(out[k] if calm is out else mender.mended(calm[k]))

    return np.stack(side_by_side(finished, len(out)))
