"""Poses of a clip by Levenberg-Marquardt: each frame's picture, and small accelerations from frame to frame."""

from __future__ import annotations

import copy

import numpy as np
from scipy.linalg import solveh_banded

from v2m4.arrays import Float64, Int64, Mask
from v2m4.stages.registration.parts.pose_fit import Body, Normal, PoseFit, logs
from v2m4.stages.registration.parts.skeleton import Poses, place_parts

_LEAST = 1e-7  # added to diagonals, for what nothing tells


def differences(first: Poses, second: Poses, size: float) -> Float64:
    """(...,3 + 3N) steps from one pose to another: root's shift in sizes of the object, turns of the parts."""
    turns = logs(np.swapaxes(first.turns, -1, -2) @ second.turns)
    shift = (second.shifts - first.shifts) / size
    return np.concatenate([shift, turns.reshape(*turns.shape[:-2], -1)], axis=-1)


def _axes_about(normal: Float64) -> Float64:
    """(3,3) rows at right angles, ``normal`` (3,) first."""
    second = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    second /= np.linalg.norm(second)
    return np.stack([normal, second, np.cross(normal, second)])


class ClipFit:
    """joined: (T,) frames whose motion goes on from the frame before's. across: (3,) the normal of a plane along which
    limbs swing, as long as that is trusted, 0..1. held: (N,) parts that stay beside it (all if absent); others may.
    whole: whether the body as a whole stays beside it too."""

    def __init__(
        self,
        fit: PoseFit,
        anchor: int,
        joined: Mask,
        across: Float64 | None = None,
        held: Mask | None = None,
        *,
        whole: bool = True,
    ) -> None:
        self.fit, self.anchor, self.joined = fit, anchor, joined
        self.settings, self.size = fit.settings, fit.body.size
        count = len(fit.body.skeleton)
        trust = 0.0 if across is None else float(np.linalg.norm(across))
        held = np.ones(count, bool) if held is None else held
        self._held, self._plane, self._whole = held, across, whole
        out_of_plane = np.zeros((3, 3))
        if across is not None and trust:
            out_of_plane = np.eye(3) - np.outer(across, across) / trust**2
        settings = self.settings
        bend = settings.bend * np.eye(3) + settings.sideways * trust * out_of_plane
        self._stiff = np.tile(bend, (count, 1, 1))  # (N,3,3) pulls to the rest
        self._stiff[0] = settings.root_turn * np.eye(3)
        # Where limbs swing along a plane all of the body stays beside it: that and the picture tell depths.
        stays = trust if whole else 0.0
        self._depth_hold = settings.depth_hold * (1 - stays)
        self._anchor_hold = settings.anchor_hold
        self.across = np.zeros(3) if across is None or not trust else across / trust
        self.axes = _axes_about(self.across) if trust else np.eye(3)  # limbs are turned about them
        self._beside = settings.sideways_hold * trust * fit.shares  # (N,)
        self.has_plane = bool(self._beside.any())
        self._within = np.where(held, settings.sideways_within, settings.sideways_free)  # (N,)
        self._trunk = fit.shares * held / max(float(fit.shares @ held), _LEAST)  # (N,)
        self._whole_beside = settings.sideways_whole * stays
        frames = len(joined)
        inner = joined[1:-1] & joined[2:] if frames > 2 else np.zeros(0, bool)
        self._inner = inner.astype(np.float64)[:, None]  # (T-2,1)
        self._pace = np.ones(3 + 3 * count)  # what changes of velocity weigh
        self._pace[2] += (settings.depth_pace - 1) * (1 - stays)
        self.units = np.array([1 / self.size] * 3 + [1.0] * 3 * count)  # of steps, to those of `differences`

    def with_body(self, body: Body) -> ClipFit:
        """The same for a body that `PoseFit.with_body` takes."""
        out = copy.copy(self)
        out.fit = self.fit.with_body(body)
        return out

    def seen_by(self, fit: PoseFit) -> ClipFit:
        """The same with other pictures, of the same body."""
        out = copy.copy(self)
        out.fit = fit
        return out

    def merged(self, body: Body, group: Int64) -> ClipFit:
        """The same for a body some of whose parts are one now. group: (N,) the part that each part went to."""
        count = len(body.skeleton)
        held = np.bincount(group, self.fit.shares * self._held, count) > 0.5 * np.bincount(
            group, self.fit.shares, count
        )
        return ClipFit(self.fit.with_parts(body), self.anchor, self.joined, self._plane, held, whole=self._whole)

    def prior_energies(self, poses: Poses, still: float = 0.0) -> Float64:
        """(B,) what is asked of single poses (B), whatever the frames show. still: weight of a joint's turn, large or
        small."""
        s, bends = self.settings, logs(poses.turns)  # (B,N,3)
        energies = (np.einsum("nac,bna->bnc", self._stiff, bends) * bends).sum(axis=(1, 2))
        length = np.sqrt((bends**2).sum(-1) + s.still_within**2)  # (B,N)
        energies += (
            2 * still * (length - s.still_within).sum(-1) + self._depth_hold * (poses.shifts[:, 2] / self.size) ** 2
        )
        if self.has_plane:
            off = self._sideways(*place_parts(self.fit.body.skeleton, poses))
            whole = off @ self._trunk
            off -= whole[:, None]
            far = 1 + (off / self._within) ** 2  # Geman-McClure: what clearly leaves the plane is let go
            energies += self._whole_beside * whole**2 + (self._beside * off**2 / far).sum(axis=1)
        return energies

    def priors(self, poses: Poses, still: float = 0.0) -> tuple[Float64, Float64]:
        """Matrices (B,P,P) and gradients (B,P) of (half) the `prior_energies` of single poses (B)."""
        s, count = self.settings, len(self.fit.body.skeleton)
        bends = logs(poses.turns)  # (B,N,3)
        # 1. Pulls to the rest that grow with what is moved.
        pulls = np.einsum("nac,bna->bnc", self._stiff, bends)
        # 2. Pulls that do not: few joints are bent rather than all a little. Iteratively reweighted.
        length = np.sqrt((bends**2).sum(-1) + s.still_within**2)  # (B,N)
        pulls += still / length[..., None] * bends
        # 3. The depth of the whole.
        gradients = np.zeros((len(bends), len(self.units)))
        gradients[:, 2] = self._depth_hold * poses.shifts[:, 2] / self.size
        gradients[:, 3:] = pulls.reshape(len(bends), -1)
        matrices = np.zeros((len(bends), len(self.units), len(self.units)))
        matrices[:, 2, 2] = self._depth_hold
        for part in range(count):
            at = slice(3 + 3 * part, 6 + 3 * part)
            matrices[:, at, at] = self._stiff[part] + (still / length[:, part])[:, None, None] * np.eye(3)
        matrices *= np.outer(self.units, self.units)
        gradients *= self.units
        # 4. Shifts across the plane that limbs swing along: of the whole, and of parts beside it.
        if self.has_plane:
            placed = place_parts(self.fit.body.skeleton, poses)
            beside = self.beside_plane(placed[0], placed[1], self.sideways_slopes(*placed))
            matrices, gradients = matrices + beside[0], gradients + beside[1]
        return matrices, gradients

    def beside_plane(self, turns: Float64, places: Float64, slopes: Float64) -> tuple[Float64, Float64]:
        """Matrices (B,M,M) and gradients (B,M) of what is asked of shifts across the plane, of the whole and of parts
        turned (B,N,3,3), with joints at (B,N,3). slopes: (B,N,M) of the parts' shifts."""
        off = self._sideways(turns, places)
        whole, whole_slopes = off @ self._trunk, np.einsum("bnp,n->bp", slopes, self._trunk)
        matrices = self._whole_beside * whole_slopes[:, :, None] * whole_slopes[:, None]
        gradients = self._whole_beside * whole[:, None] * whole_slopes
        off, slopes = off - whole[:, None], slopes - whole_slopes[:, None]
        far = 1 + (off / self._within) ** 2
        weighted = slopes * (self._beside / far**2)[..., None]
        return matrices + np.swapaxes(slopes, 1, 2) @ weighted, gradients + np.einsum("bnp,bn->bp", weighted, off)

    def off_plane(self, poses: Poses) -> Float64:
        """(B,) how far trunk and limbs of poses (B) as a whole have gone across the plane, in sizes."""
        return self._sideways(*place_parts(self.fit.body.skeleton, poses)) @ self._trunk

    def _arms(self, turns: Float64) -> Float64:
        """(B,N,3) from the joints of parts, turned (B,N,3,3), to their middles."""
        fit = self.fit
        return (turns @ (fit.middles - fit.body.skeleton.joints)[..., None])[..., 0]

    def _sideways(self, turns: Float64, places: Float64) -> Float64:
        """How far (B,N) the middles of parts, turned (B,N,3,3), with joints at (B,N,3), have gone across the plane, in
        sizes."""
        return (self._arms(turns) + places - self.fit.middles) @ self.across / self.size

    def sideways_slopes(self, turns: Float64, places: Float64) -> Float64:
        """Slopes (B,N,P) of `_sideways`."""
        middles = self._arms(turns) + places
        # A turn of part k about its own axis a takes a middle m below it along axis x (m - joint), seen from across.
        from_joints = middles[:, :, None] - places[:, None]  # (B,N,K,3)
        leaning = np.cross(from_joints, self.across) * self.fit.below[..., None]  # (B,N,K,3)
        slopes = np.einsum("bnkc,bkca->bnka", leaning, turns)
        count = middles.shape[:2]
        shifts = np.broadcast_to(self.across, (*count, 3))
        return np.concatenate([shifts, slopes.reshape(*count, -1)], axis=-1) / self.size

    def descend(self, poses: Poses, frames: Int64, expected: Poses, rounds: int) -> tuple[Poses, Float64]:
        """Each of B poses by itself: towards its frame and, as acceleration, to where it is expected."""
        settings, count = self.settings, len(frames)
        poses = Poses(poses.turns.copy(), poses.shifts.copy())
        total = self._energies(poses, frames, expected)
        damping = np.full(count, settings.damping)
        active, stale = np.ones(count, bool), np.ones(count, bool)
        matrix: Float64 = np.zeros((count, len(self.units), len(self.units)))
        gradient: Float64 = np.zeros((count, len(self.units)))
        for _ in range(rounds):
            # 1. Derivatives of what has moved.
            anew = np.flatnonzero(active & stale)
            if len(anew):
                matrix[anew], gradient[anew] = self._alone(poses[anew], frames[anew], expected[anew])
                stale[anew] = False
            # 2. A step of each, kept where it is one down.
            now = np.flatnonzero(active)
            added = damping[now, None] * (np.einsum("bii->bi", matrix[now]) + _LEAST)
            system = matrix[now] + added[:, None] * np.eye(len(self.units))
            steps = -np.linalg.solve(system, gradient[now, :, None])[..., 0]
            tried = poses[now].moved(self.limited(steps))
            energies = self._energies(tried, frames[now], expected[now])
            better = energies < total[now]
            damping[now] *= np.where(better, settings.damping_down, settings.damping_up)
            active[now] = ~better | (total[now] - energies > settings.least_gain * total[now])
            kept = now[better]
            poses.turns[kept], poses.shifts[kept] = tried.turns[better], tried.shifts[better]
            total[kept], stale[kept] = energies[better], True
            if not active.any():
                break
        return poses, total

    def limited(self, steps: Float64) -> Float64:
        """Steps with no turn above the longest."""
        turns = steps[..., 3:].reshape(*steps.shape[:-1], -1, 3)
        angle = np.linalg.norm(turns, axis=-1).max(-1)
        return steps * np.minimum(1.0, self.settings.longest_turn / np.maximum(angle, 1e-12))[..., None]

    def _energies(self, poses: Poses, frames: Int64, expected: Poses) -> Float64:
        off = differences(expected, poses, self.size)
        priors = self.settings.acceleration * (self._pace * off**2).sum(-1) + self.prior_energies(poses)
        return self.fit.energies(poses, frames) + priors

    def _alone(self, poses: Poses, frames: Int64, expected: Poses) -> tuple[Float64, Float64]:
        """Normal equations (B,P,P) and (B,P) of what `_energies` tells."""
        normal = self.fit.linearised(poses, frames)
        matrix, gradients = self.priors(poses)
        weight, off = self.settings.acceleration * self._pace, differences(expected, poses, self.size)
        gradient = normal.gradient + gradients + weight * off * self.units
        return normal.matrix + matrix + weight * np.diag(self.units**2), gradient

    def together(self, poses: Poses, rounds: int, smoothness: float | None = None) -> Poses:
        """All frames at once, from ``poses`` (T). smoothness: weight of accelerations; the settings' if absent."""
        smooth = self.settings.smoothness if smoothness is None else smoothness
        return self._descended(poses, np.arange(len(poses.shifts)), rounds, smooth)

    def within(self, poses: Poses, frames: Int64, rounds: int) -> Poses:
        """Some ``frames`` at once, one after the other, from ``poses`` (T); the others stay, and hold those beside
        them."""
        return self._descended(poses, frames, rounds, self.settings.smoothness)

    def _descended(self, poses: Poses, frames: Int64, rounds: int, smooth: float) -> Poses:
        settings, damping = self.settings, self.settings.damping
        total, shape = self.energy(poses, smooth), (len(poses.shifts), len(self.units))
        moving = slice(int(frames[0]) * shape[1], (int(frames[-1]) + 1) * shape[1])
        band, gradient = self.normal(poses, smooth, self._told(poses, frames))
        for turn in range(rounds):
            system = band[:, moving].copy()
            system[-1] *= 1 + damping
            system[-1] += _LEAST
            steps = np.zeros(shape)
            steps.reshape(-1)[moving] = -solveh_banded(system, gradient.reshape(-1)[moving])
            tried = poses.moved(self.limited(steps))
            energy = self.energy(tried, smooth)
            if energy >= total:
                damping *= settings.damping_up
                continue
            gain, poses, total = (total - energy) / total, tried, energy
            damping *= settings.damping_down
            if gain < settings.least_gain or turn + 1 == rounds:
                break
            band, gradient = self.normal(poses, smooth, self._told(poses, frames))
        return poses

    def _told(self, poses: Poses, frames: Int64) -> Normal:
        """What pictures tell of some frames, nothing of the others."""
        told, count, size = self.fit.linearised(poses[frames], frames), len(poses.shifts), len(self.units)
        out = Normal(np.zeros(count), np.zeros((count, size, size)), np.zeros((count, size)))
        out.energies[frames], out.matrix[frames], out.gradient[frames] = told.energies, told.matrix, told.gradient
        return out

    def energy(self, poses: Poses, smoothness: float) -> float:
        """What all frames together are to make small."""
        pictures = self.fit.energies(poses, np.arange(len(poses.shifts))).sum()
        off, acceleration = self._anchor_off(poses), self._accelerations(poses)
        held = self._anchor_hold * (off**2).sum() + smoothness * (self._pace * acceleration**2).sum()
        return float(pictures + self.prior_energies(poses, self.settings.still).sum() + held)

    def _anchor_off(self, poses: Poses) -> Float64:
        """(P,) by what the anchor's pose differs from the one that is known."""
        return differences(Poses.rest(self.fit.body.skeleton, 1), poses[[self.anchor]], self.size)[0]

    def _accelerations(self, poses: Poses) -> Float64:
        """(T-2,P) changes of what poses change by, zero where the motion does not go on."""
        count = len(poses.shifts)
        velocity = differences(poses[np.arange(count - 1)], poses[np.arange(1, count)], self.size)
        return (velocity[1:] - velocity[:-1]) * self._inner

    def normal(self, poses: Poses, smoothness: float, pictures: Normal | None = None) -> tuple[Float64, Float64]:
        """Normal equations of `energy`: the matrix in upper banded form (2P+1,T P), the gradient (T,P). pictures: what
        `PoseFit.linearised` tells of all frames, if that is known."""
        s, count, size = self.settings, len(poses.shifts), len(self.units)
        # 1. Each frame by itself; the anchor's pose is known.
        seen = self.fit.linearised(poses, np.arange(count)) if pictures is None else pictures
        matrix, gradients = self.priors(poses, s.still)
        blocks = seen.matrix + matrix
        blocks[self.anchor] += self._anchor_hold * np.diag(self.units**2)
        gradient = seen.gradient + gradients
        gradient[self.anchor] += self._anchor_hold * self._anchor_off(poses) * self.units
        band = np.zeros((2 * size + 1, count, size))
        for column in range(size):  # upper triangles of the blocks
            band[2 * size - column :, :, column] = blocks[:, : column + 1, column].T
        # 2. Accelerations tie each frame to the two before it.
        if count > 2:
            pull = smoothness * self._pace * self._accelerations(poses) * self.units
            weight = smoothness * self._pace * self._inner * self.units**2  # (T-2,P)
            for shift, factor in ((0, 1.0), (1, -2.0), (2, 1.0)):
                ahead = slice(shift, count - 2 + shift)
                gradient[ahead] += factor * pull
                band[2 * size, ahead] += factor**2 * weight
            band[size, 1:-1] -= 2 * weight
            band[size, 2:] -= 2 * weight
            band[0, 2:] += weight
        return band.reshape(2 * size + 1, -1), gradient
