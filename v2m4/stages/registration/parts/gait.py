"""Gaits that are alike on both sides: half a stride later, a body that walks is its own mirror image.

So the frame half a stride later shows the same pose once more, mirrored: a second view from the other side, as a single
picture of a symmetric object is two views of it (Francois, Medioni and Waupotitsch 2003). It tells depth, and how the
body sways, which its plane of symmetry at rest would forbid. The motion repeats by a glide reflection: mirrored at a
plane that stays where it is, and carried on along it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solveh_banded

from v2m4.arrays import Float64, Int64, Mask
from v2m4.settings import GaitSettings
from v2m4.stages.registration.parts.clip_fit import ClipFit, differences
from v2m4.stages.registration.parts.pose_fit import PoseFit
from v2m4.stages.registration.parts.skeleton import Poses, Skeleton
from v2m4.stages.registration.parts.synthesis import middles

_SIDEWAYS = np.diag([-1.0, 1.0, 1.0])  # what a mirror before the camera does
_SMALL = 1e-4  # steps by which a stride's derivatives are measured
_FREE = 2 + 3  # numbers of a stride that are solved for: tilts and shifts of its plane
_LEAST = 1e-7  # added to diagonals, for what nothing tells


@dataclass(frozen=True)
class Stride:
    """``lag`` frames later (multiples of a half) the body is the mirror image of itself at the plane of points x with
    ``normal`` (3,) . x = offset, ``advance`` (3,) further along it. In camera space; the plane tilts about ``middle``.
    """

    lag: float
    normal: Float64
    offset: float
    advance: Float64
    middle: Float64

    def back(self) -> Stride:
        """The same, ``lag`` frames earlier."""
        return replace(self, lag=-self.lag, advance=-self.advance)

    def moved(self, steps: Float64, size: float) -> Stride:
        """After steps (5,): two tilts in radians, then shifts across and twice along the plane in ``size``."""
        first = np.cross(self.normal, np.eye(3)[np.abs(self.normal).argmin()])
        first /= np.linalg.norm(first)
        second = np.cross(self.normal, first)
        normal = self.normal + steps[0] * first + steps[1] * second
        normal /= np.linalg.norm(normal)
        offset = self.offset + size * steps[2] + (normal - self.normal) @ self.middle
        advance = self.advance + size * (steps[3] * first + steps[4] * second)
        return replace(self, normal=normal, offset=offset, advance=advance - (advance @ normal) * normal)

    @property
    def rotation(self) -> Float64:
        """(3,3) of the rigid motion that takes the body to what a flipped camera sees ``lag`` frames later."""
        return _SIDEWAYS @ (np.eye(3) - 2 * np.outer(self.normal, self.normal))

    @property
    def shift(self) -> Float64:
        """(3,) of the same."""
        return _SIDEWAYS @ (2 * self.offset * self.normal + self.advance)

    def seen(self, vertices: Float64) -> Float64:
        """Vertices (...,3) after that motion."""
        return vertices @ self.rotation.T + self.shift

    def posed(self, skeleton: Skeleton, poses: Poses) -> Poses:
        """Poses (B) after it."""
        turns, joint = poses.turns.copy(), skeleton.joints[0]
        turns[:, 0] = self.rotation @ turns[:, 0]
        return Poses(turns, (joint + poses.shifts) @ self.rotation.T + self.shift - joint)


@dataclass(frozen=True)
class Views:
    """Frames (B,) that show, flipped, the poses a ``share`` (B,) of the way from poses ``first`` (B,) to the next."""

    first: Int64
    share: Float64
    frames: Int64

    @staticmethod
    def of(lag: float, joined: Mask, seen: Mask) -> Views:
        """Of a `Stride` with this lag, where frames show the object and the motion goes on."""
        count = len(joined)
        frames = np.arange(count)
        first = np.floor(frames - lag).astype(np.int64)
        share = frames - lag - first
        inside = (first >= 0) & (first + (share > 0) < count)
        kept = inside & seen & seen[np.clip(first, 0, count - 1)]
        kept &= (share == 0) | joined[np.clip(first + 1, 0, count - 1)]
        return Views(first[kept], share[kept], frames[kept])

    @property
    def second(self) -> Int64:
        """(B,) the pose on the other side."""
        return self.first + (self.share > 0)

    def where(self, chosen: Mask) -> Views:
        """Those of the chosen frames (T,)."""
        kept = chosen[self.frames]
        return Views(self.first[kept], self.share[kept], self.frames[kept])

    def thinned(self, most: int) -> Views:
        """At most so many, spread over the clip."""
        kept = np.unique(np.linspace(0, len(self.frames) - 1, min(most, len(self.frames))).astype(np.int64))
        return Views(self.first[kept], self.share[kept], self.frames[kept])


@dataclass(frozen=True)
class StrideEquations:
    """Normal equations of T poses with P numbers each and of a stride's K. band: (2P+1,T P) of the poses, in upper
    banded form, to which are added: blocks (T,P,P) of each pose by itself, and beside (T,P,P) of the pose before (rows)
    with it. gradient: (T,P). border: (T,P,K) of poses with the stride. inner: (K,K), inner_gradient: (K,) of that."""

    band: Float64
    blocks: Float64
    beside: Float64
    gradient: Float64
    border: Float64
    inner: Float64
    inner_gradient: Float64

    @staticmethod
    def of(band: Float64, gradient: Float64, free: int) -> StrideEquations:
        """Of poses alone."""
        blocks = np.zeros((*gradient.shape, gradient.shape[1]))
        border, inner = np.zeros((*gradient.shape, free)), np.zeros((free, free))
        return StrideEquations(band, blocks, blocks.copy(), gradient.copy(), border, inner, np.zeros(free))

    def steps(self, damping: float) -> tuple[Float64, Float64]:
        """Steps of the poses (T,P) and of the stride (K,), by Levenberg-Marquardt and Schur's complement."""
        count, size = self.gradient.shape
        # 1. The matrix of all poses in upper banded form.
        band = self.band.reshape(2 * size + 1, count, size).copy()
        for column in range(size):
            band[2 * size - column :, :, column] += self.blocks[:, : column + 1, column].T
            band[size - column : 2 * size - column, :, column] += self.beside[:, :, column].T
        band[-1] *= 1 + damping
        band[-1] += _LEAST
        # 2. Solved for the gradient and for each column of the stride.
        sides = np.concatenate([self.gradient.reshape(-1, 1), self.border.reshape(count * size, -1)], axis=1)
        solved, border = solveh_banded(band.reshape(2 * size + 1, -1), sides), sides[:, 1:]
        inner = self.inner + np.diag(damping * np.diag(self.inner) + _LEAST) - border.T @ solved[:, 1:]
        stride = -np.linalg.solve(inner, self.inner_gradient - border.T @ solved[:, 0])
        return -(solved[:, 0] + solved[:, 1:] @ stride).reshape(count, size), stride


