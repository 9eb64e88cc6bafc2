"""A tree of joints, and what it does to places and skin."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from v2m4.arrays import Float64
from v2m4.stages.registration.parts.clip_fit import differences
from v2m4.stages.registration.parts.skeleton import (
    Poses,
    Skeleton,
    following,
    place_parts,
    skin,
    with_steady_joints,
)
from v2m4.stages.registration.parts.skeleton_numba import carry

ARM = Skeleton(np.array([-1, 0, 1]), np.array([[0.0, 0, 3], [1, 0, 3], [2, 0, 3]]))
QUARTER = np.array([0, 0, np.pi / 2])


def test_an_elbow_carries_what_hangs_on_it() -> None:
    steps = np.zeros((1, 12))
    steps[0, 6:9] = QUARTER  # the second part turns about its joint at x = 1
    poses = Poses.rest(ARM, 1).moved(steps)
    np.testing.assert_allclose(place_parts(ARM, poses)[1][0], [[0, 0, 3], [1, 0, 3], [1, 1, 3]], atol=1e-12)
    tip, weights = np.array([[2.5, 0, 3], [0.5, 0, 3]]), np.array([[0, 0, 1.0], [1.0, 0, 0]])
    np.testing.assert_allclose(skin(ARM, poses, tip, weights)[0], [[1, 1.5, 3], [0.5, 0, 3]], atol=1e-12)
    assert ARM.below(1).tolist() == [1, 2] and ARM.below(2).tolist() == [2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_lengths_of_bones_never_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = place_parts(ARM, Poses.rest(ARM, 4).moved(rng.normal(size=(4, 12))))[1]
    np.testing.assert_allclose(np.linalg.norm(np.diff(places, axis=1), axis=-1), 1.0, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_compiled_loops_along_the_tree_do_what_they_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parents = np.array([-1, 0, 0, 1, 1, 4])
    tree = Skeleton(parents, rng.normal(size=(6, 3)))
    poses = Poses.rest(tree, 2).moved(rng.normal(size=(2, 21)))
    turns, places = place_parts(tree, poses)
    vertices, weights = rng.normal(size=(7, 3)), rng.dirichlet(np.ones(6), 7) * rng.integers(0, 2, (7, 6))
    for b in range(2):
        # 1. From the root outwards.
        for n, p in enumerate(parents):
            above, joint = (turns[b, p], tree.joints[p]) if n else (np.eye(3), tree.joints[0])
            place = places[b, p] if n else tree.joints[0] + poses.shifts[b]
            np.testing.assert_allclose(turns[b, n], above @ poses.turns[b, n], atol=1e-12)
            np.testing.assert_allclose(places[b, n], above @ (tree.joints[n] - joint) + place, atol=1e-12)
        # 2. And what each part and those below it carry.
        found = np.empty((6, 7, 3), np.float32)
        carry(parents, tree.joints, vertices, weights, turns[b], places[b], found)
        own = (vertices[None] - tree.joints[:, None]) @ turns[b].transpose(0, 2, 1) + places[b][:, None]  # (N,V,3)
        for n in range(6):
            below = tree.below(n)
            np.testing.assert_allclose(found[n], np.einsum("vn,nva->va", weights[:, below], own[below]), atol=1e-5)
        np.testing.assert_allclose(found[0], skin(tree, poses, vertices, weights)[b], atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_differences_undo_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = Poses(Rotation.random(6, random_state=seed).as_matrix().reshape(2, 3, 3, 3), rng.normal(size=(2, 3)))
    steps = 0.5 * rng.normal(size=(2, 12))
    np.testing.assert_allclose(differences(first, first.moved(steps), 1.0), steps, atol=1e-9)


def cloud(seed: int) -> tuple[Float64, Float64]:
    """Points (30,3) around the arm and the parts (30,3) that carry each alone."""
    points = np.random.default_rng(seed).normal(size=(30, 3)) + np.array([1.0, 0, 3])
    return points, np.repeat(np.eye(3), 10, axis=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_poses_are_read_off_what_they_did_to_the_skin(seed: int) -> None:
    points, weights = cloud(seed)
    poses = Poses.rest(ARM, 4).moved(np.random.default_rng(seed).normal(size=(4, 12)))
    shapes = skin(ARM, poses, points, weights)
    found = following(ARM, points, weights, shapes)
    np.testing.assert_allclose(skin(ARM, found, points, weights), shapes, atol=1e-8)


def test_joints_are_where_a_motion_keeps_two_parts_together() -> None:
    points, weights = cloud(1)
    poses = Poses.rest(ARM, 20).moved(0.7 * np.random.default_rng(2).normal(size=(20, 12)))
    shapes = skin(ARM, poses, points, weights)
    wrong = Skeleton(ARM.parents, ARM.joints + np.array([[0.0, 0, 0], [0.2, 0.1, 0], [0, -0.3, 0.1]]))
    found = with_steady_joints(wrong, points, weights, shapes, 1e-6)
    np.testing.assert_allclose(found.joints, ARM.joints, atol=1e-4)
    still = with_steady_joints(wrong, points, weights, np.repeat(points[None], 20, axis=0), 1e-6)
    np.testing.assert_allclose(still.joints, wrong.joints, atol=1e-9)
