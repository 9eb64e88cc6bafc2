"""Differences of pictures, their derivatives, and poses that make them small."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stages.registration.parts.arm import arm, bent, error, filmed, levels
from tests.thread_counts import on_one_and_more
from v2m4.stages.registration.parts.skeleton import Poses, place_parts

Y = np.array([0.0, 1.0, 0.0])


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_redrawing_one_part_is_drawing_all(seed: int) -> None:
    # The kernel that redraws what moves, against pictures drawn anew.
    rng = np.random.default_rng(seed)
    fit = filmed(bent(np.zeros(1), Y), 24)
    pose = bent(np.zeros(1), Y).moved(rng.normal(size=(1, 9)) * np.array([0.05] * 3 + [0.4] * 6))
    turns, places = place_parts(fit.body.skeleton, pose)
    fast = fit.slopes(fit.body.posed(pose)[0], turns[0], places[0], 0)
    for parameter in range(9):
        step = np.zeros((1, 9))
        step[0, parameter] = fit.probes[parameter]
        ahead, back = (
            fit.synthesis.pictures(fit.body.posed(pose.moved(sign * step)), fit.corners[[0]])[0] for sign in (1, -1)
        )
        # Shading of the seam between parts is approximate.
        assert np.abs(fast[parameter] - (ahead - back) / 2).mean() < 2e-3


def test_slopes_of_shifts_and_fields_are_those_of_pictures() -> None:
    fit = filmed(bent(np.zeros(1), Y), 24)
    posed = fit.body.posed(bent(np.array([0.3]), Y))[0]
    outer = fit.body.weights[:, 1:]
    fields = np.stack([np.zeros_like(posed), outer * np.array([0.0, 0.1, 0.0]) * posed[:, :1]])

    def drawn(moves: np.ndarray, step: float) -> np.ndarray:
        ahead, back = (fit.synthesis.pictures((posed + s * step * moves)[None], fit.corners[[0]])[0] for s in (1, -1))
        return (ahead - back) / (2 * step)

    def agree(slope: np.ndarray, expected: np.ndarray) -> None:
        # Where what is drawn askew ends is told; how its shading changes with its normals is not.
        assert np.abs(slope - expected)[..., 3].mean() < 0.05 * np.abs(expected[..., 3]).mean()
        assert np.corrcoef(slope.ravel(), expected.ravel())[0, 1] > 0.95

    shifts = fit.shift_slopes(posed, np.array([1]), 0)[0]
    for axis, length in enumerate(fit.probes[:3]):
        agree(shifts[axis], drawn(outer * np.eye(3)[axis], length))
    agree(fit.field_slopes(posed, fields, np.array([1]), 0)[0], drawn(fields[1], fit.settings.rig.probe))


def test_faces_turned_away_of_a_closed_body_do_not_show() -> None:
    truth = bent(np.array([0.4]), Y)
    fit = filmed(truth, 24)
    turns, places = place_parts(fit.body.skeleton, truth)
    assert fit.closed
    pictures = []
    for fit.closed in (True, False):
        pictures.append(fit.slopes(fit.body.posed(truth)[0], turns[0], places[0], 0))
    assert np.abs(pictures[1]).max() > 0.01
    assert np.abs(pictures[0] - pictures[1]).mean() < 1e-5


def test_the_truth_differs_from_nothing() -> None:
    truth = bent(np.array([0.0, 0.5]), Y)
    fit = filmed(truth, 32)
    np.testing.assert_allclose(fit.energies(truth, np.arange(2)), 0.0, atol=1e-9)
    assert fit.energies(bent(np.zeros(2), Y), np.arange(2))[1] > 0.01


def test_frames_that_show_nothing_ask_for_nothing() -> None:
    fit = filmed(bent(np.array([0.0, 0.5]), Y), 32, np.array([True, False]))
    normal = fit.linearised(bent(np.zeros(2), Y), np.arange(2))
    assert normal.energies[1] == 0 and not normal.matrix[1].any() and not normal.gradient[1].any()


def test_any_number_of_threads_finds_the_same_derivatives() -> None:
    fit = filmed(bent(np.array([0.0, 0.2, 0.5]), Y), 32)
    alone, several = on_one_and_more(lambda: fit.linearised(bent(np.zeros(3), Y), np.arange(3)))
    assert alone.matrix.any()
    assert all((found.matrix == alone.matrix).all() for found in several)
    assert all((found.gradient == alone.gradient).all() for found in several)


def test_a_bend_in_the_picture_is_found() -> None:
    truth = bent(np.array([0.0, 0.35]), np.array([0.0, 0.0, 1.0]))
    start, frame = bent(np.zeros(1), Y), np.array([1])
    clip = levels(truth)[1]
    found, _ = clip.descend(start, frame, start, 12)
    assert error(found, truth[[1]]) < 0.1 * error(start, truth[[1]])


def test_all_frames_together_are_smooth_where_nothing_is_seen() -> None:
    angles = 0.1 * np.arange(5.0)
    truth = bent(angles, np.array([0.0, 0.0, 1.0]))
    clip = levels(truth, np.array([True, True, False, True, True]))[1]
    guess = Poses(truth.turns.copy(), truth.shifts.copy())
    guess.turns[2] = np.eye(3)
    found = clip.together(guess, 12)
    assert error(found, truth) < 0.01
    assert len(arm()[0].vertices) == 240 or error(found[[2]], truth[[2]]) < 0.02
