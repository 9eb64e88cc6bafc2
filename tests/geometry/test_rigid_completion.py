"""A part of a surface that goes where the rest of it went."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.toys import ball
from v2m4.arrays import Float64
from v2m4.geometry.rigid_completion import RigidCompletion
from v2m4.geometry.rigid_completion_numba import closest_turn
from v2m4.geometry.rotations import closest_rotation


@pytest.fixture
def rest() -> Float64:
    return ball().vertices.double().numpy()


@pytest.fixture
def completion(rest: Float64) -> RigidCompletion:
    return RigidCompletion(rest, ball().faces.numpy(), 0.01)


def test_what_is_let_go_of_a_body_that_turned_finds_its_place(rest: Float64, completion: RigidCompletion) -> None:
    c, s = np.cos(0.8), np.sin(0.8)
    pose = rest @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) + [1.0, 2, 3]
    free = rest[:, 0] > 0.6
    torn = pose.copy()
    torn[free] += np.random.default_rng(0).normal(size=(int(free.sum()), 3))

    found = completion.complete(torn, free, 200)

    assert np.abs(found - pose).max() < 1e-3
    assert (found[~free] == pose[~free]).all()


def test_a_round_is_that_of_the_formula_written_out(rest: Float64, completion: RigidCompletion) -> None:
    """One round of ARAP, dense, with rotations by singular value decomposition."""
    pose = rest + 0.1 * np.random.default_rng(1).normal(size=rest.shape)
    free = rest[:, 2] > 0.3
    faces, count = ball().faces.numpy(), len(rest)
    weight = np.zeros((count, count))
    for face in faces:
        for i, j in ((0, 1), (1, 2), (2, 0)):
            a, b = face[i], face[j]
            weight[a, b] = weight[b, a] = 1 / np.linalg.norm(rest[a] - rest[b])
    between = [x[None, :] - x[:, None] for x in (rest, pose)]  # (V,V,3) from the first to the second
    covariance = np.einsum("ij,ija,ijb->iab", weight, between[1], between[0])
    turns = closest_rotation(torch.from_numpy(covariance)).numpy()
    pairs = turns[:, None] + turns[None, :]
    wanted = -0.5 * np.einsum("ij,ijab,ijb->ia", weight, pairs, between[0])
    laplacian = np.diag(weight.sum(axis=1)) - weight
    given = wanted[free] - laplacian[free][:, ~free] @ pose[~free]

    found = completion.complete(pose, free, 1)

    assert np.abs(found[free] - np.linalg.solve(laplacian[free][:, free], given)).max() < 1e-9


def test_a_part_by_itself_goes_where_it_goes_in_the_whole(rest: Float64, completion: RigidCompletion) -> None:
    pose = rest + 0.1 * np.random.default_rng(2).normal(size=rest.shape)
    core = np.zeros(len(rest), bool)
    core[np.argmax(rest[:, 2])] = True
    free = completion.grown(core)
    part = np.flatnonzero(completion.grown(free, 2))
    assert len(part) < len(rest)

    alone = completion.part(part).complete(pose[part], free[part], 5)

    assert (alone == completion.complete(pose, free, 5)[part]).all()


def test_turns_are_those_of_the_singular_value_decomposition() -> None:
    matrices = np.random.default_rng(0).normal(size=(200, 3, 3))  # half of them reflect
    flat = np.array([np.diag([2.0, 1, 0]), np.eye(3), np.diag([-3.0, -2, 1])])  # a plane, nothing, half a turn
    scratch = np.empty((2, 4, 4))
    for matrix in [*matrices, *flat]:
        turn = np.empty((3, 3))
        closest_turn(matrix, scratch[0], scratch[1], turn)
        assert np.abs(turn - closest_rotation(torch.from_numpy(matrix)).numpy()).max() < 1e-9


def test_where_nothing_is_held_or_let_go_nothing_moves(rest: Float64, completion: RigidCompletion) -> None:
    for everything in (True, False):
        assert (completion.complete(2 * rest, np.full(len(rest), everything), 5) == 2 * rest).all()


def test_a_piece_of_which_nothing_stays_is_made_whole_where_it_is(rest: Float64) -> None:
    faces, count = ball().faces.numpy(), len(rest)
    beside, higher = np.array([5.0, 0, 0]), np.array([0.0, 1, 0])
    both = RigidCompletion(np.concatenate([rest, rest + beside]), np.concatenate([faces, faces + count]), 0.01)
    pose = np.concatenate([rest, rest + beside + higher])
    torn = pose.copy()
    torn[count + 5] += [0.0, 0, 4]
    free = np.arange(2 * count) >= count

    found = both.complete(torn, free, 50)

    assert (found[:count] == rest).all()
    assert np.linalg.norm(found[count:] - pose[count:], axis=1).max() < 0.2
    assert np.linalg.norm(found[count:].mean(axis=0) - torn[count:].mean(axis=0)) < 0.05


def test_rings_grow_and_fade_along_edges(rest: Float64, completion: RigidCompletion) -> None:
    pole = np.zeros(len(rest), bool)
    pole[0] = True
    assert completion.grown(pole).sum() == 17 and completion.grown(pole, 2).sum() == 33
    weight = completion.faded(pole, 1)
    assert weight[0] == 1 and (weight[1:17] == 0.5).all() and not weight[17:].any()


def test_smoothing_draws_a_spike_back(rest: Float64, completion: RigidCompletion) -> None:
    spiked = rest.copy()
    spiked[0] *= 5
    pole = np.arange(len(rest)) == 0
    smooth = completion.smoothed(spiked, pole)
    assert np.linalg.norm(smooth[0]) < 3.1 and (smooth[1:] == rest[1:]).all()
