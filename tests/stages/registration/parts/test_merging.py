"""Parts that never bend against each other become one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.stages.registration.parts.arm import arm, bent, filmed
from v2m4.stages.registration.parts.clip_fit import ClipFit
from v2m4.stages.registration.parts.merging import merged
from v2m4.stages.registration.parts.pose_fit import Body
from v2m4.stages.registration.parts.skeleton import Poses, Skeleton, following, rigid_motions

TRUTH = bent(0.2 * np.arange(5), np.array([0.0, 0.0, 1.0]))


def cut_up() -> tuple[Body, np.ndarray]:
    """The arm cut into six slices of which each hangs on the one before, and its true motion."""
    body = arm()[0]
    along = body.vertices[:, 0]
    ends = np.linspace(along.min(), along.max() + 1e-9, 7)
    slices = np.digitize(along, ends) - 1
    joints = np.stack([ends[:-1], np.zeros(6), np.full(6, 3.0)], axis=1)
    return Body(Skeleton(np.arange(6) - 1, joints), body.vertices, np.eye(6)[slices]), body.posed(TRUTH)


def test_the_hinge_is_what_stays() -> None:
    body, shapes = cut_up()
    found, group = merged(body, shapes, 2)
    assert found.skeleton.parents.tolist() == [-1, 0]
    hinge = arm()[0].skeleton.joints[1, 0]
    assert abs(found.skeleton.joints[1, 0] - hinge) < 0.15  # a slice is 0.2 long
    assert (np.diff(group) >= 0).all() and group[0] == 0 and group[-1] == 1
    np.testing.assert_allclose(found.weights, np.stack([(body.weights @ (group == k)) for k in (0, 1)], axis=1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_no_more_parts_than_asked_for_in_a_tree_that_carries_all(seed: int, most: int) -> None:
    body, shapes = cut_up()
    shapes = shapes + np.random.default_rng(seed).normal(scale=0.05, size=shapes.shape)
    found, group = merged(body, shapes, most)
    parents = found.skeleton.parents
    assert len(parents) == most and parents[0] == -1 and (parents < np.arange(most)).all()
    assert set(group.tolist()) == set(range(most))
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_what_moves_as_one_costs_nothing(seed: int) -> None:
    """The sums that add up tell what Kabsch's fit leaves."""
    body, _ = cut_up()
    turns = Rotation.random(4, random_state=seed).as_matrix()
    shapes = body.vertices @ turns.transpose(0, 2, 1) + np.arange(4.0)[:, None, None]
    found, _ = merged(body, shapes, 1)
    turned, shifted = rigid_motions(1, found.vertices, found.weights, shapes)
    fitted = np.einsum("tnab,vb->tva", turned, found.vertices) + shifted
    np.testing.assert_allclose(fitted, shapes, atol=1e-9)


def test_a_clip_of_fewer_parts_asks_for_the_same() -> None:
    body, shapes = cut_up()
    across = np.array([0.0, 0.0, 1.0])
    clip = ClipFit(filmed(TRUTH, 24).with_parts(body), 0, np.ones(5, bool), across, np.arange(6) < 3)
    fewer, group = merged(body, shapes, 2)
    other = clip.merged(fewer, group)
    poses = following(fewer.skeleton, fewer.vertices, fewer.weights, shapes)
    assert other.energy(poses, 0.1) < clip.energy(Poses.rest(body.skeleton, 5), 0.1)
    assert len(other.units) == 9 and len(clip.units) == 21
