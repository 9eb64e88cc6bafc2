"""The search through a clip: turns towards the camera and away from it are told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.stages.registration.parts.arm import bent, error, filmed, levels
from v2m4.events import drain
from v2m4.settings import changed
from v2m4.stages.registration.parts.clip_fit import ClipFit
from v2m4.stages.registration.parts.search import MotionSearch
from v2m4.stages.registration.parts.skeleton import Poses


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_arm_comes_forward_or_goes_back(sign: float) -> None:
    truth = bent(sign * 0.16 * np.arange(7), np.array([0.0, 1.0, 0.0]))
    found = drain(MotionSearch(levels(truth)).run())
    assert error(found, truth) < 0.15 * error(bent(np.zeros(7), np.array([0.0, 1, 0])), truth)


def test_a_limb_that_jumped_is_found_by_turning_it_far() -> None:
    """It stays where it jumped to: were the jump most of the clip, what accelerations cost would hold it back."""
    axis = np.array([0.0, 0.0, 1.0])
    truth = bent(np.array([0.0, 1.5, 1.5, 1.5, 1.5]), axis)
    search = MotionSearch(levels(truth))
    assert error(drain(search.run()), truth, search.body) < 0.15 * error(bent(np.zeros(5), axis), truth)


def test_an_empty_frame_is_gone_over() -> None:
    truth = bent(0.15 * np.arange(5), np.array([0.0, 0.0, 1.0]))
    found = drain(MotionSearch(levels(truth, np.array([True, True, False, True, True]))).run())
    assert error(found, truth) < 0.02


@pytest.mark.parametrize("speed", [0.0, 0.15])
def test_what_shakes_without_need_is_calmed_and_pictures_stay_as_alike(speed: float) -> None:
    truth = bent(speed * np.arange(7), np.array([0.0, 1.0, 0.0]))
    fit = filmed(truth, 32)
    fit.settings = changed(fit.settings, {"smoothness": 1e-4})
    search = MotionSearch([ClipFit(fit, 0, np.ones(7, bool))])
    shaken = truth.moved(np.random.default_rng(0).normal(scale=0.01, size=(7, 9)))
    calm = search.smoothest(shaken)
    frames = np.arange(7)
    assert fit.energies(calm, frames).sum() <= fit.energies(shaken, frames).sum()
    accelerations = [np.abs(np.diff(fit.body.posed(poses), n=2, axis=0)).mean() for poses in (shaken, calm)]
    assert accelerations[1] < 0.5 * accelerations[0]
    assert error(calm, truth) <= error(shaken, truth)


def test_a_plane_of_symmetry_tells_the_depth_that_pictures_do_not() -> None:
    """The arm swings in a plane that is seen askew; its pictures are small."""
    across = np.array([0.5, 0.0, np.sqrt(0.75)])
    truth = bent(0.12 * np.arange(7), across)
    errors = []
    for normal in (None, across):
        clip = ClipFit(filmed(truth, 16), 0, np.ones(7, bool), normal)
        errors.append(error(drain(MotionSearch([clip, clip]).run()), truth))
    assert errors[1] < 0.7 * errors[0]


def test_priors_slope_as_their_energies_do() -> None:
    clip = ClipFit(filmed(bent(np.zeros(2), np.ones(3)), 16), 0, np.ones(2, bool), np.array([0.48, 0.36, 0.64]))
    clip.settings = changed(clip.settings, {"sideways_within": 1e3})  # what is let go is not in the slopes
    poses = bent(np.zeros(2), np.ones(3)).moved(np.random.default_rng(0).normal(scale=0.2, size=(2, 9)))
    slopes, step = clip.priors(poses)[1], 1e-5
    for place in range(9):
        ahead = np.eye(9)[[place, place]] * step
        change = (clip.prior_energies(poses.moved(ahead)) - clip.prior_energies(poses.moved(-ahead))) / (4 * step)
        np.testing.assert_allclose(slopes[:, place], change, rtol=0.02, atol=0.02)


def test_what_is_neither_limb_nor_trunk_leaves_the_plane_for_little() -> None:
    fit, joined = filmed(bent(np.zeros(2), np.ones(3)), 16), np.ones(2, bool)
    across = np.array([0.0, 0.0, 1.0])
    turned = bent(np.array([0.0, 0.8]), np.array([0.0, 1.0, 0.0]))
    bound, free = (
        ClipFit(fit, 0, joined, across, held).prior_energies(turned)[1] for held in (None, np.array([True, False]))
    )
    bends = ClipFit(fit, 0, joined, None).prior_energies(turned)[1]
    assert free - bends < 0.1 * (bound - bends)


def test_an_arm_that_nothing_holds_swings_across_the_view_while_the_whole_may_come_nearer() -> None:
    fit, joined, view = filmed(bent(np.zeros(2), np.ones(3)), 16), np.ones(2, bool), np.array([0.0, 0.0, 1.0])
    free, flat = ClipFit(fit, 0, joined), ClipFit(fit, 0, joined, view, whole=False)
    swung, turned = (bent(np.array([0.0, 0.8]), axis) for axis in (view, np.array([0.0, 1.0, 0.0])))
    nearer = bent(np.zeros(2), view).moved(np.tile([0.0, 0.0, -0.3] + [0.0] * 6, (2, 1)))
    for poses, held in ((swung, False), (turned, True), (nearer, False)):
        more = flat.prior_energies(poses)[1] - free.prior_energies(poses)[1]
        assert (more > 0.05) == held, (more, held)


@pytest.mark.parametrize(("share", "anew"), [(0.9, True), (0.0, False)])
def test_a_clip_that_went_astray_is_found_anew_from_the_first_motion(share: float, anew: bool) -> None:
    """Astray it goes away from the camera instead of towards it."""
    axis = np.array([0.0, 1.0, 0.0])
    truth, guide, astray = (bent(angle * np.arange(7), axis) for angle in (0.16, 0.13, -0.16))
    search = MotionSearch(levels(truth), guide=guide)
    search.settings = changed(search.settings, {"anew": share})
    found = search.or_anew(astray)
    assert (found is not astray) == anew
    assert not anew or error(found, truth) < 0.3 * error(guide, truth)


def test_a_clip_that_is_found_as_well_from_the_first_motion_stays_to_the_last_bit() -> None:
    truth = bent(0.15 * np.arange(7), np.array([0.0, 0.0, 1.0]))
    assert MotionSearch(levels(truth), guide=truth).or_anew(truth) is truth


@pytest.mark.parametrize("off", [0.02, 0.2])
def test_frames_set_free_come_together_nearer_to_what_is_asked(off: float) -> None:
    truth = bent(0.15 * np.arange(7), np.array([0.0, 0.0, 1.0]))
    search = MotionSearch(levels(truth))
    start = truth.moved(np.random.default_rng(0).normal(scale=off, size=(7, 9)))
    found = search.freed(start)
    smooth = search.settings.smoothness
    assert search.clip.energy(found, smooth) < search.clip.energy(start, smooth)
    assert error(found, truth) < error(start, truth)


def test_frames_that_gain_nothing_alone_stay_to_the_last_bit() -> None:
    truth = bent(0.15 * np.arange(7), np.array([0.0, 0.0, 1.0]))
    search = MotionSearch(levels(truth))
    settled = search.clip.together(truth, 50)
    assert search.freed(settled) is settled
    search.settings = changed(search.settings, {"frees": 0})
    shaken = truth.moved(np.random.default_rng(0).normal(scale=0.1, size=(7, 9)))
    assert search.freed(shaken) is shaken


def test_only_the_likeliest_starts_are_followed() -> None:
    truth = bent(0.3 * np.arange(2), np.array([0.0, 0.0, 1.0]))
    search = MotionSearch(levels(truth))
    far = bent(np.full(2, 1.5), np.array([0.0, 0.0, 1.0]))
    followed: list[int] = []

    class Counting(ClipFit):
        def descend(self, poses: Poses, *rest: Any) -> Any:
            followed.append(len(poses.shifts))
            return super().descend(poses, *rest)

    for tried, count in ((1, 1), (1000, 3)):
        settings = changed(search.settings, {"tried": tried, "kept": 1})
        for level in search.levels:
            level.settings, level.__class__ = settings, Counting
        search.settings = settings
        starts = [far[[1]], truth[[1]], far[[0]]]
        followed.clear()
        pose, _ = search._descended(starts, 1, truth[[1]])
        assert followed == [count, 1]
        assert error(pose, truth[[1]]) < 0.02
