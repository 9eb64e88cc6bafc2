"""Limbs that were taken for one another between two frames in which they point the same way.

Two legs that meet in the view may pass each other or turn back, and pictures looked at one by one hardly tell which. So
from where two limbs meet to where they meet again each is laid where the other was seen (inverse kinematics by damped
least squares), and all frames of that stretch are posed together: an exchange of identities over a segment, as trackers
of several objects make it. It stays where the clip as a whole gains by it.

A limb is known by what does not depend on how it is cut into parts: its tip, and the line that leads there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from v2m4.arrays import Float64, Int64, Mask
from v2m4.settings import ExchangeSettings
from v2m4.stages.registration.parts.clip_fit import ClipFit
from v2m4.stages.registration.parts.pose_fit import Body
from v2m4.stages.registration.parts.skeleton import Poses, skinned, weighed

_STEP = 1e-3  # radians, by which slopes of a limb's line are measured
_LEAST = 1e-7  # added to diagonals


@dataclass(frozen=True)
class Limb:
    """parts: (M,) those that it consists of, the one that carries the others first. reach: its length, and above: (V,)
    how far from its tip its vertices are (infinite for others'), both along the skeleton and in sizes of the object."""

    parts: Int64
    reach: float
    above: Float64


def limbs_of(body: Body, least_reach: float) -> list[Limb]:
    """What ends at least ``least_reach`` sizes from where it leaves the rest of the body."""
    skeleton, size, count = body.skeleton, body.size, len(body.skeleton)
    parents = skeleton.parents.tolist()
    # 1. Ways from the root along joints, and how far each part's skin reaches by them.
    way = np.zeros(count)
    for part in range(1, count):
        way[part] = way[parents[part]] + np.linalg.norm(skeleton.joints[part] - skeleton.joints[parents[part]])
    carrier = body.weights.argmax(axis=1)  # (V,)
    far = way[carrier] + np.linalg.norm(body.vertices - skeleton.joints[carrier], axis=1)  # (V,)
    ends = np.full(count, -np.inf)
    np.maximum.at(ends, carrier, far)
    # 2. Tips, the furthest first: each takes what leads there; what hardly leaves that is no tip.
    taken, tips = np.zeros(count, bool), []
    for part in np.argsort(-ends, kind="stable").tolist():
        path = _up(parents, part, ~taken)
        if not path or not np.isfinite(ends[part]):
            continue
        taken[path] = True
        if ends[part] - way[path[-1]] >= least_reach * size:
            tips.append(part)
    # 3. A limb begins below where the way to another tip leaves its own.
    shared = np.zeros(count, np.int64)
    for tip in tips:
        shared[_up(parents, tip, np.ones(count, bool))] += 1
    out = []
    for tip in tips:
        own = [part for part in _up(parents, tip, shared == 1) if part > 0]
        if own and ends[tip] - way[own[-1]] >= least_reach * size:
            parts = skeleton.below(own[-1])
            above = np.where(np.isin(carrier, parts), (ends[tip] - far) / size, np.inf)
            out.append(Limb(parts, float(ends[tip] - way[own[-1]]) / size, above))
    return out


def _up(parents: list[int], part: int, allowed: Mask) -> list[int]:
    """The part and those that it hangs on, one above the other, as long as they are allowed (N,)."""
    path = []
    while part >= 0 and allowed[part]:
        path.append(part)
        part = parents[part]
    return path


class Pair:
    """Two limbs of a body, seen from the camera over the length that both have."""

    def __init__(self, body: Body, first: Limb, second: Limb, settings: ExchangeSettings) -> None:
        self.skeleton, self.limbs = body.skeleton, (first, second)
        length, spread = min(first.reach, second.reach), weighed(body.vertices, body.weights)
        bands = zip(*(_bands(limb.above / length, settings) for limb in self.limbs), strict=True)
        both = np.stack([marks for marks in bands if marks[0].any() and marks[1].any()], axis=1)  # (2,K,V)
        self._spread = both / both.sum(axis=-1, keepdims=True) @ spread  # (2,K,4N) as `skinned` takes it
        parts = np.concatenate([first.parts, second.parts])
        self.moving = (3 + 3 * parts[:, None] + np.arange(3)).reshape(-1)  # of a pose's numbers

    def lines(self, poses: Poses) -> Float64:
        """(2,B,K,3) the middle lines of both in poses (B), tips first."""
        return np.stack([skinned(self.skeleton, poses, spread) for spread in self._spread])

    def angles(self, poses: Poses) -> Float64:
        """(B,) by how much the first one's direction in the view differs from the second's, in -pi to pi."""
        lines = _in_view(self.lines(poses))
        ways = lines[:, :, 0] - lines[:, :, -1]
        first, second = np.arctan2(ways[..., 1], ways[..., 0])
        return np.angle(np.exp(1j * (first - second)))


def _bands(above: Float64, settings: ExchangeSettings) -> list[Float64]:
    """Where vertices are that lie at (V,) of a limb's length above its tip: the tip's, then pieces of like length."""
    count = settings.pieces
    pieces = [(above >= k / count) & (above < (k + 1) / count) for k in range(count)]
    return [each.astype(np.float64) for each in [above < settings.tip, *pieces]]


def _in_view(points: Float64) -> Float64:
    return points[..., :2] / points[..., 2:]


@dataclass(frozen=True)
class Exchanged:
    """poses: (T) with a pair of limbs exchanged. share: what all that is asked for has become, over what it was."""

    poses: Poses
    share: float


class Exchange:
    """small, clip: the same frames in small pictures and in larger ones, of the same body."""

    def __init__(self, small: ClipFit, clip: ClipFit) -> None:
        self.small, self.clip, self.settings = small, clip, clip.settings.exchange
        body = clip.fit.body
        self.pairs = list(self._pairs(body, limbs_of(body, self.settings.least_reach)))

    def improved(self, poses: Poses) -> tuple[Poses, Exchanged | None]:
        """Poses (T) with every exchange that is a gain as it is, and then the best of those that may become one once
        joints and skin are solved again."""
        refused = dict[tuple[int, int, int], Exchanged | None]()
        for _ in range(self.settings.most):
            found = self._first_gain(poses, refused)
            if found is None:
                break
            poses, number = found
            moved = self.pairs[number].moving
            for key in list(refused):  # those with a limb that is elsewhere now may be right then
                if refused[key] is not None or np.isin(self.pairs[key[0]].moving, moved).any():
                    del refused[key]
        open_ones = [each for each in refused.values() if each is not None]
        return poses, min(open_ones, key=lambda each: each.share, default=None)

    def _first_gain(
        self, poses: Poses, refused: dict[tuple[int, int, int], Exchanged | None]
    ) -> tuple[Poses, int] | None:
        """Poses with an exchange that is a gain, and the number of its pair. What is none is noted down."""
        laid = []
        for number, pair in enumerate(self.pairs):
            angles = pair.angles(poses)
            for frames in self._stretches(angles):
                key = (number, int(frames[0]), int(frames[-1]))
                if key not in refused:
                    refused[key] = None
                    start = self._laid(pair, poses[frames])
                    before, after = (self.small.fit.energies(each, frames).sum() for each in (poses[frames], start))
                    if before > 0 and after <= self.settings.unlike * before:
                        laid.append((after / before, key, frames, start, angles[frames]))
        for _, key, frames, start, angles in sorted(laid, key=lambda each: each[:2]):
            tried = self._descended(poses, frames, start, self.pairs[key[0]], angles)
            if tried is not None and tried.share < 1 - self.settings.gain:
                return tried.poses, key[0]
            refused[key] = tried
        return None

    def _pairs(self, body: Body, limbs: list[Limb]) -> Iterator[Pair]:
        """Limbs that are alike in length and hang not far from each other."""
        rest = Poses.rest(body.skeleton, 1)
        for second, limb in enumerate(limbs):
            for other in limbs[:second]:
                short, long = sorted((limb.reach, other.reach))
                pair = Pair(body, limb, other, self.settings)
                hips = pair.lines(rest)[:, 0, -1]
                apart = float(np.linalg.norm(hips[0] - hips[1])) / body.size
                if long <= self.settings.alike * short and apart <= self.settings.apart * short:
                    yield pair

    def _stretches(self, angles: Float64) -> list[Int64]:
        """Frames from one meeting to the next, without those in which the anchor tells the limbs apart."""
        s, count, anchor = self.settings, len(angles), self.clip.anchor
        size = np.abs(angles)
        around = np.concatenate([size[:1], size, size[-1:]])
        least = (size <= around[:-2]) & (size <= around[2:]) & (size <= s.near)
        met = set(np.flatnonzero(least).tolist())
        crossing = (angles[:-1] * angles[1:] < 0) & (np.abs(angles[:-1] - angles[1:]) < np.pi / 2)
        for frame in np.flatnonzero(crossing).tolist():
            if not met & {frame, frame + 1}:
                met.add(frame + int(size[frame + 1] < size[frame]))
        cuts = np.flatnonzero(~self.clip.joined[1:]).tolist()  # the motion does not go on after these frames
        ends = sorted({(frame, frame) for frame in met} | {(frame, frame + 1) for frame in [-1, *cuts, count - 1]})
        out = []
        for (_, first), (last, _) in pairwise(ends):
            frames = np.arange(first, last + 1)
            if not met & {first, last} or first < anchor < last or (anchor in frames and anchor not in met):
                continue
            frames = frames[frames != anchor]
            if len(frames) >= s.least_frames and size[frames].max() > s.near:
                out.append(frames)
        return out

    def _laid(self, pair: Pair, poses: Poses) -> Poses:
        """Poses (B) in which each limb of a pair lies where the other one is seen in them."""
        s, clip, columns = self.settings, self.clip, pair.moving
        lines = pair.lines(poses)
        depth = float(lines[..., 2].mean()) / clip.size  # what makes places in the view sizes of the object
        goals = depth * _in_view(lines[::-1])
        poses, count = Poses(poses.turns.copy(), poses.shifts.copy()), len(poses.shifts)

        def missed(tried: Poses) -> Float64:
            """(B,R)."""
            return np.moveaxis(depth * _in_view(pair.lines(tried)) - goals, 1, 0).reshape(count, -1)

        def energies(tried: Poses) -> Float64:
            return s.line * (missed(tried) ** 2).sum(axis=1) + clip.prior_energies(tried)

        total, damping = energies(poses), np.full(count, clip.settings.damping)
        for _ in range(s.laying):
            # 1. Slopes of both lines, and what is asked of single poses.
            off, slopes = missed(poses), []
            for column in columns:
                step = np.zeros((count, len(clip.units)))
                step[:, column] = _STEP
                slopes.append((missed(poses.moved(step)) - off) / _STEP)
            slope = np.stack(slopes, axis=-1)  # (B,R,C)
            matrices, gradients = clip.priors(poses)
            system = s.line * np.swapaxes(slope, 1, 2) @ slope + matrices[:, columns[:, None], columns]
            right = s.line * np.einsum("brc,br->bc", slope, off) + gradients[:, columns]
            added = damping[:, None] * np.einsum("bcc->bc", system) + _LEAST
            # 2. A step of each, kept where it leads down.
            steps = np.zeros((count, len(clip.units)))
            damped = system + added[..., None] * np.eye(len(columns))
            steps[:, columns] = -np.linalg.solve(damped, right[..., None])[..., 0]
            tried = poses.moved(clip.limited(steps))
            after = energies(tried)
            better = after < total
            poses.turns[better], poses.shifts[better] = tried.turns[better], tried.shifts[better]
            total = np.where(better, after, total)
            damping *= np.where(better, clip.settings.damping_down, clip.settings.damping_up)
        return poses

    def _descended(self, poses: Poses, frames: Int64, start: Poses, pair: Pair, angles: Float64) -> Exchanged | None:
        """The clip with other poses of a stretch of frames, posed together in small pictures and in larger ones; none
        if the limbs fall back, to where the angle between them was (B,), or pictures get clearly less alike."""
        found = Poses(poses.turns.copy(), poses.shifts.copy())
        found.turns[frames], found.shifts[frames] = start.turns, start.shifts
        share = 0.0
        for level, rounds in ((self.small, self.settings.small_rounds), (self.clip, self.settings.rounds)):
            found = level.within(found, frames, rounds)
            smooth = level.settings.smoothness
            share = level.energy(found, smooth) / max(level.energy(poses, smooth), _LEAST)
            kept = float(pair.angles(found[frames]) @ angles) / float(angles @ angles)
            limit = self.settings.hopeful_small if level is self.small else self.settings.hopeful
            if share > limit or kept > -self.settings.turned:
                return None
        return Exchanged(found, share)
