"""The search through a clip: turns towards the camera and away from it are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stages.registration.parts.arm import bent, error, levels
from v2m4.events import drain
from v2m4.stages.registration.parts.search import MotionSearch


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_arm_comes_forward_or_goes_back(sign: float) -> None:
    truth = bent(sign * 0.16 * np.arange(7), np.array([0.0, 1.0, 0.0]))
    found = drain(MotionSearch(levels(truth)).run())
    assert error(found, truth) < 0.15 * error(bent(np.zeros(7), np.array([0.0, 1, 0])), truth)


def test_a_limb_that_jumped_is_found_by_turning_it_far() -> None:
    axis = np.array([0.0, 0.0, 1.0])
    truth = bent(np.array([0.0, 1.5, 1.5]), axis)
    found = drain(MotionSearch(levels(truth)).run())
    assert error(found, truth) < 0.15 * error(bent(np.zeros(3), axis), truth)


def test_an_empty_frame_is_gone_over() -> None:
    truth = bent(0.15 * np.arange(5), np.array([0.0, 0.0, 1.0]))
    found = drain(MotionSearch(levels(truth, np.array([True, True, False, True, True]))).run())
    assert error(found, truth) < 0.02
