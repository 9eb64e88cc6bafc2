"""Coarse alignment: matching, what bending keeps, and a limb that swung too far for closest points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.geometry.test_embedded_deformation import bent, tube
from tests.render.scenes import ellipsoid
from v2m4.geometry.losses import RestShape, edge_change
from v2m4.geometry.mesh import Mesh
from v2m4.settings import LimbSettings
from v2m4.stages.registration.limb_alignment import (
    Matcher,
    average_geodesic_distance,
    coarse_alignment,
    match_constraints,
)

Array = np.ndarray
LIMBS = LimbSettings(rounds=16, nodes=40, samples=600, transport_samples=200)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bent_tube(angle: float) -> Mesh:
    vertices, faces = tube(20, 10)
    return Mesh(torch.tensor(bent(vertices, angle)).float(), torch.tensor(faces))


def aligned(source: Mesh, target: Mesh, numbers: LimbSettings, importance: float | None) -> Tensor:
    *_, end = coarse_alignment(
        source.vertices, source.faces, target, numbers, rng(), normal_match=0.1, importance=importance
    )
    return end


def error(found: Tensor, truth: Mesh) -> float:
    return float((found - truth.vertices).norm(dim=1).mean())


def test_a_mesh_matches_itself_where_it_is_and_is_trusted() -> None:
    mesh = ellipsoid(2)
    matcher = Matcher(mesh.vertices, mesh.faces, mesh, 500, 0.1, rng())
    matches = matcher.closest(mesh.vertices, 1.0)
    gap = (matcher.points(mesh.vertices)[matches.sample] - matches.target).norm(dim=1)
    assert len(matches.sample) == 1000
    assert float(gap.mean()) < 0.05
    assert 0.95 < float(matches.trust.sum()) <= 1


def test_closest_points_are_those_of_all_distances() -> None:
    mesh, target = ellipsoid(2), ellipsoid(1)
    matcher = Matcher(mesh.vertices, mesh.faces, target, 80, 0.0, rng())
    matches = matcher.closest(mesh.vertices, 0.1)
    distance = torch.cdist(matcher.points(mesh.vertices), matcher.goal)
    torch.testing.assert_close(matches.target[:80], matcher.goal[distance.argmin(1)])
    assert torch.equal(matches.sample[80:], distance.argmin(0))


def test_matches_that_face_away_or_are_far_are_not_trusted() -> None:
    mesh = ellipsoid(2)
    inside_out = Mesh(mesh.vertices, mesh.faces.flip(1))
    away = Matcher(mesh.vertices, mesh.faces, inside_out, 200, 0.0, rng()).closest(mesh.vertices, 0.05)
    assert float(away.trust.sum()) < 0.01
    far = Mesh(mesh.vertices + torch.tensor([5.0, 0, 0]), mesh.faces)
    matcher = Matcher(mesh.vertices, mesh.faces, far, 200, 0.1, rng())
    assert float(matcher.closest(mesh.vertices, 0.05).trust.sum()) < 1e-4
    assert float(matcher.closest(mesh.vertices, 100.0).trust.sum()) > 0.3


def test_transport_pairs_every_sample_once_and_trusts_at_most_one_in_all() -> None:
    mesh = bent_tube(0.0)
    matcher = Matcher(mesh.vertices, mesh.faces, bent_tube(1.2), 150, 0.1, rng())
    nothing = torch.zeros(150)
    matches = matcher.transport(mesh.vertices, nothing, nothing, 0.0, 0.03)
    assert torch.equal(matches.sample[300:].sort().values, torch.arange(150))
    assert len(torch.unique(matches.target[300:], dim=0)) == 150
    assert float(matches.trust.min()) >= 0 and 0.2 < float(matches.trust.sum()) <= 1


def test_importance_decides_whom_transport_pairs() -> None:
    mesh = bent_tube(0.0)
    matcher = Matcher(mesh.vertices, mesh.faces, mesh, 100, 0.1, rng())
    # A number that says: each end belongs to the other one.
    own, goal = matcher.points(mesh.vertices)[:, 0], -matcher.goal[:, 0]

    def crossing(importance: float) -> float:
        """How well the pairs mirror x: -1 when they do, 1 when they keep it."""
        matches = matcher.transport(mesh.vertices, own, goal, importance, 0.03)
        at = matcher.points(mesh.vertices)[matches.sample[200:], 0]
        return float(torch.corrcoef(torch.stack([at, matches.target[200:, 0]]))[0, 1])

    assert crossing(0.0) > 0.99
    assert crossing(100.0) < -0.99


def test_constraints_of_matches_measure_plane_and_point() -> None:
    mesh, target = ellipsoid(1), ellipsoid(2)
    matcher = Matcher(mesh.vertices, mesh.faces, target, 60, 0.1, rng())
    matches = matcher.closest(mesh.vertices, 0.2)
    planes = match_constraints(matcher, matches, 0.25, 7.0)
    vertices = mesh.vertices.double().numpy()
    points = (planes.barycentrics[..., None] * vertices[planes.corners]).sum(1)
    found = planes.weights * np.square((points * planes.normals).sum(1) - planes.distances)
    gap = (matcher.points(mesh.vertices)[matches.sample] - matches.target).double()
    wanted = matches.trust * 7 * ((gap * matches.normal).sum(1).square() + 0.25 * gap.square().sum(1))
    assert found.sum() == pytest.approx(float(wanted.sum()), rel=1e-4)


@given(angle=st.floats(-2.0, 2.0))
@settings(max_examples=10, deadline=None)
def test_bending_nearly_keeps_mean_geodesic_distances(angle: float) -> None:
    straight, other = bent_tube(0.0), bent_tube(angle)
    first, second = (average_geodesic_distance(m.vertices, m.faces, m.vertices, 30, 12) for m in (straight, other))
    assert float((first - second).abs().max()) < 0.1


def test_mean_geodesic_distances_of_a_thin_rod_are_those_of_a_line() -> None:
    """From x in [-1/2, 1/2] to all of it: 1/4 + x^2 in mean, and 1/2 from its ends."""
    vertices, faces = (torch.tensor(part) for part in tube(40, 6, radius=0.02))
    found = average_geodesic_distance(vertices, faces, vertices, 60, 12)
    assert float(found.max()) == pytest.approx(1)
    torch.testing.assert_close(found, (0.25 + vertices[:, 0] ** 2) / 0.5, atol=0.03, rtol=0)


def test_separate_parts_have_finite_distances() -> None:
    mesh = bent_tube(0.0)
    count = len(mesh.vertices)
    shifts = [torch.tensor([0.0, y, 0.0]) for y in (0.0, 0.3, 3.0, 3.3)]
    parts = Mesh(torch.cat([mesh.vertices + s for s in shifts]), torch.cat([mesh.faces + i * count for i in range(4)]))
    found = average_geodesic_distance(parts.vertices, parts.faces, parts.vertices, 20, 2)
    assert found.isfinite().all()


@pytest.mark.parametrize("importance", [None, 0.3])
def test_a_bend_is_found(importance: float | None) -> None:
    source, target = bent_tube(0.0), bent_tube(0.7)
    found = aligned(source, target, LIMBS, importance)
    assert error(found, target) < 0.12 * error(source.vertices, target)


def test_a_limb_that_swung_far_needs_one_to_one_matches() -> None:
    source, target = bent_tube(0.0), bent_tube(1.6)
    still = error(source.vertices, target)
    one_to_one, closest = (error(aligned(source, target, LIMBS, guess), target) for guess in (0.2, None))
    assert one_to_one < 0.15 * still
    assert closest > 2 * one_to_one


def test_every_round_yields_and_the_same_seed_gives_the_same() -> None:
    source, target = bent_tube(0.0), bent_tube(0.4)
    few = replace(LIMBS, rounds=3)
    runs = [
        list(coarse_alignment(source.vertices, source.faces, target, few, rng(), normal_match=0.1, importance=0.2))
        for _ in "ab"
    ]
    assert len(runs[0]) == 3
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_a_stiffer_attempt_begins_with_less_strain() -> None:
    source, target = bent_tube(0.0), bent_tube(1.2)
    rest = RestShape.of(source.vertices, source.faces)
    strain = []
    for stiffer in (1.0, 100.0):
        rounds = coarse_alignment(
            source.vertices, source.faces, target, LIMBS, rng(), normal_match=0.1, importance=0.2, stiffer=stiffer
        )
        strain.append(float(edge_change(next(rounds), rest)))
    assert 0 < strain[1] < 0.2 * strain[0]
