"""A tree of rigid parts with ball joints that carries a mesh by linear blend skinning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from v2m4.arrays import Float64, Int64
from v2m4.geometry.rotations import closest_rotation
from v2m4.stages.registration.parts.skeleton_numba import chain

_LEAST_MASS = 1e-9  # of squared weights: a part with less carries nothing


@dataclass(frozen=True)
class Skeleton:
    """N parts. parents: (N,) each part's, which comes before it; -1 for the first, the root. joints: (N,3) where each
    is tied to its parent, at rest; the root's is the point it turns about."""

    parents: Int64
    joints: Float64

    def __len__(self) -> int:
        return len(self.parents)

    def below(self, part: int) -> Int64:
        """The part and all that hang on it."""
        inside = np.zeros(len(self), bool)
        inside[part] = True
        for each in range(part + 1, len(self)):
            inside[each] |= self.parents[each] >= 0 and inside[self.parents[each]]
        return np.flatnonzero(inside)


@dataclass(frozen=True)
class Poses:
    """turns: (...,N,3,3) of each part within its parent (the root: in space). shifts: (...,3) of the root's joint."""

    turns: Float64
    shifts: Float64

    @staticmethod
    def rest(skeleton: Skeleton, count: int) -> Poses:
        """``count`` times the pose at rest."""
        return Poses(np.tile(np.eye(3), (count, len(skeleton), 1, 1)), np.zeros((count, 3)))

    @staticmethod
    def joined(poses: Sequence[Poses]) -> Poses:
        """All of several (B) one after the other."""
        return Poses(np.concatenate([p.turns for p in poses]), np.concatenate([p.shifts for p in poses]))

    def __getitem__(self, index: int | list[int] | Int64) -> Poses:
        return Poses(np.asarray(self.turns[index]), np.asarray(self.shifts[index]))

    def moved(self, steps: Float64) -> Poses:
        """After steps (...,3 + 3 N): of the root's place, then turns of every part about its own axes."""
        turned = Rotation.from_rotvec(steps[..., 3:].reshape(-1, 3)).as_matrix()
        return Poses(self.turns @ turned.reshape(*steps.shape[:-1], -1, 3, 3), self.shifts + steps[..., :3])


def place_parts(skeleton: Skeleton, poses: Poses) -> tuple[Float64, Float64]:
    """Rotations ([B,]N,3,3) and joints' places ([B,]N,3) in space."""
    single = poses.turns.ndim == 3
    within, shifts = (np.ascontiguousarray(x[None] if single else x, np.float64) for x in (poses.turns, poses.shifts))
    turns, places = np.empty_like(within), np.empty(within.shape[:-1])
    chain(skeleton.parents, skeleton.joints, within, shifts, turns, places)
    return (turns[0], places[0]) if single else (turns, places)


def skin(skeleton: Skeleton, poses: Poses, vertices: Float64, weights: Float64) -> Float64:
    """(...,V,3) vertices (V,3), carried with weights (V,N)."""
    return skinned(skeleton, poses, weighed(vertices, weights))


def weighed(vertices: Float64, weights: Float64) -> Float64:
    """(V,4N) vertices (V,3) in homogeneous coordinates, times their weights (V,N)."""
    whole = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)
    return (weights[..., None] * whole[:, None]).reshape(len(vertices), -1)


def skinned(skeleton: Skeleton, poses: Poses, spread: Float64) -> Float64:
    """(...,V,3) what `skin` gives, of `weighed` vertices (V,4N): one product with all that the parts do."""
    turns, places = place_parts(skeleton, poses)
    rests = places - (turns @ skeleton.joints[..., None])[..., 0]  # (...,N,3) where the origin goes
    affine = np.concatenate([np.swapaxes(turns, -1, -2), rests[..., None, :]], axis=-2)  # (...,N,4,3)
    return spread @ affine.reshape(*affine.shape[:-3], -1, 3)


def rigid_motions(count: int, vertices: Float64, weights: Float64, shapes: Float64) -> tuple[Float64, Float64]:
    """Rotations (T,N,3,3) and shifts (T,N,3) that carry the vertices (V,3) of each of ``count`` parts nearest to shapes
    (T,V,3) (Kabsch 1976), those that a part carries alone (weights (V,N)) first; none for a part that carries nothing.
    """
    turns, shifts = np.tile(np.eye(3), (len(shapes), count, 1, 1)), np.zeros((len(shapes), count, 3))
    for part in range(count):
        mass = weights[:, part] ** 2
        if mass.sum() < _LEAST_MASS:
            continue
        mass = mass / mass.sum()
        middle, middles = mass @ vertices, np.einsum("v,tva->ta", mass, shapes)
        covariance = np.einsum("tva,vb->tab", shapes - middles[:, None], mass[:, None] * (vertices - middle))
        turns[:, part] = closest_rotation(torch.from_numpy(covariance)).numpy()
        shifts[:, part] = middles - turns[:, part] @ middle
    return turns, shifts


def following(skeleton: Skeleton, vertices: Float64, weights: Float64, shapes: Float64) -> Poses:
    """Poses (T) in which the body turns as shapes (T,V,3) of it do, with its middle in the same place."""
    turns = rigid_motions(len(skeleton), vertices, weights, shapes)[0]
    within = turns.copy()
    within[:, 1:] = np.swapaxes(turns[:, skeleton.parents[1:]], -1, -2) @ turns[:, 1:]
    at_rest = Poses(within, np.zeros((len(shapes), 3)))
    return Poses(within, (shapes - skin(skeleton, at_rest, vertices, weights)).mean(axis=1))


def with_steady_joints(
    skeleton: Skeleton, vertices: Float64, weights: Float64, shapes: Float64, hold: float
) -> Skeleton:
    """The skeleton with each joint at the point that its part and its parent, as they move through shapes (T,V,3), keep
    most nearly together: least squares, drawn to where it was by ``hold``."""
    turns, shifts = rigid_motions(len(skeleton), vertices, weights, shapes)
    parents = skeleton.parents[1:]
    apart = turns[:, 1:] - turns[:, parents]  # (T,N-1,3,3)
    gap = apart @ skeleton.joints[1:, :, None] + (shifts[:, 1:] - shifts[:, parents])[..., None]
    carrying = (weights**2).sum(axis=0) >= _LEAST_MASS
    asked = (carrying[1:] & carrying[parents])[:, None, None]
    matrix = np.einsum("tnab,tnac->nbc", apart, apart) * asked + hold * len(shapes) * np.eye(3)
    right = np.einsum("tnab,tnac->nbc", apart, gap) * asked
    moves = -np.linalg.solve(matrix, right)[..., 0]
    return Skeleton(skeleton.parents, np.concatenate([skeleton.joints[:1], skeleton.joints[1:] + moves]))
