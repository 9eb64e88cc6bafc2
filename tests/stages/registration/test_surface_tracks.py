"""Points of the first mesh over renderings of all: exact where the tracker is, and of use to the registration."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.toys import ball, poses
from v2m4.errors import V2M4Error
from v2m4.events import drain
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.sampling import surface_points
from v2m4.settings import GlobalAlignmentSettings, LargeStepsSettings, LimbSettings, MeshToMeshSettings, TrackSettings
from v2m4.stages.registration.meshes import PointTracks, register_meshes, tracking_loss
from v2m4.stages.registration.surface_tracks import SurfaceTracks, begin_tracks, follow_tracks
from v2m4.tracks import Tracks

SETTINGS = TrackSettings(enabled=True, views=4, view_radius=2.5, view_size=96, points=200)


class Still:
    """A tracker that believes nothing moves."""

    def __call__(self, frames: Tensor, queries: Tensor) -> Tracks:
        positions = queries[:, 1:].expand(len(frames), -1, -1).clone()
        return Tracks(positions, torch.ones(positions.shape[:2], dtype=torch.bool))


def clip(phases: tuple[float, ...] = (0.0, 0.1, 0.2)) -> list[Mesh]:
    mesh = ball()
    return [mesh.with_vertices(v) for v in poses(mesh, torch.tensor(phases))]


def begun(meshes: list[Mesh], settings: TrackSettings = SETTINGS) -> SurfaceTracks:
    return begin_tracks(meshes[0], settings, rng=torch.Generator().manual_seed(0))


def loss(mesh: Mesh, found: SurfaceTracks) -> float:
    """Pixels."""
    return float(tracking_loss(mesh.vertices, mesh.faces, found.for_registration()))


def test_points_of_the_first_mesh_lie_where_they_are_seen() -> None:
    meshes = clip()
    assert loss(meshes[0], begun(meshes)) < 1e-2


def test_the_loss_is_how_far_the_points_have_moved() -> None:
    meshes = clip()
    found = drain(follow_tracks(begun(meshes), meshes, Still()))
    near, far = (loss(mesh, found) for mesh in meshes[1:])
    assert 0.3 < near < far


def test_hidden_points_pull_nothing() -> None:
    found = begun(clip())
    assert replace(found, visible=torch.zeros_like(found.visible)).for_registration() == []


def test_views_with_fewer_points_are_filled_up_but_not_used() -> None:
    found = begun(clip(), replace(SETTINGS, points=5000))
    assert found.triangle.shape == (4, 5000)
    assert not found.used.all()
    assert sum(len(track.triangle) for track in found.for_registration()) == int(found.used.sum())


class Knowing:
    """A tracker that knows where every point of the surface is: it looks the queries up on the first mesh."""

    def __init__(self, meshes: list[Mesh], found: SurfaceTracks) -> None:
        self.meshes, self.found = meshes, iter(found.for_registration())

    def __call__(self, frames: Tensor, queries: Tensor) -> Tracks:
        track = next(self.found)
        u, v = track.barycentrics.unbind(1)
        weights = torch.stack([u, v, 1 - u - v], dim=1)
        positions = []
        for mesh in self.meshes:
            points = surface_points(mesh.vertices, mesh.faces, track.triangle, weights)
            seen = torch.cat([points, torch.ones_like(points[:, :1])], 1) @ track.projection.T
            positions.append((seen[:, :2] / seen[:, 3:] + 1) * track.size / 2 - 0.5)
        return Tracks(torch.stack(positions), torch.ones(len(positions), len(queries), dtype=torch.bool))


def test_tracks_turn_a_ball_that_has_turned() -> None:
    """A ball that turns about itself has the same shape: only its points tell that it turned."""
    mesh = ball()
    middle = torch.tensor([0.0, 0, 2])
    a = torch.tensor(0.35)
    turn = torch.tensor([[a.cos(), 0, a.sin()], [0, 1, 0], [-a.sin(), 0, a.cos()]])
    start, end = (mesh.with_vertices(0.4 * mesh.vertices @ r + middle) for r in (torch.eye(3), turn.T))
    settings = MeshToMeshSettings(
        view_pool=4,
        surface_samples=500,
        alignment=GlobalAlignmentSettings(iterations=0),
        limbs=LimbSettings(rounds=0),
        large_steps=LargeStepsSettings(
            iterations=200,
            views=1,
            image_weight=0,
            area_weight=0,
            edge_weight=0,
            step=0.1,
            chamfer_weight=1,
            track_weight=0.1,
        ),
    )
    first = begun([start])
    found = drain(follow_tracks(first, [start, end], Knowing([start, end], first)))

    def error(tracks: list[PointTracks]) -> float:
        rng = torch.Generator().manual_seed(0)
        moved = drain(register_meshes(start.vertices, start, end, settings, rng=rng, tracks=tracks))
        return float((moved - end.vertices).norm(dim=1).mean())

    without, guided = error([]), error(found.for_registration())
    assert without > 0.05
    assert guided < 0.8 * without


def test_meshes_without_colours_are_told_in_a_sentence() -> None:
    bare = [replace(mesh, texture=None) for mesh in clip()]
    with pytest.raises(V2M4Error, match="without colours"):
        drain(follow_tracks(begun(bare), bare, Still()))
