"""The mirror plane of a shape."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from v2m4.geometry.symmetry import mirror_plane
from v2m4.settings import MirrorSearchSettings, SymmetrySettings


def creature(rng: np.random.Generator) -> np.ndarray:
    """A long body that tapers to the front, a tail that rises, and legs on both sides; x is left and right."""
    body = rng.standard_normal((350, 3))
    body /= np.linalg.norm(body, axis=1, keepdims=True)
    body *= np.stack([0.2 + 0.1 * body[:, 1], np.full(350, 0.8), np.full(350, 0.3)], axis=1)
    tail = np.column_stack([0.02 * rng.standard_normal(60), -0.8 - 0.5 * (t := rng.random(60)), 0.6 * t])
    legs = [
        np.column_stack([x + 0.03 * rng.standard_normal(40), y + 0.03 * rng.standard_normal(40), -rng.random(40)])
        for x in (-0.2, 0.2)
        for y in (-0.5, 0.5)
    ]
    return np.concatenate([body, tail, *legs])


@given(seed=st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_the_plane_turns_with_the_shape(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn = Rotation.from_rotvec(rng.standard_normal(3))
    points = 0.7 * turn.apply(creature(rng)) + rng.standard_normal(3)
    plane = mirror_plane(points, MirrorSearchSettings())
    assert abs(np.linalg.norm(plane.normal) - 1) < 1e-9
    assert abs(plane.normal @ turn.apply([1.0, 0, 0])) > np.cos(np.radians(8))
    assert plane.error < 0.1


def test_a_lopsided_shape_has_a_large_error() -> None:
    rng = np.random.default_rng(0)
    screw = rng.random(500) * 3 * np.pi
    points = np.stack([np.cos(screw), np.sin(screw), 0.3 * screw], axis=1) * (1 + 0.3 * screw[:, None])
    animal = mirror_plane(creature(rng), MirrorSearchSettings())
    assert mirror_plane(points, MirrorSearchSettings()).error > 2 * animal.error


def test_a_round_rod_has_rivals_and_an_animal_has_none() -> None:
    """Whatever points are drawn from them."""
    numbers = SymmetrySettings()
    for seed in range(3):
        rng = np.random.default_rng(seed)
        around = 2 * np.pi * rng.random(800)
        rod = np.stack([1.4 * rng.random(800), 0.13 * np.cos(around), 0.13 * np.sin(around)], axis=1)
        assert mirror_plane(rod, numbers.search).rivalry < numbers.rivalry_from
        assert mirror_plane(creature(rng), numbers.search).rivalry > numbers.rivalry_full


def test_where_no_direction_is_left_nothing_rivals_the_plane() -> None:
    points = creature(np.random.default_rng(0))
    assert mirror_plane(points, MirrorSearchSettings(apart_deg=90.0)).rivalry == np.inf
