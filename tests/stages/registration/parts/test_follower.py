"""A mesh that follows a clip as a body of parts: colours, light and skin come from what is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.geometry.test_embedded_deformation import tube
from tests.stages.registration.test_video import film
from v2m4.events import drain
from v2m4.geometry.mesh import Mesh
from v2m4.settings import LooksSettings, PartsSettings, changed
from v2m4.stages.registration.parts.follower import PartsFollower
from v2m4.stages.registration.parts.looks import light_mesh

VERTICES, FACES = tube(20, 12, length=1.2, radius=0.15)
SHAPES = VERTICES + 0.04 * np.arange(4)[:, None, None] * np.array([0.0, 1.0, 0.0])  # sinks


@pytest.mark.parametrize("chunks", [1, 5])
def test_a_body_that_moves_as_one_is_followed(tmp_path: Path, chunks: int) -> None:
    settings = changed(PartsSettings(), {"chunks.chunks": chunks, "side": 32})
    mesh = Mesh(torch.tensor(VERTICES).float(), torch.tensor(FACES))
    all_frames = np.ones(4, bool)
    follower = PartsFollower(mesh, film(SHAPES, FACES, tmp_path), 0, all_frames, all_frames, settings)
    found = drain(follower.follow())
    assert found.shape == SHAPES.shape
    assert np.abs(found - SHAPES)[:, :, :2].mean() < 0.01
    assert follower.score(SHAPES) < 0.5 * follower.score(np.repeat(SHAPES[:1], 4, axis=0))


@pytest.mark.parametrize(("excused", "taken"), [(1.0, True), (0.0, False)])
def test_a_motion_is_not_blamed_for_what_the_mesh_differs_by_where_it_is_known(
    tmp_path: Path, excused: float, taken: bool
) -> None:
    """The mesh is stouter than what is filmed, and the motion a small one."""
    stout = VERTICES.mean(axis=0) + 1.3 * (VERTICES - VERTICES.mean(axis=0))
    moves = (SHAPES - VERTICES) / 2
    settings = changed(PartsSettings(), {"chunks.chunks": 1, "side": 32, "excused": excused})
    all_frames, mesh = np.ones(4, bool), Mesh(torch.tensor(stout).float(), torch.tensor(FACES))
    follower = PartsFollower(mesh, film(VERTICES + moves, FACES, tmp_path), 0, all_frames, all_frames, settings)
    still, moved = np.repeat(stout[None], 4, axis=0), stout + moves
    assert follower.score(moved) < follower.score(still)
    assert follower.prefers(moved, still) == taken
    assert not follower.prefers(still, moved)


def test_a_search_does_not_end_early_where_its_motion_would_be_taken(tmp_path: Path) -> None:
    """What ends a search is the bound by which its motion is judged."""
    stout = VERTICES.mean(axis=0) + 1.3 * (VERTICES - VERTICES.mean(axis=0))
    moves, all_frames = (SHAPES - VERTICES) / 2, np.ones(4, bool)
    clip, mesh = film(VERTICES + moves, FACES, tmp_path), Mesh(torch.tensor(stout).float(), torch.tensor(FACES))
    first, ends = np.repeat(stout[None], 4, axis=0), {"chunks.chunks": 1, "side": 32, "ends_after": 0.5}
    for excused in (1.0, 0.0):
        settings = changed(PartsSettings(), ends | {"excused": excused})
        follower = PartsFollower(mesh, clip, 0, all_frames, all_frames, settings, first)
        assert follower.prefers(stout + moves, first) == (drain(follower.follow()) is not None) == bool(excused)


@pytest.mark.parametrize("known", [True, False])
def test_a_search_ends_early_where_the_first_motion_is_hardly_surpassed(tmp_path: Path, known: bool) -> None:
    settings = changed(PartsSettings(), {"chunks.chunks": 1, "side": 32, "ends_after": 0.5})
    mesh = Mesh(torch.tensor(VERTICES).float(), torch.tensor(FACES))
    first, all_frames = SHAPES if known else np.repeat(SHAPES[:1], 4, axis=0), np.ones(4, bool)
    clip = film(SHAPES, FACES, tmp_path)
    found = drain(PartsFollower(mesh, clip, 0, all_frames, all_frames, settings, first).follow())
    assert (found is None) == known


def test_large_textured_faces_are_cut_until_their_texture_is_told() -> None:
    corners = torch.tensor([[0.0, 0, 3], [1, 0, 3], [1, 1, 3], [0, 1, 3]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    texture = torch.zeros(8, 8, 3)
    texture[:, :4, 0] = 1.0  # the left half is red
    square = Mesh(corners, faces, uv=corners[:, :2], uv_faces=faces, texture=texture)
    looks = light_mesh(square, LooksSettings(longest_edge=0.1))
    left, right = looks.vertices[:, 0] < 0.4, looks.vertices[:, 0] > 0.6
    np.testing.assert_allclose(looks.colours[left & (looks.vertices[:, 0] > 0.1), 0], 1.0)
    np.testing.assert_allclose(looks.colours[right & (looks.vertices[:, 0] < 0.9), 0], 0.0)
    assert looks.known.all() and len(looks.faces) > 100


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_where_no_plane_tells_depths_they_lie_between_both_motions_and_pictures_stay(
    tmp_path: Path, share: float
) -> None:
    mesh, clip = Mesh(torch.tensor(VERTICES).float(), torch.tensor(FACES)), film(SHAPES, FACES, tmp_path)
    all_frames, nearer = np.ones(4, bool), 0.9 * SHAPES
    settings = changed(
        PartsSettings(), {"chunks.chunks": 3, "side": 16, "across_view": 1.0, "first_depth": 0.0, "rig.rounds": 0}
    )
    alone, drawn = (
        drain(PartsFollower(mesh, clip, 0, all_frames, all_frames, each, nearer).follow())
        for each in (settings, changed(settings, {"first_depth": share}))
    )
    wanted = alone[..., 2] ** (1 - share) * nearer[..., 2] ** share
    np.testing.assert_allclose(drawn[..., 2], wanted, rtol=1e-9)
    np.testing.assert_allclose(drawn[..., :2] / drawn[..., 2:], alone[..., :2] / alone[..., 2:], atol=1e-9)