class StrideSearch:
    """Whether shapes (T,V,3) of a body repeat mirrored. mirrored: the flipped frames in small pictures. normal:
    (3,) across the body's plane of symmetry."""

    def __init__(
        self, mirrored: PoseFit, shapes: Float64, joined: Mask, normal: Float64, settings: GaitSettings
    ) -> None:
        self.mirrored, self.shapes, self.joined, self.normal = mirrored, shapes, joined, normal
        self.settings = settings
        self.middles = shapes.mean(axis=1)  # (T,3)

    def found(self) -> Stride | None:
        """The stride, if there seems to be one."""
        s, middle = self.settings, self.middles.mean(axis=0)
        # 1. Seen from the side or from the front, the mirror image is the same view again, and tells nothing.
        cosine = float(self.normal @ middle / np.linalg.norm(middle))
        if 2 * abs(cosine) * float(np.sqrt(max(1 - cosine**2, 0.0))) < s.apart:
            return None
        # 2. How unlike the frames the mirrored shapes look, for every lag.
        strides = [self._guess(lag) for lag in np.arange(s.least_lag, len(self.shapes) - s.least_frames, 0.5)]
        if len(strides) < s.least_lags:
            return None
        unlike = np.array([self.unlike(stride) for stride in strides])
        # 3. Of those nearly as good as the best, the first that is better than its neighbours: most frames tell of it.
        # The shortest lag is not, it only looks like no lag at all.
        best = [k for k in range(1, len(unlike) - 1) if unlike[k] == unlike[max(k - 2, 0) : k + 3].min()]
        most = min(s.alike * float(np.median(unlike)), s.nearly * unlike[best].min(initial=np.inf))
        return next((strides[k] for k in best if unlike[k] <= most), None)

    def unlike(self, stride: Stride) -> float:
        """Mean difference of frames from the mirrored shapes, each shifted to where the frame shows the body: how it
        sways is not known yet."""
        fit, total = self.mirrored, []
        for each in (stride, stride.back()):
            views = Views.of(each.lag, self.joined, fit.unit > 0).thinned(self.settings.samples)
            share = views.share[:, None, None]
            seen = each.seen((1 - share) * self.shapes[views.first] + share * self.shapes[views.second])
            drawn = fit.synthesis.pictures(seen, fit.corners[views.frames])[..., 3]
            off = middles(fit.targets[views.frames, ..., 3]) - middles(drawn)  # (B,2) in pixels
            off *= fit.synthesis.width / fit.synthesis.side / fit.focal * seen[..., 2].mean(axis=1)[:, None]
            total.append(fit.vertex_energies(seen + np.pad(off, ((0, 0), (0, 1)))[:, None], views.frames))
        return float(np.concatenate(total).mean())

    def _guess(self, lag: float) -> Stride:
        middle, whole = self.middles.mean(axis=0), int(np.ceil(lag))
        advance = (self.middles[whole:] - self.middles[:-whole]).mean(axis=0) * lag / whole
        advance -= (advance @ self.normal) * self.normal
        return Stride(float(lag), self.normal, float(middle @ self.normal), advance, middle)


