"""Second thoughts on limbs that went astray for a stretch of frames, each frame looking right enough by itself.

A head that turns away looks much like one that turns towards the camera, and a search that goes from frame to frame
stays on the side that it took first. So limbs are turned far in some frames, not only in those that look unlike; where
that ends in a picture that is clearly more alike, it is carried on to the frames before and after for as long as it
pays (hypotheses tested over segments, as in the kinematic jumps of Sminchisescu and Triggs 2003).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from v2m4.arrays import Float64, Int64
from v2m4.stages.registration.parts.clip_fit import ClipFit, differences
from v2m4.stages.registration.parts.skeleton import Poses, place_parts

Stretch = dict[int, tuple[Poses, float]]
"""New poses of frames, and by how much each is better."""


class SecondThoughts:
    """levels: the same clip in small pictures and in larger ones."""

    def __init__(self, levels: Sequence[ClipFit]) -> None:
        self.levels, self.clip = levels, levels[-1]
        self.settings = self.clip.settings.second_thoughts

    def improved(self, poses: Poses) -> Poses:
        """Poses (T) with other ones over stretches of frames which look more like the clip by that."""
        poses = Poses(poses.turns.copy(), poses.shifts.copy())
        doubted = self._doubted(len(poses.shifts))
        if not len(doubted):
            return poses
        others, gains = self._turned_far(poses, doubted)
        settled: set[int] = set()
        for each in np.argsort(-gains, kind="stable").tolist():
            frame = int(doubted[each])
            if gains[each] < self.settings.gain or frame in settled:
                continue
            stretch = self._grown(poses, frame, others[[each]])
            if len(stretch) > 1 and sum(gain for _, gain in stretch.values()) > 0:
                settled |= stretch.keys()
                for index, (pose, _) in stretch.items():
                    poses.turns[index], poses.shifts[index] = pose.turns[0], pose.shifts[0]
        return poses

    def _doubted(self, count: int) -> Int64:
        """Every so many frames from the anchor on, of those that show the object."""
        frames = np.arange(count)
        far = frames - self.clip.anchor
        return frames[(far != 0) & (far % self.settings.every == 0) & (self.clip.fit.unit > 0)]

    def _turned_far(self, poses: Poses, frames: Int64) -> tuple[Poses, Float64]:
        """For each of B frames the pose most alike after descents from poses (T) with one limb turned far, and by what
        share of its difference the picture is more alike then."""
        s, fit, now = self.settings, self.clip.fit, poses[frames]
        small, large = self.levels
        # 1. The most alike of turned limbs, of those that move the body clearly.
        shapes, ways, unlike = fit.body.posed(now), self._ways(), []
        if not ways:
            return now, np.zeros(len(frames))
        for part, about in ways:
            posed = fit.body.posed(self._turned(now, part, about))
            moved = np.linalg.norm(posed - shapes, axis=-1).mean(axis=1) / self.clip.size
            energies = small.fit.vertex_energies(posed, frames)
            unlike.append(np.where(moved >= s.least_moved, energies, np.inf))
        best = np.argsort(np.stack(unlike), axis=0, kind="stable")[: s.starts]  # (K,B)
        # 2. Descents from these in small pictures, and from the best of each frame in larger ones.
        rows, many = len(best), np.tile(frames, len(best))
        start = Poses.joined([self._turned(now[[b]], *ways[k]) for row in best for b, k in enumerate(row.tolist())])
        ends, energies = small.descend(start, many, Poses.joined([now] * rows), self.clip.settings.coarse_steps)
        chosen = energies.reshape(rows, -1).argmin(axis=0) * len(frames) + np.arange(len(frames))
        found = large.descend(ends[chosen], frames, now, self.clip.settings.steps)[0]
        before = np.maximum(fit.energies(now, frames), np.finfo(float).tiny)
        return found, 1 - fit.energies(found, frames) / before

    def _ways(self) -> list[tuple[int, Float64]]:
        """Limbs, each by its first part, and rotation vectors (3,) in space by which they are turned."""
        s, fit = self.settings, self.clip.fit
        shares = fit.below.T @ fit.shares  # (N,) of each part with all below it
        limbs = [part for part in range(1, len(shares)) if s.least_share <= shares[part] <= s.most_share]
        axes = np.concatenate([self.clip.axes, -self.clip.axes])
        return [(part, s.turn * axis) for part in limbs for axis in axes]

    def _turned(self, poses: Poses, part: int, about: Float64) -> Poses:
        """Poses (B) with a limb turned about its joint by a rotation vector (3,) in space."""
        out, turns = poses.turns.copy(), place_parts(self.clip.fit.body.skeleton, poses)[0]
        out[:, part] @= Rotation.from_rotvec(about @ turns[:, part]).as_matrix()
        return Poses(out, poses.shifts)

    def _grown(self, poses: Poses, frame: int, pose: Poses) -> Stretch:
        """A frame's other pose carried on to both sides in poses (T), as far as what is gained grows by that."""
        out: Stretch = {frame: (pose, self._gain(poses, frame, pose))}
        for step in (1, -1):
            run: list[tuple[Poses, float]] = []
            last, before, index = pose, None, frame + step
            while self._goes_on(index, step) and not self._in_vain([gain for _, gain in run]):
                onward = (
                    last if before is None else last.moved(differences(before, last, self.clip.size) / self.clip.units)
                )
                starts = Poses.joined([last, onward])
                about = Poses.joined([onward, onward])
                ends, energies = self.clip.descend(starts, np.array([index] * 2), about, self.clip.settings.steps)
                before, last = last, ends[[int(energies.argmin())]]
                if self._apart(last, poses[[index]]) < self.settings.merged:
                    break
                run.append((last, self._gain(poses, index, last)))
                index += step
            gained = np.cumsum([gain for _, gain in run])
            kept = int(gained.argmax()) + 1 if len(gained) and gained.max() > 0 else 0
            out |= {frame + step * (k + 1): each for k, each in enumerate(run[:kept])}
        return out

    def _in_vain(self, gains: list[float]) -> bool:
        """Whether the last frames gained nothing."""
        recent = gains[-self.settings.patience :]
        return len(recent) == self.settings.patience and sum(recent) <= 0

    def _goes_on(self, index: int, step: int) -> bool:
        """Whether a frame is there, seen, and its motion goes on from the one a step before."""
        inside = 0 <= index < len(self.clip.joined) and index != self.clip.anchor
        return inside and bool(self.clip.fit.unit[index] and self.clip.joined[max(index, index - step)])

    def _gain(self, poses: Poses, frame: int, pose: Poses) -> float:
        both, frames = Poses.joined([poses[[frame]], pose]), np.array([frame] * 2)
        now, other = self.clip.fit.energies(both, frames) + self.clip.prior_energies(both)
        return float(now - other)

    def _apart(self, first: Poses, second: Poses) -> float:
        """How far the parts' middles are apart at most, in sizes of the object."""
        fit = self.clip.fit
        turns, places = place_parts(fit.body.skeleton, Poses.joined([first, second]))
        middles = (turns @ (fit.middles - fit.body.skeleton.joints)[..., None])[..., 0] + places
        return float(np.linalg.norm(middles[0] - middles[1], axis=-1).max() / self.clip.size)
