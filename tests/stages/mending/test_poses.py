"""Poses whose torn places are mended, and those that have none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.thread_counts import on_one_and_more
from tests.toys import ball
from v2m4.arrays import Float64, Mask
from v2m4.events import drain
from v2m4.geometry.strain import FaceStrain
from v2m4.settings import MendingSettings
from v2m4.stages.mending.poses import PoseMender, mend_poses

FACES = ball().faces.numpy()
SETTINGS = MendingSettings()


@pytest.fixture
def rest() -> Float64:
    return ball().vertices.double().numpy()


class Told:
    """An outline that draws poses where it is told to, and counts that; overlaps are told one after the other."""

    def __init__(self, factor: float = 1.0, overlaps: tuple[float, ...] = ()) -> None:
        self.factor, self.overlaps = factor, list(overlaps)
        self.asked: list[int] = []
        self.drawn_poses: list[Float64] = []

    def __call__(self, frame: int) -> Told:
        self.asked.append(frame)
        return self

    def drawn(self, vertices: Float64, free: Mask) -> Float64:
        self.drawn_poses.append(vertices)
        return np.where(free[:, None], vertices * [1.0, self.factor, 1.0], vertices)

    def overlap(self, vertices: Float64) -> float:
        return self.overlaps.pop(0) if self.overlaps else 0.5


def test_a_streak_and_a_fold_are_mended_and_their_surroundings_stay(rest: Float64) -> None:
    moved = rest + np.array([0.0, 0, 3])
    torn = moved.copy()
    torn[5] += 4 * rest[5]  # drawn out
    torn[90] = torn[93]  # pushed past its neighbours
    strain = FaceStrain(rest, FACES)
    assert strain.torn(torn, 3.0).sum() > 6

    (mended,) = drain(mend_poses(torn[None], FACES, rest, [0], Told(), SETTINGS))

    assert not strain.torn(mended, 3.0).any()
    assert (mended != torn).any(axis=1).sum() < len(rest) / 2
    assert np.abs(mended - moved).max() < 0.1


def test_a_crumpled_place_is_mended(rest: Float64) -> None:
    near = np.linalg.norm(rest - rest[5], axis=1) < 0.5
    crumpled = rest.copy()
    crumpled[near] = rest[5] + 0.2 * (rest[near] - rest[5])
    assert FaceStrain(rest, FACES).smallest_stretch(crumpled).min() < 0.25

    (mended,) = drain(mend_poses(crumpled[None], FACES, rest, [0], Told(), replace(SETTINGS, most_stretch=100)))

    assert FaceStrain(rest, FACES).smallest_stretch(mended).min() > SETTINGS.least_stretch
    assert np.abs(mended - rest).max() < 0.1


def test_a_pose_without_tears_stays_byte_for_byte_and_is_not_fitted(rest: Float64) -> None:
    poses = np.stack([rest, 1.5 * rest, rest * [1.0, 2.0, 1.0], 0.2 * rest])  # the last is far away

    outline = Told()
    assert (drain(mend_poses(poses, FACES, rest, [0, 4, 9, 12], outline, SETTINGS)) == poses).all()
    assert not outline.asked


def test_the_fit_draws_what_was_mended_only_and_what_that_tears_is_mended_again(rest: Float64) -> None:
    torn = rest.copy()
    torn[0] *= 8
    outline = Told(4.0, (0.9, 0.5, 0.6, 0.7))  # torn, mended, and every round better than the one before

    (mended,) = drain(mend_poses(torn[None], FACES, rest, [7], outline, replace(SETTINGS, fits=2)))

    assert outline.asked == [7] and len(outline.drawn_poses) == 2
    assert not FaceStrain(rest, FACES).torn(mended, 3.0).any()
    far = rest[:, 1] > 0.7
    assert (mended[far] == rest[far]).all() and not np.allclose(mended, rest)


def test_of_all_rounds_the_best_is_kept_and_one_that_is_good_enough_is_the_last(rest: Float64) -> None:
    torn = rest.copy()
    torn[0] *= 8
    worse = Told(1.2, (0.9, 0.6, 0.8, 0.7, 0.7))
    (mended,) = drain(mend_poses(torn[None], FACES, rest, [7], worse, SETTINGS))
    assert (mended == worse.drawn_poses[1]).all()  # what the second round began with

    enough = Told(1.2, (0.9, 0.95))
    (mended,) = drain(mend_poses(torn[None], FACES, rest, [7], enough, SETTINGS))
    assert not enough.drawn_poses and not (mended == torn).all()


def test_what_is_torn_at_last_lies_as_at_rest_with_what_is_about_it(rest: Float64) -> None:
    torn = rest.copy()
    torn[90] = torn[93]  # pushed past its neighbours
    strain = FaceStrain(rest, FACES)
    mender = PoseMender(rest, FACES, SETTINGS)

    restored = mender.restored(torn)

    assert strain.torn(torn, 3.0).any() and not strain.torn(restored, 3.0).any()
    assert np.abs(restored - rest).max() < 0.5 * np.abs(torn - rest).max()  # more than halfway back
    assert (restored != torn).any(axis=1).sum() < len(rest) / 2
    assert (mender.restored(rest) == rest).all()


class Wavering(Told):
    """An outline that is wider in every second frame."""

    def __call__(self, frame: int) -> Told:
        return Told((1.0, 1.3)[frame % 2], (0.9, 0.5, 0.8, 0.85, 0.9))


def test_mending_does_not_shake_a_motion(rest: Float64) -> None:
    poses = rest + 0.01 * np.arange(8)[:, None, None] ** 2 * np.array([0.0, 0, 1])
    poses[1:, 5] += 4 * rest[5]

    def shaking(settings: MendingSettings) -> float:
        found = drain(mend_poses(poses, FACES, rest, range(8), Wavering(), settings))
        assert not any(FaceStrain(rest, FACES).torn(pose, 3.0).any() for pose in found)
        return float(np.linalg.norm(np.diff(found[1:], n=2, axis=0), axis=2).mean())

    rough = shaking(replace(SETTINGS, calming=replace(SETTINGS.calming, doublings=0)))
    assert shaking(SETTINGS) < 0.1 * rough


def test_any_number_of_threads_mends_alike(rest: Float64) -> None:
    poses = rest + 0.01 * np.arange(8)[:, None, None] ** 2 * np.array([0.0, 0, 1])
    poses[1:, 5] += 4 * rest[5]
    alone, several = on_one_and_more(lambda: drain(mend_poses(poses, FACES, rest, range(8), Wavering(), SETTINGS)))
    assert all((found == alone).all() for found in several)