class GaitFit(ClipFit):
    """`ClipFit` of a gait: every pose also is to look like the flipped frame half a stride later, and earlier. Where
    the plane of that is, and the body in it, the pictures tell; so the body may sway."""

    def __init__(self, clip: ClipFit, stride: Stride, mirrored: PoseFit) -> None:
        super().__init__(clip.fit, clip.anchor, clip.joined, clip._plane, clip._held)
        self.stride, self.mirrored = stride, mirrored
        # A depth that all frames share is only told by the anchor: nothing else may hold it, and it must not jump.
        self._whole_beside = self._depth_hold = 0.0
        self._anchor_hold = self.settings.gait.anchor_hold
        self._pace[2] = self.settings.depth_pace
        seen = mirrored.unit > 0
        later, earlier = (Views.of(way * stride.lag, self.joined, seen) for way in (1, -1))
        # Each frame shows one pose only, to save time: first and second halves of whole strides show each other.
        first = np.isin(np.arange(len(seen)), earlier.frames) & (np.arange(len(seen)) % (2 * stride.lag) < stride.lag)
        self._views = [later.where(~first), earlier.where(first)]

    def _between(self, views: Views, poses: Poses) -> Poses:
        first, second = poses[views.first], poses[views.second]
        return first.moved(views.share[:, None] * differences(first, second, self.size) / self.units)

    def sway(self, poses: Poses) -> float:
        """How far the body of poses (T) goes from side to side, as a standard deviation, in sizes."""
        return float(self.off_plane(poses).std())

    def unlike_mirrored(self, poses: Poses) -> float:
        """Sum over frames of squared differences of poses (T) from what the flipped frames show of them."""
        return self._mirrored_energy(poses, self.stride)

    def _mirrored_energy(self, poses: Poses, stride: Stride) -> float:
        total = 0.0
        for each, views in zip((stride, stride.back()), self._views, strict=True):
            seen = each.posed(self.fit.body.skeleton, self._between(views, poses))
            total += float(self.mirrored.energies(seen, views.frames).sum())
        return total

    def together(self, poses: Poses, rounds: int, smoothness: float | None = None) -> Poses:
        """`ClipFit.together`, with the stride."""
        settings, damping = self.settings, self.settings.damping
        smooth = settings.smoothness if smoothness is None else smoothness
        total, equations = self._both_energies(poses, self.stride, smooth), self._equations(poses, smooth)
        for turn in range(rounds):
            steps, common = equations.steps(damping)
            tried, stride = poses.moved(self.limited(steps)), self.stride.moved(common, self.size)
            energy = self._both_energies(tried, stride, smooth)
            if energy >= total:
                damping *= settings.damping_up
                continue
            gain, poses, self.stride, total = (total - energy) / total, tried, stride, energy
            damping *= settings.damping_down
            if gain < settings.least_gain or turn + 1 == rounds:
                break
            equations = self._equations(poses, smooth)
        return poses

    def _both_energies(self, poses: Poses, stride: Stride, smoothness: float) -> float:
        return self.energy(poses, smoothness) + self.settings.gait.weight * self._mirrored_energy(poses, stride)

    def _equations(self, poses: Poses, smoothness: float) -> StrideEquations:
        """Normal equations of what poses and stride are to make small."""
        equations, size = StrideEquations.of(*self.normal(poses, smoothness), _FREE), len(self.units)
        weight = self.settings.gait.weight
        for stride, views in zip((self.stride, self.stride.back()), self._views, strict=True):
            between, share = self._between(views, poses), views.share
            normal = self.mirrored.linearised(stride.posed(self.fit.body.skeleton, between), views.frames)
            # 1. What is seen moves as the pose does, its root's place turned; and as the stride does.
            by_pose = np.eye(size)
            by_pose[:3, :3] = stride.rotation
            by_stride = self._stride_slopes(between, stride is not self.stride)  # (B,P,5)
            matrix, gradient = weight * (by_pose.T @ normal.matrix), weight * normal.gradient
            equations.inner[:] += weight * np.einsum("bpk,bpl->kl", by_stride, normal.matrix @ by_stride)
            equations.inner_gradient[:] += np.einsum("bp,bpk->k", gradient, by_stride)
            border, own, gradient = matrix @ by_stride, matrix @ by_pose, gradient @ by_pose
            # 2. Shared out to the poses before and after.
            for at, part in ((views.first, 1 - share), (views.second, share)):
                np.add.at(equations.blocks, at, part[:, None, None] ** 2 * own)
                np.add.at(equations.gradient, at, part[:, None] * gradient)
                np.add.at(equations.border, at, part[:, None, None] * border)
            np.add.at(equations.beside, views.second, (share * (1 - share))[:, None, None] * own)
        return equations

    def _stride_slopes(self, poses: Poses, back: bool) -> Float64:
        """(B,P,5) how poses (B) seen move with the stride."""
        skeleton, slopes = self.fit.body.skeleton, []
        for step in np.eye(_FREE) * _SMALL:
            strides = (self.stride.moved(sign * step, self.size) for sign in (1, -1))
            ahead, behind = ((stride.back() if back else stride).posed(skeleton, poses) for stride in strides)
            slopes.append(differences(behind, ahead, self.size) / self.units / (2 * _SMALL))
        return np.stack(slopes, axis=-1)


def gait_of(small: PoseFit, clip: ClipFit, poses: Poses) -> GaitFit | None:
    """The clip with what a stride tells, if poses (T) may show one. small: its frames in small pictures."""
    settings = clip.settings.gait
    if not settings.weight or not clip.has_plane or not small.unit.any():
        return None
    # Both sides have the same shape, but not always the same colours.
    mirrored, shapes = small.colourless().flipped(), small.body.posed(poses)
    stride = StrideSearch(mirrored, shapes, clip.joined, clip.across, settings).found()
    return None if stride is None else GaitFit(clip, stride, clip.fit.colourless().flipped())
