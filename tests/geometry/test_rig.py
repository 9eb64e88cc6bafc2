"""A skeleton that a mesh was brought with: moved, and with fewer bones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2m4.geometry.rig import Rig


def rig(seed: int = 0, bones: int = 7) -> Rig:
    rng = np.random.default_rng(seed)
    parents = np.array([int(rng.integers(-1, bone)) for bone in range(bones)])  # some hang on none
    return Rig(parents, rng.normal(size=(bones, 3)), rng.normal(size=(30, 3)), rng.dirichlet(np.ones(bones) / 3, 30))


def test_a_transform_moves_joints_and_points_and_nothing_else() -> None:
    matrix = np.eye(4)
    matrix[:3] = np.random.default_rng(1).normal(size=(3, 4))
    before, after = rig(), rig().transformed(matrix)
    for a, b in ((before.joints, after.joints), (before.points, after.points)):
        np.testing.assert_allclose(b, (np.c_[a, np.ones(len(a))] @ matrix.T)[:, :3], atol=1e-12)
    np.testing.assert_array_equal(after.weights, before.weights)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_fewer_bones_carry_the_same_skin(seed: int, most: int) -> None:
    fewer = rig(seed).carrying(most)
    assert len(fewer.joints) <= most
    np.testing.assert_allclose(fewer.weights.sum(axis=1), 1.0, atol=1e-9)
    assert fewer.parents[0] == -1 and (fewer.parents < np.arange(len(fewer.parents))).all()
    assert {tuple(joint) for joint in fewer.joints.tolist()} <= {tuple(joint) for joint in rig(seed).joints.tolist()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parents": np.array([1, 0, 0, 0, 0, 0, 0])}, "hangs on"),
        ({"parents": np.array([-1, 0])}, "hangs on"),
        ({"joints": np.full((7, 3), np.nan)}, "joints"),
        ({"points": np.full((30, 3), np.inf)}, "points"),
        ({"weights": np.ones((30, 6))}, "weights"),
    ],
)
def test_a_rig_that_cannot_be_followed_is_told(change: dict[str, Any], said: str) -> None:
    assert rig().flaw is None
    assert said in (replace(rig(), **change).flaw or "")


def test_bones_without_skin_go_and_their_children_hang_on_what_they_hung_on() -> None:
    # A root at the floor, hips, a helper between, a thigh.
    weights = np.array([[0, 0.9, 0, 0.1], [0, 0.2, 0, 0.8]])
    chain = Rig(np.array([-1, 0, 1, 2]), np.arange(12.0).reshape(4, 3), np.zeros((2, 3)), weights)
    found = chain.carrying(40)
    assert found.parents.tolist() == [-1, 0]
    np.testing.assert_array_equal(found.joints, chain.joints[[1, 3]])
    np.testing.assert_array_equal(found.weights, weights[:, [1, 3]])
