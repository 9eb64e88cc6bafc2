"""The search for a body's poses through a clip: frame after frame from several starts, then again where it went wrong.

Where a frame's picture stays unlike, single limbs are turned far and flipped in depth (the ambiguity of monocular
views; Sminchisescu and Triggs 2003), and the best of that are starts too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.spatial.transform import Rotation

from v2m4.arrays import Float64, Int64
from v2m4.events import Event, Progress, StageRun
from v2m4.stages.registration.parts.clip_fit import ClipFit, differences
from v2m4.stages.registration.parts.exchange import Exchange
from v2m4.stages.registration.parts.gait import gait_of
from v2m4.stages.registration.parts.merging import merged
from v2m4.stages.registration.parts.rig_fit import RigFit
from v2m4.stages.registration.parts.second_thoughts import SecondThoughts
from v2m4.stages.registration.parts.skeleton import Poses, following, place_parts
from v2m4.stages.registration.parts.synthesis import middles


@dataclass(frozen=True)
class FramePosed(Event):
    """A frame has a new pose."""

    live: ClassVar[bool] = True

    frame: int


class MotionSearch:
    """levels: the same clip in small pictures and in larger ones. shown: frames whose new poses are told. guide: poses
    (T) that were found otherwise, where every frame starts too. wanted: (T,) how unlike its frame each may look for
    the poses to be taken; a search that will hardly get there ends early, and is ``hopeless``."""

    def __init__(
        self,
        levels: Sequence[ClipFit],
        shown: Collection[int] = (),
        guide: Poses | None = None,
        wanted: Float64 | None = None,
    ) -> None:
        self.levels, self.shown, self.guide, self.wanted = levels, shown, guide, wanted
        self.hopeless = False
        self.clip = levels[-1]
        self.settings, self.body = self.clip.settings, self.clip.fit.body
        self.skeleton = self.clip.fit.body.skeleton
        frames = len(self.clip.joined)
        self.poses, self.smoothness = Poses.rest(self.skeleton, frames), self.settings.smoothness
        self.typical = [float(self.clip.fit.energies(self.poses[[self.clip.anchor]], np.array([self.clip.anchor]))[0])]

    def run(self) -> StageRun[Poses]:
        """The poses of all frames. ``body`` is the one that they are of: its joints and skin may be others then."""
        anchor, frames, rounds = self.clip.anchor, len(self.clip.joined), self.settings.rounds
        done, total = 0, max(1, (frames - 1) * (1 + self.settings.repairs) + frames)
        # 1. Outwards from the anchor.
        posed = [anchor]
        for way in (range(anchor + 1, frames), range(anchor - 1, -1, -1)):
            for index in way:
                self._advance(index, 1 if way.step > 0 else -1)
                done += 1
                posed.append(index)
                if self._lost(posed):
                    self.hopeless = True
                    return self.poses
                yield Progress("motion", done / total)
                if index in self.shown:
                    yield FramePosed(index)
        # 2. There and back, where pictures stayed unlike, from what both neighbours found.
        for sweep in range(self.settings.repairs):
            order = range(frames) if sweep % 2 else range(frames - 1, -1, -1)
            for index in order:
                if index != anchor:
                    anew = self._repair(index)
                    done += 1
                    yield Progress("motion", done / total)
                    if anew and index in self.shown:
                        yield FramePosed(index)
        # 3. Over stretches of frames, where limbs went astray unnoticed.
        if self.settings.second_thoughts.every:
            self.poses = SecondThoughts(self.levels).improved(self.poses)
        # 4. Or all of the clip found in another way.
        self.poses = self.or_anew(self.poses)
        # 5. All frames together, and the rig with them; then as smooth as the pictures allow, and in stride.
        if self.settings.rig.rounds:
            self.poses, self.body = RigFit(self.clip).solved(self.poses)
            self.clip = self.clip.with_body(self.body)
            self._merge()
            self._exchange()
            self.poses = self.freed(self.poses)
        else:
            self.poses = self.clip.together(self.poses, rounds)
        self.poses = self.in_stride(self.smoothest(self.poses))
        yield Progress("motion", 1.0)
        return self.poses

    def _lost(self, posed: list[int]) -> bool:
        """Whether the frames posed so far are enough to tell that the poses will not be taken."""
        if self.wanted is None or len(posed) <= self.settings.ends_after * len(self.wanted):
            return False
        frames = np.array(posed)
        found = self.clip.fit.energies(self.poses[posed], frames).sum()
        return bool(found > self.settings.ends_beyond * self.wanted[frames].sum())

    def _merge(self) -> None:
        """Fewer parts, and the rig anew with them, if pictures get no less alike by that."""
        before = self._unlike(self.poses)
        shapes = self.body.posed(self.poses)
        body, group = merged(self.body, shapes, self.settings.rig.parts)
        if len(body.skeleton) == len(self.skeleton):
            return
        clip = self.clip.merged(body, group)
        poses, body = RigFit(clip).solved(following(body.skeleton, body.vertices, body.weights, shapes))
        clip = clip.with_body(body)
        if clip.fit.energies(poses, np.arange(len(poses.shifts))).sum() <= before:
            self.clip, self.poses, self.body, self.skeleton = clip, poses, body, body.skeleton

    def _exchange(self) -> None:
        """Limbs that were taken for one another, where the clip gains by that; joints and skin anew with them."""
        smooth = self.settings.smoothness
        if not self.settings.exchange.most:
            return
        small = self.clip.seen_by(self.levels[0].fit.with_parts(self.body))
        poses, doubtful = Exchange(small, self.clip).improved(self.poses)
        if doubtful is None and poses is self.poses:
            return
        tried = [poses] if doubtful is None else [poses, doubtful.poses]
        solved = [RigFit(self.clip).solved(each) for each in tried]
        off = [self.clip.with_body(body).energy(found, smooth) for found, body in solved]
        best = int(np.argmin(off))
        if tried[best] is not self.poses:
            self.poses, self.body = solved[best]
            self.clip = self.clip.with_body(self.body)

    def or_anew(self, poses: Poses) -> Poses:
        """Poses (T), or those that all frames, each by itself, find from the first motion, if these miss what is asked
        of the clip by far less: from frame to frame a limb once taken for its neighbour is handed on, and the first
        motion, which follows the surface and not the picture, tells many alike limbs apart."""
        settings, small, frames = self.settings, self.levels[0], np.arange(len(poses.shifts))
        if self.guide is None or not settings.anew:
            return poses
        start = Poses(self.guide.turns.copy(), self.guide.shifts.copy())
        start.turns[self.clip.anchor], start.shifts[self.clip.anchor] = np.eye(3), 0.0
        alone, _ = small.descend(start, frames, start, settings.coarse_steps)
        found, anew = (small.together(each, settings.rounds) for each in (poses, alone))
        missed = [small.energy(each, settings.smoothness) for each in (found, anew)]
        return anew if missed[1] < settings.anew * missed[0] else poses

    def freed(self, poses: Poses) -> Poses:
        """Poses (T) after each frame has gone by itself to where its small picture leads and all have come together
        again, as long as what is asked of the clip gets clearly nearer: its neighbours hold a frame in their mistake,
        and it holds them in it."""
        settings, frames = self.settings, np.arange(len(poses.shifts))
        least = self.clip.energy(poses, settings.smoothness) if settings.frees else 0.0
        for _ in range(settings.frees):
            small = self.clip.seen_by(self.levels[0].fit.with_parts(self.body))
            alone, _ = small.descend(poses, frames, poses, settings.coarse_steps)
            found = self.clip.together(small.together(alone, settings.rounds), settings.rounds)
            missed = self.clip.energy(found, settings.smoothness)
            if missed > settings.freed * least:
                break
            poses, least = found, missed
        return poses

    def smoothest(self, poses: Poses) -> Poses:
        """Poses drawn to ever smoother motion, until that makes pictures clearly less alike: what shakes without need
        does so because pictures hardly tell of it, and then they hardly mind either."""
        s, least = self.settings, self._unlike(poses)
        for _ in range(s.calmings):
            smoothness = s.calmer * self.smoothness
            calmer = self.clip.together(poses, s.rounds, smoothness)
            now = self._unlike(calmer)
            if now > s.calmings_unlike * least:
                break
            poses, least, self.smoothness = calmer, min(now, least), smoothness
        return poses

    def in_stride(self, poses: Poses) -> Poses:
        """Poses that look like the frames from the other side too, if the clip shows a gait in which the body sways:
        where it does not, the plane of symmetry tells depth as well."""
        settings, gait = self.settings.gait, gait_of(self.levels[0].fit.with_parts(self.body), self.clip, poses)
        if gait is None:
            return poses
        limit = settings.preferred * self._unlike(poses)
        found = poses
        for rounds, most in ((settings.first_rounds, settings.hopeful), (settings.rounds, settings.confirmed)):
            found = gait.together(found, rounds, self.smoothness)
            own = self._unlike(found)
            if own > limit or gait.unlike_mirrored(found) > most * own:
                return poses
        return found if gait.sway(found) >= settings.sway else poses

    def _unlike(self, poses: Poses) -> float:
        """How unlike its frames the clip looks in poses (T)."""
        return float(self.clip.fit.energies(poses, np.arange(len(poses.shifts))).sum())

    def _advance(self, index: int, direction: int) -> None:
        """Pose a frame from the frames before it (in ``direction``)."""
        if not self.clip.fit.unit[index]:
            self._keep(index, self.poses[[index - direction]])
            return
        last = self.poses[[index - direction]]
        two = index - 2 * direction
        goes_on = 0 <= two < len(self.clip.joined) and (self.clip.anchor - two) * direction <= 0
        expected = self._onward(self.poses[[two]], last) if goes_on else last
        starts = [expected, last, self._over_mask(expected, index), *self._guided(index)]
        self._keep(index, self._best(starts, index, expected, self._limit()))
        self.typical.append(float(self.clip.fit.energies(self.poses[[index]], np.array([index]))[0]))

    def _repair(self, index: int) -> bool:
        """Pose a frame again if its picture is unlike others', between its neighbours; whether it was."""
        frame, frames = np.array([index]), len(self.clip.joined)
        now = self.poses[[index]]
        if not self.clip.fit.unit[index] or self.clip.fit.energies(now, frame)[0] <= self._limit():
            return False
        beside = [k for k in (index - 1, index + 1) if 0 <= k < frames]
        starts = [self.poses[[k]] for k in beside]
        expected = self._between(starts[0], starts[1]) if len(starts) == 2 else starts[0]
        starts += [
            self._onward(self.poses[[k + k - index]], self.poses[[k]]) for k in beside if 0 <= k + k - index < frames
        ]
        self._keep(index, self._descended([expected, now, *starts, *self._guided(index)], index, expected)[0])
        return True

    def _guided(self, index: int) -> list[Poses]:
        return [] if self.guide is None else [self.guide[[index]]]

    def _limit(self) -> float:
        """Energy above which a frame's picture is unlike."""
        return self.settings.unlike * float(np.median(self.typical)) + self.settings.unlike_least

    def _best(self, starts: list[Poses], index: int, expected: Poses, limit: float) -> Poses:
        """The pose that is lowest after descents from starts; if it is above the limit, from turned limbs too."""
        pose, energy = self._descended(starts, index, expected)
        for _ in range(self.settings.kicks):
            if energy <= limit:
                break
            more, other = self._descended(self._kicked(pose, index), index, expected)
            if other >= energy * (1 - self.settings.least_gain):
                break
            pose, energy = more, other
        return pose

    def _descended(self, starts: list[Poses], index: int, expected: Poses) -> tuple[Poses, float]:
        """The lowest end of descents through all levels, from the likeliest starts; only the best few go on to the
        finer."""
        poses = Poses.joined(starts)
        if len(starts) > self.settings.tried:
            unlike = self.levels[0].fit.energies(poses, np.full(len(starts), index))
            poses = poses[np.argsort(unlike, kind="stable")[: self.settings.tried]]
        energies = np.zeros(len(poses.shifts))
        for level, rounds in zip(self.levels, (self.settings.coarse_steps, self.settings.steps), strict=True):
            if level is not self.levels[0]:
                poses = poses[np.argsort(energies, kind="stable")[: self.settings.kept]]
            count = len(poses.shifts)
            about = Poses(np.repeat(expected.turns, count, axis=0), np.repeat(expected.shifts, count, axis=0))
            poses, energies = level.descend(poses, np.full(count, index), about, rounds)
        best = int(energies.argmin())
        return poses[[best]], float(energies[best])

    def _kicked(self, pose: Poses, index: int) -> list[Poses]:
        """Poses with one limb turned far, or flipped in depth: the best few of many, by their pictures alone."""
        s, count = self.settings, len(self.skeleton)
        fit = self.levels[0].fit
        turns, places = place_parts(self.skeleton, pose[0])
        tries, limbs = [], []
        axes = np.concatenate([self.clip.axes, -self.clip.axes])
        for part in range(count):
            for angle in (s.kick_near, s.kick_far):
                for axis in axes:
                    tries.append(self._turned(pose, turns, part, angle * axis))
                    limbs.append(part)
            tip = self._tip(part, turns, places)
            away = places[part] / np.linalg.norm(places[part])
            flipped = tip - 2 * (tip @ away) * away
            axis = np.cross(tip, flipped)
            sine, cosine = np.linalg.norm(axis), float(tip @ flipped)
            if sine > 1e-9:
                tries.append(self._turned(pose, turns, part, axis / sine * np.arctan2(sine, cosine)))
                limbs.append(part)
        several = Poses.joined(tries)
        energies = fit.energies(several, np.full(len(tries), index))
        chosen: list[int] = []
        for each in np.argsort(energies):
            if sum(limbs[k] == limbs[each] for k in chosen) < 2:  # not all of one limb
                chosen.append(int(each))
            if len(chosen) == s.starts:
                break
        return [several[[k]] for k in chosen]

    def _turned(self, pose: Poses, turns: Float64, part: int, about: Float64) -> Poses:
        """The pose with a part turned about its joint by a rotation vector in space."""
        out = pose.turns.copy()
        own = turns[part].T @ about
        out[0, part] = out[0, part] @ Rotation.from_rotvec(own).as_matrix()
        return Poses(out, pose.shifts)

    def _tip(self, part: int, turns: Float64, places: Float64) -> Float64:
        """(3,) from a part's joint to the middle of what hangs on it."""
        below: Int64 = self.skeleton.below(part)
        middles = self.clip.fit.middles[below] - self.skeleton.joints[below]
        return (np.einsum("nab,nb->na", turns[below], middles) + places[below]).mean(axis=0) - places[part]

    def _onward(self, before: Poses, last: Poses) -> Poses:
        return last.moved(differences(before, last, self.clip.size) / self.clip.units)

    def _between(self, first: Poses, second: Poses) -> Poses:
        return first.moved(0.5 * differences(first, second, self.clip.size) / self.clip.units)

    def _over_mask(self, pose: Poses, index: int) -> Poses:
        """The pose shifted across the view so that its picture's middle is that of the frame's mask."""
        fit = self.levels[0].fit
        drawn = fit.synthesis.pictures(fit.body.posed(pose), fit.corners[[index]])[0, ..., 3].astype(np.float64)
        wanted = fit.targets[index, ..., 3]
        if not drawn.any() or not wanted.any():
            return pose
        off = np.subtract(*middles(np.stack([wanted, drawn])))
        off *= fit.synthesis.width / fit.synthesis.side  # in sides of the picture
        depth = float(fit.body.vertices[:, 2].mean() + pose.shifts[0, 2])
        shift = np.append(off * depth / fit.focal, 0.0)
        return Poses(pose.turns, pose.shifts + shift)

    def _keep(self, index: int, pose: Poses) -> None:
        self.poses.turns[index], self.poses.shifts[index] = pose.turns[0], pose.shifts[0]
