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
from v2m4.geometry.neighbours import surface_points
from v2m4.settings import GlobalAlignmentSettings, LargeStepsSettings, LimbSettings, MeshToMeshSettings, TrackSettings
from v2m4.stages.registration.meshes import register_meshes, tracking_loss
from v2m4.stages.registration.surface_tracks import SurfaceTracks, track_surface
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


def tracked(meshes: list[Mesh]) -> SurfaceTracks:
    return drain(track_surface(meshes, Still(), SETTINGS, rng=torch.Generator().manual_seed(0)))


def test_points_of_the_first_mesh_lie_where_they_are_seen() -> None:
    meshes = clip()
    loss = tracking_loss(meshes[0].vertices, meshes[0].faces, tracked(meshes).at(0))
    assert float(loss) < 1e-2  # pixels


def test_the_loss_is_how_far_the_points_have_moved() -> None:
    meshes = clip()
    found = tracked(meshes)
    near, far = (tracking_loss(m.vertices, m.faces, found.at(k)) for k, m in enumerate(meshes) if k)
    assert 0.3 < float(near) < float(far)


def test_hidden_points_pull_nothing() -> None:
    found = tracked(clip())
    hidden = replace(found, visible=torch.zeros_like(found.visible))
    assert hidden.at(1) == []


def test_views_with_fewer_points_are_filled_up_but_not_used() -> None:
    found = drain(track_surface(clip(), Still(), replace(SETTINGS, points=5000), rng=torch.Generator().manual_seed(0)))
    assert found.triangles.shape == (4, 5000)
    assert not found.used.all()
    assert sum(len(track.triangle) for track in found.at(0)) == int(found.used.sum())


class Knowing:
    """A tracker that knows where every point of the surface is: it looks the queries up on the first mesh."""

    def __init__(self, meshes: list[Mesh]) -> None:
        self.meshes = meshes
        self.found = tracked(meshes)
        self.view = -1

    def __call__(self, frames: Tensor, queries: Tensor) -> Tracks:
        self.view += 1
        found, used = self.found, self.found.used[self.view]
        u, v = found.barycentrics[self.view][used].unbind(1)
        weights = torch.stack([u, v, 1 - u - v], dim=1)
        positions = []
        for mesh in self.meshes:
            points = surface_points(mesh.vertices, mesh.faces, found.triangles[self.view][used], weights)
            clip_space = torch.cat([points, torch.ones_like(points[:, :1])], 1) @ found.projections[self.view].T
            positions.append((clip_space[:, :2] / clip_space[:, 3:] + 1) * SETTINGS.view_size / 2 - 0.5)
        return Tracks(torch.stack(positions), torch.ones(len(positions), len(queries), dtype=torch.bool))


def test_tracks_turn_a_ball_that_has_turned() -> None:
    """A ball that turns about itself has the same shape: only its points tell that it turned."""
    mesh = ball()
    start = mesh.with_vertices(0.4 * mesh.vertices + torch.tensor([0.0, 0, 2]))
    a = torch.tensor(0.35)
    turn = torch.tensor([[a.cos(), 0, a.sin()], [0, 1, 0], [-a.sin(), 0, a.cos()]])
    end = start.with_vertices((start.vertices - torch.tensor([0.0, 0, 2])) @ turn.T + torch.tensor([0.0, 0, 2]))
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
    meshes = [start, end]
    found = drain(track_surface(meshes, Knowing(meshes), SETTINGS, rng=torch.Generator().manual_seed(0)))

    def error(**options: object) -> float:
        rng = torch.Generator().manual_seed(0)
        moved = drain(register_meshes(start.vertices, start, end, settings, rng=rng, **options))  # type: ignore[arg-type]
        return float((moved - end.vertices).norm(dim=1).mean())

    without, guided = error(), error(tracks=found.at(1))
    assert without > 0.05
    assert guided < 0.8 * without


def test_meshes_without_colours_are_told_in_a_sentence() -> None:
    bare = [replace(mesh, texture=None) for mesh in clip()]
    with pytest.raises(V2M4Error, match="without colours"):
        tracked(bare)
