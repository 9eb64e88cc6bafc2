"""A limb that went to the wrong side for a stretch of frames is found out; what is right stays."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stages.registration.parts.arm import bent, error, levels
from v2m4.settings import changed
from v2m4.stages.registration.parts.second_thoughts import SecondThoughts

AXIS = np.array([0.0, 1.0, 0.0])
ANGLES = 0.8 * np.sin(np.arange(10) / 9 * np.pi)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_arm_on_the_wrong_side_for_a_while_comes_back_with_the_frames_beside_it(sign: float) -> None:
    truth, wrong = bent(sign * ANGLES, AXIS), bent(-sign * ANGLES, AXIS)

    found = SecondThoughts(levels(truth)).improved(wrong)

    better = np.array([error(found[[t]], truth[[t]]) < 0.3 * error(wrong[[t]], truth[[t]]) for t in range(2, 8)])
    assert better.all()
    assert error(wrong, bent(-sign * ANGLES, AXIS)) == 0  # what was given stays


def test_poses_that_are_right_stay_as_they_are() -> None:
    truth = bent(ANGLES, AXIS)
    found = SecondThoughts(levels(truth)).improved(truth)
    assert (found.turns == truth.turns).all() and (found.shifts == truth.shifts).all()


def test_a_stretch_ends_where_the_motion_does_and_at_frames_without_the_object() -> None:
    truth, wrong = bent(ANGLES, AXIS), bent(-ANGLES, AXIS)
    seen = np.arange(10) != 5
    clip = levels(truth, seen)
    for level in clip:
        level.joined[3] = False
        level.settings = changed(level.settings, {"second_thoughts.every": 4})  # frames 4 and 8
    found = SecondThoughts(clip).improved(wrong)
    changed_frames = np.flatnonzero((found.turns != wrong.turns).any(axis=(1, 2, 3)))
    assert set(changed_frames) <= {3, 4, 6, 7, 8, 9} and 4 in changed_frames


def test_a_body_without_limbs_of_such_a_size_is_left_alone() -> None:
    truth, wrong = bent(ANGLES, AXIS), bent(-ANGLES, AXIS)
    clip = levels(truth)
    for level in clip:
        level.settings = changed(level.settings, {"second_thoughts.most_share": 0.1})
    found = SecondThoughts(clip).improved(wrong)
    assert (found.turns == wrong.turns).all()
