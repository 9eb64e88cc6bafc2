"""Poses whose torn places are mended, and those that have none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.toys import ball
from v2m4.arrays import Float64
from v2m4.events import drain
from v2m4.geometry.strain import FaceStrain
from v2m4.settings import MendingSettings
from v2m4.stages.mending.poses import mend_poses

FACES = ball().faces.numpy()
SETTINGS = MendingSettings()


@pytest.fixture
def rest() -> Float64:
    return ball().vertices.double().numpy()


def stays(pose: Float64, frame: int) -> Float64:
    """A fit that finds nothing to do."""
    return pose


def test_a_streak_and_a_fold_are_mended_and_their_surroundings_stay(rest: Float64) -> None:
    moved = rest + np.array([0.0, 0, 3])
    torn = moved.copy()
    torn[5] += 4 * rest[5]  # drawn out
    torn[90] = torn[93]  # pushed past its neighbours
    strain = FaceStrain(rest, FACES)
    assert strain.torn(torn, 3.0).sum() > 6

    (mended,) = drain(mend_poses(torn[None], FACES, rest, [0], stays, SETTINGS))

    assert not strain.torn(mended, 3.0).any()
    assert (mended != torn).any(axis=1).sum() < len(rest) / 2
    assert np.abs(mended - moved).max() < 0.1


def test_a_pose_without_tears_stays_byte_for_byte_and_is_not_fitted(rest: Float64) -> None:
    poses = np.stack([rest, 1.5 * rest, rest * [1.0, 2.0, 1.0]])

    def fit(pose: Float64, frame: int) -> Float64:
        raise AssertionError("there is nothing to fit")

    assert (drain(mend_poses(poses, FACES, rest, [0, 4, 9], fit, SETTINGS)) == poses).all()


def test_the_fit_draws_what_was_mended_only_and_what_that_tears_is_mended_again(rest: Float64) -> None:
    torn = rest.copy()
    torn[0] *= 8
    asked = []

    def fit(pose: Float64, frame: int) -> Float64:
        asked.append(frame)
        return pose * [1.0, 4.0, 1.0]

    (mended,) = drain(mend_poses(torn[None], FACES, rest, [7], fit, SETTINGS))

    assert asked == [7] * SETTINGS.fits
    assert not FaceStrain(rest, FACES).torn(mended, 3.0).any()
    far = rest[:, 1] > 0.7
    assert (mended[far] == rest[far]).all() and not np.allclose(mended, rest)
