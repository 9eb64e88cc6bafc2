"""Joints and skin that a clip tells of: an arm whose joint was thought to be elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.stages.registration.parts.arm import Array, bent, error, filmed
from v2m4.settings import changed
from v2m4.stages.registration.parts.clip_fit import ClipFit
from v2m4.stages.registration.parts.pose_fit import Body, PoseFit
from v2m4.stages.registration.parts.rig_fit import Rig, RigFit
from v2m4.stages.registration.parts.skeleton import Poses

FRAMES = 7
TRUTH = bent(0.16 * np.arange(FRAMES), np.array([0.0, 0.0, 1.0]))
COUNT = 2


def clip_of(wrong: Rig) -> ClipFit:
    """The true motion, and a body that is wrong by a rig."""
    fit = filmed(TRUTH, 32)
    return ClipFit(fit.with_body(wrong.of(fit.body)), 0, np.ones(FRAMES, bool))


def rig(joint: tuple[float, float, float] = (0.0, 0.0, 0.0), gain: float = 0.0) -> Rig:
    """The outer part's joint shifted, its skin enlarged."""
    return Rig(np.array([[0.0, 0.0, 0.0], joint]), np.array([0.0, gain]))


def found_with(wrong: Rig, rounds: int) -> tuple[Poses, Body]:
    clip = clip_of(wrong)
    clip.settings = changed(clip.settings, {"rig.rounds": rounds, "rig.joint_hold": 1e-3})
    return RigFit(clip).solved(clip.together(TRUTH, 8))


def test_a_joint_is_found_where_it_is() -> None:
    true_joint = filmed(TRUTH, 16).body.skeleton.joints[1]
    wrong = rig(joint=(-0.06, 0.03, 0.0))
    poses, body = found_with(wrong, 12)
    before = found_with(wrong, 0)
    off = [np.linalg.norm((each.skeleton.joints[1] - true_joint)[:2]) for each in (before[1], body)]
    assert off[1] < 0.3 * off[0]  # across the view; nothing tells of a depth that turns about the view do not change
    assert error(poses, TRUTH, body) < 0.5 * error(*before[:1], TRUTH, before[1])


def test_the_border_of_the_skin_is_found_where_it_is() -> None:
    true_weights = filmed(TRUTH, 16).body.weights
    off = [np.abs(found_with(rig(gain=1.5), rounds)[1].weights - true_weights).mean() for rounds in (0, 12)]
    assert off[1] < 0.5 * off[0]


def test_nothing_gets_worse_and_a_right_rig_stays() -> None:
    clip = clip_of(rig())
    poses, body = RigFit(clip).solved(TRUTH)
    smooth = clip.settings.smoothness
    assert clip.with_body(body).energy(poses, smooth) <= clip.energy(TRUTH, smooth)
    np.testing.assert_allclose(body.skeleton.joints, clip.fit.body.skeleton.joints, atol=0.02)


@pytest.mark.parametrize("across", [None, np.array([0.48, 0.36, 0.64])])
def test_a_rig_slopes_as_energies_do(across: Array | None) -> None:
    """What the normal equations tell of joints, against the energy's differences with joints to either side."""
    fit = filmed(TRUTH, 32)
    clip = ClipFit(fit, 0, np.ones(FRAMES, bool), across)
    clip.settings = changed(clip.settings, {"sideways_within": 1e3})
    clip._within[:] = 1e3  # what is let go is not in the slopes
    poses = TRUTH.moved(np.random.default_rng(0).normal(scale=0.1, size=(FRAMES, 9)) * ([0.02] * 3 + [1.0] * 6))
    solver = RigFit(clip)
    gradient = solver._system(clip, poses, Rig.none(COUNT))[-1]
    told, measured, step = [], [], 0.02
    for place in (3, 4, 5):  # the outer joint
        ahead = np.eye(4 * COUNT)[place] * step
        energies = [
            clip.with_body(Rig.none(COUNT).moved(sign * ahead, 9.0).of(fit.body)).energy(poses, 0.0) for sign in (1, -1)
        ]
        told.append(gradient[place])
        measured.append((energies[0] - energies[1]) / (4 * step))
    assert np.linalg.norm(np.subtract(told, measured)) < 0.1 * np.linalg.norm(measured)


def test_weights_still_add_up_to_one_and_the_body_is_the_same_at_rest() -> None:
    body = filmed(TRUTH, 16).body
    moved = rig(joint=(0.1, 0.0, 0.0), gain=2.0).of(body)
    np.testing.assert_allclose(moved.weights.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(moved.posed(Poses.rest(moved.skeleton, 1))[0], body.vertices, atol=1e-12)


def test_fits_of_another_body_leave_the_first_alone() -> None:
    fit: PoseFit = filmed(TRUTH, 16)
    other = fit.with_body(replace(fit.body, vertices=fit.body.vertices + 0.1))
    assert other.energies(TRUTH[[0, 1]], np.arange(2))[0] > 0.01
    np.testing.assert_allclose(fit.energies(TRUTH[[0, 1]], np.arange(2)), 0.0, atol=1e-9)
