"""Fits poses of a jointed body to frames: Levenberg-Marquardt on the difference of pictures.

Derivatives are differences of pictures drawn a little to either side, so that outlines and what hides what take part.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from v2m4.arrays import Float32, Float64, Int32, Int64, Mask
from v2m4.geometry.camera import Camera
from v2m4.geometry.cleanup import encloses
from v2m4.render.threads import parallel_for, side_by_side
from v2m4.settings import PartsSettings
from v2m4.stages.registration.parts.probes_numba import probe_pictures, vertex_normals_of
from v2m4.stages.registration.parts.skeleton import Poses, Skeleton, place_parts, skinned, weighed
from v2m4.stages.registration.parts.skeleton_numba import carry
from v2m4.stages.registration.parts.synthesis import Synthesis

_LEAST_SHARE = 1e-6  # of a vertex: of no account, but not nothing

Further = Callable[[Float64, Float64, Float64, int], Float32]
"""Slopes (K,S*S*4) of pictures about further numbers: of posed vertices (V,3), turns (N,3,3), places (N,3), a frame."""


@dataclass(frozen=True)
class Body:
    """A mesh (vertices (V,3) at rest) that a skeleton carries with weights (V,N). size: its longest side."""

    skeleton: Skeleton
    vertices: Float64
    weights: Float64

    @property
    def size(self) -> float:
        return float(np.ptp(self.vertices, axis=0).max())

    def posed(self, poses: Poses) -> Float64:
        """(...,V,3)."""
        return skinned(self.skeleton, poses, self._weighed)

    @cached_property
    def _weighed(self) -> Float64:
        return weighed(self.vertices, self.weights)


@dataclass(frozen=True)
class Normal:
    """Least squares about B poses. energies: (B,). matrix: (B,P,P), gradient: (B,P) of half the energy."""

    energies: Float64
    matrix: Float64
    gradient: Float64


class PoseFit:
    """Compares poses of a body with targets (T,S,S,4), pictures of the frames' squares at ``corners`` (T,2).

    valid: (T,S,S) 1 where those show the frame, 0 beyond its border. seen: (T,) frames that show the object; the others
    ask for nothing. closed: the mesh is known to show only its fronts outside; else its border tells.
    """

    def __init__(
        self,
        body: Body,
        synthesis: Synthesis,
        targets: Float32,
        corners: Float64,
        valid: Float32,
        seen: Mask,
        settings: PartsSettings,
        closed: bool = False,
    ) -> None:
        self.body, self.synthesis, self.corners, self.settings = body, synthesis, corners, settings
        weights = np.array([settings.colour] * 3 + [settings.coverage], np.float32) ** 0.5
        self.channels = weights * valid[..., None]  # (T,S,S,4)
        self.targets = targets * self.channels
        pixels = np.maximum(targets[..., 3].sum(axis=(1, 2)), 1.0)
        self.focal = Camera.identity().focal
        self.unit = seen / pixels  # (T,) one over the pixels of the object
        self.closed = closed or encloses(body.vertices, synthesis.faces.astype(np.int64), settings.border)
        self._take(body)

    def _take(self, body: Body) -> None:
        """What is known of a body's parts, once for all poses."""
        synthesis, settings, self.body = self.synthesis, self.settings, body
        count = len(body.skeleton)
        skeleton = body.skeleton
        self._inside = np.zeros((count, count))  # of each part's subtree
        for part in range(count):
            self._inside[part, skeleton.below(part)] = 1.0
        self.below = self._inside.T  # (N,K) 1 where part n is part k or hangs on it
        self.shares = body.weights.sum(axis=0) / len(body.weights)  # (N,) of the skin
        mass = body.weights / np.maximum(body.weights.sum(axis=0), 1e-9)
        self.middles = mass.T @ body.vertices  # (N,3)
        self._shares = np.ascontiguousarray(self._inside @ body.weights.T, np.float32)  # (N,V)
        moves = np.asarray((self._shares > 0)[:, synthesis.faces].any(axis=2))  # (N,F)
        ends = np.zeros((count, len(body.vertices)), bool)  # of the faces that move
        for part, moving in enumerate(moves):
            ends[part, synthesis.faces[moving]] = True
        self._moving, self._fixed, self._corners = _lists(moves), _lists(~moves), _lists(ends)
        signed = np.repeat(np.eye(3), 2, axis=0) * np.tile([1.0, -1.0], 3)[:, None]  # (6,3)
        self._probe_turns = Rotation.from_rotvec(settings.probe_turn * signed).as_matrix()
        lengths = np.array([settings.probe_shift, settings.probe_shift, settings.probe_depth]) * body.size
        self._probe_shifts = signed * lengths.repeat(2)[:, None]
        self.probes = np.concatenate([lengths, np.full(3 * count, settings.probe_turn)])  # (P,)

    def with_body(self, body: Body) -> PoseFit:
        """The same for a body whose joints and weights differ, on the same tree, where no part carries a vertex that it
        did not. What priors read (``shares``, ``middles``) stays."""
        out = copy.copy(self)
        out.body = body
        out._shares = np.ascontiguousarray(self._inside @ body.weights.T, np.float32)
        return out

    def with_parts(self, body: Body) -> PoseFit:
        """The same for a body with other parts."""
        out = copy.copy(self)
        out._take(body)
        return out

    def flipped(self) -> PoseFit:
        """The same frames with left and right exchanged, as a mirror before the camera shows them."""
        out = copy.copy(self)
        out.targets, out.channels = (np.ascontiguousarray(each[:, :, ::-1]) for each in (self.targets, self.channels))
        out.corners = self.corners * [-1, 1] + [1 - self.synthesis.width, 0]
        out.synthesis = self.synthesis.lit(self.synthesis.light * [1, -1, 1, 1])
        return out

    def colourless(self) -> PoseFit:
        """The same, where nothing but coverage is compared."""
        out, only = copy.copy(self), np.array([0, 0, 0, 1], np.float32)
        out.targets, out.channels = self.targets * only, self.channels * only
        return out

    def differences(self, vertices: Float64, frames: Int64) -> Float32:
        """(B,S*S*4) pictures of posed vertices (B,V,3) less their frames'."""
        drawn = self.synthesis.pictures(vertices, self.corners[frames]) * self.channels[frames]
        return (drawn - self.targets[frames]).reshape(len(vertices), -1)

    def energies(self, poses: Poses, frames: Int64) -> Float64:
        """(B,) sums of squared differences over the object's pixels."""
        return self.vertex_energies(self.body.posed(poses), frames)

    def vertex_energies(self, vertices: Float64, frames: Int64) -> Float64:
        """The same for posed vertices (B,V,3)."""
        off = self.differences(vertices, frames)
        return np.einsum("bi,bi->b", off, off).astype(np.float64) * self.unit[frames]

    def linearised(self, poses: Poses, frames: Int64, further: Further | None = None) -> Normal:
        """Least squares of pictures about poses, and about K numbers after them whose slopes ``further`` tells."""
        size = len(self.probes)
        turns, places = place_parts(self.body.skeleton, poses)  # (B,N,3,3), (B,N,3)
        told: dict[int, tuple[Float32, Float32]] = {}
        vertices = self.body.posed(poses)
        off = self.differences(vertices, frames)  # (B,S*S*4)
        energies = np.einsum("bi,bi->b", off, off).astype(np.float64) * self.unit[frames]

        def at(b: int) -> None:
            frame = frames[b]
            told_by = [self.slopes(vertices[b], turns[b], places[b], frame).reshape(size, -1)]  # (P,S*S*4)
            if further is not None:
                told_by.append(further(vertices[b], turns[b], places[b], frame))  # (K,S*S*4)
            # 1. What no number changes is left out first: that is most of a picture.
            channels = self.channels[frame].reshape(-1)
            active = np.flatnonzero(np.any([(each != 0).any(axis=0) for each in told_by], axis=0) & (channels > 0))
            parts = [each.take(active, axis=1) for each in told_by]  # an index into both axes takes four times as long
            parts[0] /= self.probes[:, None].astype(np.float32)
            # 2. Of all that is left, (P+K,A), the numbers of one pixel together: products depend on the order.
            slope = np.asfortranarray(np.concatenate(parts) * channels[active])
            unit = self.unit[frame]
            told[b] = ((slope @ slope.T) * unit, (slope @ off[b][active]) * unit)

        side_by_side(at, len(frames))
        matrices, gradients = (np.stack([told[b][k] for b in range(len(frames))]).astype(np.float64) for k in (0, 1))
        return Normal(energies, matrices, gradients)

    def slopes(self, vertices: Float64, turns: Float64, places: Float64, frame: int) -> Float32:
        """(P,S,S,4) half of what pictures change by from one side of a probe to the other."""
        skeleton = self.body.skeleton
        count = len(skeleton)
        # 1. What of the vertices each part and those below it carry.
        carried = np.empty((count, len(vertices), 3), np.float32)
        carry(skeleton.parents, skeleton.joints, self.body.vertices, self.body.weights, turns, places, carried)
        # 2. Six probes for each part's turns about its joint and own axes, and for shifts of the whole.
        around = turns[:, None] @ self._probe_turns @ turns.transpose(0, 2, 1)[:, None]  # (N,6,3,3)
        moves = places[:, None] - np.einsum("nkab,nb->nka", around, places)
        around = np.concatenate([np.tile(np.eye(3), (1, 6, 1, 1)), around])
        moves = np.concatenate([self._probe_shifts[None], moves])
        parts = np.concatenate([[0], np.arange(count)])
        return self._probed(vertices, frame, carried, self._shares, parts, around, moves).reshape(-1, *self._shape)

    def shift_slopes(self, vertices: Float64, parts: Int64, frame: int) -> Float32:
        """(K,3,S,S,4) what pictures of posed vertices (V,3) change by as each of the parts (K,) is shifted with all
        that hangs on it, along the axes of space, per unit of length."""
        carried = np.zeros((len(self._shares), len(vertices), 3), np.float32)  # of no account where nothing turns
        around, moves = np.tile(np.eye(3), (len(parts), 6, 1, 1)), np.tile(self._probe_shifts, (len(parts), 1, 1))
        slopes = self._probed(vertices, frame, carried, self._shares, parts, around, moves)
        slopes /= self.probes[:3, None, None, None].astype(np.float32)
        return slopes

    def field_slopes(self, vertices: Float64, fields: Float64, parts: Int64, frame: int) -> Float32:
        """(K,S,S,4) what they change by as vertices move along fields (N,V,3), of which each of the parts (K,) has one
        that moves nothing which the part does not carry; per unit, to either side by ``probe_field``."""
        step = self.settings.rig.probe
        around = np.array([1 + step, 1 - step])[:, None, None] * np.tile(np.eye(3), (len(parts), 2, 1, 1))
        moves = np.zeros((len(parts), 2, 3))
        shares = _LEAST_SHARE * np.asarray(np.abs(fields).max(axis=-1) > 0, np.float32)  # tells what moves; no turn
        slopes = self._probed(vertices, frame, np.ascontiguousarray(fields, np.float32), shares, parts, around, moves)
        return slopes[:, 0] / np.float32(step)

    def _probed(
        self,
        vertices: Float64,
        frame: int,
        carried: Float32,
        shares: Float32,
        parts: Int64,
        around: Float64,
        moves: Float64,
    ) -> Float32:
        """(K,Q,S,S,4) what `probe_pictures` gives for parts (K,) that are turned (K,2 Q,3,3) and moved (K,2 Q,3)."""
        synthesis = self.synthesis
        posed = np.ascontiguousarray(vertices, np.float32)
        normals = np.empty_like(posed)
        vertex_normals_of(posed, synthesis.faces, normals)
        side, (left, top) = synthesis.side, self.corners[frame]
        camera = np.array([Camera.identity().focal, left, top, 2 * side / synthesis.width], np.float32)
        out = np.empty((len(parts), around.shape[1] // 2, *self._shape), np.float32)
        looks = (posed, normals, synthesis.faces, synthesis.albedo, synthesis.light, camera, self.closed)
        probes = (np.asarray(parts, np.int32), np.asarray(around, np.float32), np.asarray(moves, np.float32))

        def work(group0: int, group1: int, _row0: int, _row1: int) -> None:
            probe_pictures(
                *looks, carried, shares, *probes, *self._moving, *self._fixed, *self._corners, group0, group1, out
            )

        parallel_for(work, len(parts), 1)
        return out

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.synthesis.side, self.synthesis.side, 4)


def _lists(chosen: Mask) -> tuple[Int32, Int32]:
    """Starts (N+1,) and indices of what is chosen (N,F) in each row."""
    starts = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))]).astype(np.int32)
    return starts, np.nonzero(chosen)[1].astype(np.int32)


def logs(turns: Float64) -> Float64:
    """Rotation vectors (...,3) of rotations (...,3,3)."""
    return Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_rotvec().reshape(turns.shape[:-1])
