"""Limbs on both sides of a plane, and what hangs on a body without them."""

from __future__ import annotations

import numpy as np
import pytest

from v2m4.settings import PairedLimbSettings
from v2m4.stages.registration.parts.limbs import limbs_and_trunk
from v2m4.stages.registration.parts.skeleton import Skeleton

TRUNK, HEAD, LEFT, RIGHT, FOOT = range(5)
ACROSS = np.array([0.0, 0.0, 1.0])


def standing(stride: float) -> tuple[Skeleton, np.ndarray, np.ndarray]:
    """A trunk along x with a head at its end and two legs that hang beside each other across z; the left one, with a
    foot, swings ``stride`` forward and the right one as far back."""
    along = np.linspace(0.0, 1.0, 20)[:, None]

    def rod(start: list[float], end: list[float]) -> np.ndarray:
        ring = np.array([[0, 0.02, 0.02], [0, 0.02, -0.02], [0, -0.02, 0.02], [0, -0.02, -0.02]])
        line = np.array(start) + along * (np.array(end) - np.array(start))
        return (line[:, None] + ring).reshape(-1, 3)

    pieces = [
        rod([-0.5, 0, 0], [0.5, 0, 0]),
        rod([0.5, 0, 0], [0.8, 0.2, 0]),
        rod([0, 0, 0.1], [stride, -0.3, 0.1]),
        rod([0, 0, -0.1], [-stride, -0.4, -0.1]),
        rod([stride, -0.3, 0.1], [stride, -0.4, 0.1]),
    ]
    joints = [[0, 0, 0], [0.5, 0, 0], [0, 0, 0.1], [0, 0, -0.1], [stride, -0.3, 0.1]]
    owner = np.repeat(np.arange(5), [len(piece) for piece in pieces])
    skeleton = Skeleton(np.array([-1, TRUNK, TRUNK, TRUNK, LEFT]), np.array(joints, float))
    return skeleton, np.concatenate(pieces), np.eye(5)[owner]


@pytest.mark.parametrize("stride", [0.0, 0.3])
def test_legs_that_stride_apart_and_what_carries_them_are_held_and_a_head_is_not(stride: float) -> None:
    held = limbs_and_trunk(*standing(stride), ACROSS, PairedLimbSettings())
    assert held[[TRUNK, LEFT, RIGHT, FOOT]].all() and not held[HEAD]


def crawling(pairs: int, out: float) -> tuple[Skeleton, np.ndarray, np.ndarray]:
    """The same trunk on legs in pairs, each of which stands ``out`` to its side."""
    trunk, vertices, weights = standing(0.0)
    pieces, joints = [vertices[weights[:, TRUNK] > 0]], [trunk.joints[TRUNK]]
    leg = vertices[weights[:, RIGHT] > 0] - trunk.joints[RIGHT]
    for place in np.linspace(-0.4, 0.4, pairs):
        for side in (1, -1):
            lean = np.array([[1, 0, 0], [0, 1, -side * out / 0.4], [0, 0, 1]])
            joints.append(np.array([place, 0, 0.1 * side]))
            pieces.append(leg @ lean + joints[-1])
    owner = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    skeleton = Skeleton(np.array([-1] + [TRUNK] * (2 * pairs)), np.array(joints))
    return skeleton, np.concatenate(pieces), np.eye(len(pieces))[owner]


@pytest.mark.parametrize(("pairs", "out", "held"), [(2, 0.0, True), (2, 0.3, True), (3, 0.05, True), (3, 0.3, False)])
def test_many_legs_that_stand_out_to_the_sides_swing_across_the_plane(pairs: int, out: float, held: bool) -> None:
    assert limbs_and_trunk(*crawling(pairs, out), ACROSS, PairedLimbSettings()).any() == held


def test_legs_in_a_plane_are_not_beside_it() -> None:
    assert not limbs_and_trunk(*standing(0.0), np.array([0.0, 1.0, 0.0]), PairedLimbSettings()).any()


def test_one_leg_is_no_pair() -> None:
    skeleton, vertices, weights = standing(0.0)
    weights[:, TRUNK] += weights[:, RIGHT]
    weights[:, RIGHT] = 0
    assert not limbs_and_trunk(skeleton, vertices, weights, ACROSS, PairedLimbSettings()).any()
