"""A body's joints and the borders of its skin, solved from the pictures together with all poses of a clip.

A skeleton made from shape alone bends beside the true places, and then no pose looks right: pictures cannot tell limbs
apart. But joints and skin are the same in every frame, so a whole clip tells of them (as in bundle adjustment, Triggs
et al. 2000, poses are eliminated by the Schur complement).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

from v2m4.arrays import Float32, Float64
from v2m4.stages.registration.parts.clip_fit import ClipFit
from v2m4.stages.registration.parts.pose_fit import Body, Further, Normal
from v2m4.stages.registration.parts.skeleton import Poses, Skeleton, place_parts

_LEAST = 1e-7  # added to diagonals, for what nothing tells
_LEAST_SHIFT = 1e-3  # of the skin, in sizes of the object: less is not seen


@dataclass(frozen=True)
class Rig:
    """What is solved for. shifts: (N,3) of the joints at rest, in sizes of the object; the root's is none. gains: (N,)
    logarithms of what each part's weights of the skin are multiplied by: its borders move outwards."""

    shifts: Float64
    gains: Float64

    @staticmethod
    def none(count: int) -> Rig:
        """As found, of ``count`` parts."""
        return Rig(np.zeros((count, 3)), np.zeros(count))

    def moved(self, steps: Float64, most: float) -> Rig:
        """After steps (4N,): three for each joint, then one for each gain, which stay within ``most``."""
        count = len(self.gains)
        gains = np.clip(self.gains + steps[3 * count :], -most, most)
        return Rig(self.shifts + steps[: 3 * count].reshape(-1, 3), gains)

    def of(self, body: Body) -> Body:
        """The body with these joints and this skin."""
        weights = body.weights * np.exp(self.gains)
        joints = body.skeleton.joints + body.size * self.shifts
        skeleton = Skeleton(body.skeleton.parents, joints)
        return Body(skeleton, body.vertices, np.ascontiguousarray(weights / weights.sum(axis=1, keepdims=True)))


class RigFit:
    """Levenberg-Marquardt for all poses of a clip and the rig that they share."""

    def __init__(self, clip: ClipFit) -> None:
        self.clip, self.settings = clip, clip.settings.rig
        self.body = clip.fit.body
        self._holds = np.repeat([self.settings.joint_hold, self.settings.gain_hold], [3 * self._count, self._count])

    def solved(self, poses: Poses) -> tuple[Poses, Body]:
        """Poses (T) and the body, from poses of the body as it is, none worse by all that is asked of a clip."""
        settings, smooth = self.clip.settings, self.clip.settings.smoothness
        rig, now, damping = Rig.none(self._count), self.clip, settings.damping
        total = now.energy(poses, smooth)
        system = None
        for _ in range(self.settings.rounds):
            system = self._system(now, poses, rig) if system is None else system
            pose_steps, rig_steps = self._steps(*system, damping)
            tried = rig.moved(rig_steps, self.settings.most_gain)
            clip, moved = self.clip.with_body(tried.of(self.body)), poses.moved(now.limited(pose_steps))
            energy = clip.energy(moved, smooth) + self._held(tried)
            if energy >= total:
                damping *= settings.damping_up
                continue
            gain, total = (total - energy) / total, energy
            rig, now, poses, system = tried, clip, moved, None
            damping *= settings.damping_down
            if gain < self.settings.least_gain:
                break
        return poses, now.fit.body

    @property
    def _count(self) -> int:
        return len(self.body.skeleton)

    def _held(self, rig: Rig) -> float:
        numbers = np.concatenate([rig.shifts.reshape(-1), rig.gains])
        return float(self._holds @ numbers**2)

    def _steps(
        self, band: Float64, slopes: Float64, across: Float64, matrix: Float64, gradient: Float64, damping: float
    ) -> tuple[Float64, Float64]:
        """Steps of the poses (T,P) and of the rig (K,)."""
        shape = slopes.shape
        tied = across.reshape(-1, across.shape[-1])  # (TP,K)
        # 1. What poses do for each number of the rig, and what is left for the rig then.
        damped = band.copy()
        damped[-1] *= 1 + damping
        damped[-1] += _LEAST
        answers = solveh_banded(damped, np.concatenate([slopes.reshape(-1, 1), tied], axis=1))
        left = matrix + damping * np.diag(np.diag(matrix)) - tied.T @ answers[:, 1:]
        left = (left + left.T) / 2 + _LEAST * np.eye(len(left))
        steps = -np.linalg.solve(left, gradient - tied.T @ answers[:, 0])
        # 2. Not too far at once.
        joints, gains = np.abs(steps[: 3 * self._count]), np.abs(steps[3 * self._count :])
        steps *= min(
            1.0,
            self.settings.longest_shift / max(float(joints.max()), 1e-12),
            self.settings.longest_gain / max(float(gains.max()), 1e-12),
        )
        return -(answers[:, 0] + answers[:, 1:] @ steps).reshape(shape), steps

    def _system(self, clip: ClipFit, poses: Poses, rig: Rig) -> tuple[Float64, Float64, Float64, Float64, Float64]:
        """Normal equations about poses (T) and rig: of the poses (banded, and (T,P)), between both (T,P,K), and of the
        rig (K,K) and (K,)."""
        # 1. What pictures tell of both.
        frames, size = np.arange(len(poses.shifts)), len(clip.units)
        told = clip.fit.linearised(poses, frames, self._slopes_of(clip))
        of_poses = Normal(told.energies, told.matrix[:, :size, :size], told.gradient[:, :size])
        band, slopes = clip.normal(poses, clip.settings.smoothness, of_poses)
        across, matrix = told.matrix[:, :size, size:], told.matrix[:, size:, size:].sum(axis=0)
        gradient = told.gradient[:, size:].sum(axis=0)
        # 2. What keeps parts beside the plane of symmetry moves with joints too.
        if clip.has_plane:
            turns, places = place_parts(clip.fit.body.skeleton, poses)
            joints = np.einsum("nk,bkac,a->bnkc", clip.fit.below, self._leaving(turns), clip.across)
            joints = joints.reshape(*joints.shape[:2], -1)  # (T,N,3N), in sizes as the joints' shifts are
            both = np.concatenate([clip.sideways_slopes(turns, places), joints], axis=-1)
            more, pulls = clip.beside_plane(turns, places, both)
            of_joints = slice(0, 3 * self._count)
            across[..., of_joints] += more[:, :size, size:]
            matrix[of_joints, of_joints] += more[:, size:, size:].sum(axis=0)
            gradient[of_joints] += pulls[:, size:].sum(axis=0)
        # 3. The rig stays near what was found, and the root's joint where it is.
        matrix += np.diag(self._holds)
        gradient += self._holds * np.concatenate([rig.shifts.reshape(-1), rig.gains])
        return band, slopes, across, matrix, gradient

    def _leaving(self, turns: Float64) -> Float64:
        """(...,N,3,3) how what hangs on a joint moves, in space, as that joint moves at rest: its parent takes it
        along, and its own part, turned otherwise, is shifted back. None for the root."""
        moves = np.zeros_like(turns)
        parents = self.body.skeleton.parents[1:]
        moves[..., 1:, :, :] = turns[..., parents, :, :] - turns[..., 1:, :, :]
        return moves

    def _slopes_of(self, clip: ClipFit) -> Further:
        fit, count, size = clip.fit, self._count, self.body.size
        skeleton, weights = fit.body.skeleton, fit.body.weights

        def slopes(vertices: Float64, turns: Float64, places: Float64, frame: int) -> Float32:
            """(K,S*S*4)."""
            side = fit.synthesis.side
            out = np.zeros((4 * count, side, side, 4), np.float32)
            # 1. A joint that moves shifts all that hangs on it.
            leaving = self._leaving(turns)
            bent = np.flatnonzero(np.abs(leaving).max(axis=(1, 2)) > self.settings.least_bend)
            along = (size * leaving[bent]).astype(np.float32)
            shifted = np.einsum("nab,naijc->nbijc", along, fit.shift_slopes(vertices, bent, frame))
            out[: 3 * count].reshape(count, 3, side, side, 4)[bent] = shifted
            # 2. A part that carries more draws its skin to where it would have it alone.
            alone = np.einsum("nab,nvb->nva", turns, fit.body.vertices - skeleton.joints[:, None]) + places[:, None]
            fields = weights.T[..., None] * (alone - vertices)  # (N,V,3)
            drawn = np.flatnonzero(np.abs(fields).max(axis=(1, 2)) > _LEAST_SHIFT * size)
            out[3 * count + drawn] = fit.field_slopes(vertices, fields, drawn, frame)
            return out.reshape(4 * count, -1)

        return slopes
