"""Clean-up: each kind of debris goes, what is left keeps its shape and colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from v2m4.errors import V2M4Error
from v2m4.geometry.cleanup import (
    boundary_loops,
    clean,
    compact,
    encloses,
    fill_holes,
    part_pinched_edges,
    remove_bad_faces,
    remove_cavities,
    weld,
)
from v2m4.geometry.mesh import Mesh
from v2m4.settings import CleanupSettings


def _ball(subdivisions: int = 4, radius: float = 0.4) -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    vertices = torch.from_numpy(np.array(ball.vertices)).float()
    return Mesh(vertices, torch.from_numpy(np.array(ball.faces)).long(), colors=vertices + 0.5)


def _joined(*meshes: Mesh) -> Mesh:
    offsets = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    return Mesh(
        torch.cat([m.vertices for m in meshes]),
        torch.cat([m.faces + int(o) for m, o in zip(meshes, offsets, strict=True)]),
        colors=torch.cat([m.colors for m in meshes if m.colors is not None]),
    )


def test_a_surface_encloses_if_it_has_no_border_and_faces_outwards() -> None:
    ball, away = _ball(2), _ball(2)
    away.vertices[:, 0] += 2
    both = _joined(ball, away)
    vertices, faces = both.vertices.double().numpy(), both.faces.numpy()
    assert encloses(vertices, faces)
    assert not encloses(vertices, faces[1:])
    assert not encloses(vertices, np.concatenate([faces, faces[:1]]))
    inwards = faces.copy()
    inwards[: len(ball.faces)] = faces[: len(ball.faces), ::-1]
    assert not encloses(vertices, inwards)
    one_turned = faces.copy()
    one_turned[0] = faces[0, ::-1]
    assert not encloses(vertices, one_turned)
    assert not encloses(vertices, faces[:0])


def test_a_small_hole_or_a_fin_may_be_let_pass() -> None:
    ball = _ball(2)
    vertices, faces = ball.vertices.double().numpy(), ball.faces.numpy()
    hole = faces[1:]
    round_it = np.linalg.norm(vertices[faces[0]] - vertices[np.roll(faces[0], 1)], axis=1).sum()
    share = float(round_it / np.ptp(vertices, axis=0).max())
    assert encloses(vertices, hole, 1.01 * share) and not encloses(vertices, hole, 0.99 * share)
    fin = np.concatenate([faces, [[faces[0, 0], faces[0, 1], faces[100, 2]]]])
    assert not encloses(vertices, fin) and encloses(vertices, fin, 2.0)
    assert not encloses(vertices, faces[:, ::-1], 0.5)


def _trimesh(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)


def test_budget_shape_and_colours_survive_simplification() -> None:
    mesh = clean(_ball(5), 1000, CleanupSettings())
    assert 800 <= len(mesh.faces) <= 1000
    solid = _trimesh(mesh)
    assert solid.is_watertight and solid.is_winding_consistent
    assert solid.volume == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.02)
    assert mesh.colors is not None
    torch.testing.assert_close(mesh.colors, mesh.vertices + 0.5, atol=0.02, rtol=0)


def test_floaters_and_inner_walls_go() -> None:
    floater = _ball(1, 0.02)
    floater = floater.with_vertices(floater.vertices + 0.6)
    wall = _ball(3, 0.3)
    wall = Mesh(wall.vertices, wall.faces.flip(1), colors=wall.colors)
    outer = _ball(3)
    mesh = clean(_joined(outer, floater, wall), 10_000, CleanupSettings())
    assert len(mesh.faces) == len(outer.faces)
    assert float(mesh.vertices.norm(dim=1).min()) > 0.35


def test_a_separate_inward_piece_outside_stays() -> None:
    a, b = _ball(2), _ball(2, 0.3)
    b = Mesh(b.vertices + 2, b.faces.flip(1), colors=b.colors)
    faces = _joined(a, b).faces.numpy()
    assert len(remove_cavities(_joined(a, b).vertices.double().numpy(), faces)) == len(faces)


@pytest.mark.parametrize("missing", [1, 6])
def test_small_holes_are_closed(missing: int) -> None:
    ball = _ball(4)
    if missing == 1:
        keep = torch.arange(len(ball.faces)) != 7
    else:
        keep = ~(ball.faces == 200).any(1)
    holed = Mesh(ball.vertices, ball.faces[keep], colors=ball.colors)
    assert not _trimesh(holed).is_watertight
    mesh = clean(holed, 10_000, CleanupSettings())
    solid = _trimesh(mesh)
    assert solid.is_watertight and solid.is_winding_consistent and solid.volume > 0


def test_large_openings_stay_open() -> None:
    ball = _ball(3)
    bowl = Mesh(ball.vertices, ball.faces[(ball.vertices[ball.faces, 2] < 0.1).all(1)], colors=ball.colors)
    mesh = clean(bowl, 10_000, CleanupSettings())
    assert len(mesh.faces) == len(bowl.faces)
    assert len(boundary_loops(mesh.faces.numpy())) == 1


def test_touching_loops_are_left_alone() -> None:
    bow_tie = np.array([[0, 1, 2], [0, 3, 4]])
    vertices = np.random.default_rng(0).random((5, 3))
    assert fill_holes(vertices, bow_tie, 100, 1.0)[2] == 0


def test_bad_faces() -> None:
    faces = np.array([[0, 1, 2], [1, 2, 0], [3, 3, 4], [5, 6, 7], [7, 6, 5], [0, 1, 3]])
    assert remove_bad_faces(faces).tolist() == [[0, 1, 2], [0, 1, 3]]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_welding_keeps_every_triangle_in_place(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = rng.integers(0, 3, (30, 3)).astype(float)
    faces = rng.integers(0, 30, (20, 3))
    welded, new, kept = weld(vertices, faces)
    assert len(np.unique(welded, axis=0)) == len(welded)
    assert np.array_equal(welded[new], vertices[faces])
    assert np.array_equal(vertices[kept], welded)


def test_compacting_leaves_no_vertex_unused() -> None:
    used, faces = compact(np.array([[7, 2, 9], [9, 2, 4]]))
    assert used.tolist() == [2, 4, 7, 9]
    assert faces.tolist() == [[2, 0, 3], [3, 0, 1]]


def test_a_texture_is_not_carried_over() -> None:
    ball = _ball(2)
    uv = ball.vertices[:, :2] + 0.5
    mesh = clean(
        Mesh(ball.vertices, ball.faces, uv=uv, uv_faces=ball.faces, texture=torch.ones(8, 8, 3)),
        10_000,
        CleanupSettings(),
    )
    assert mesh.texture is None and mesh.uv is None and mesh.colors is None


def test_hopeless_meshes_are_refused_with_a_sentence() -> None:
    with pytest.raises(V2M4Error, match="no surface left"):
        clean(Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])), 100, CleanupSettings())
    with pytest.raises(V2M4Error, match="not finite"):
        clean(Mesh(torch.full((3, 3), torch.nan), torch.tensor([[0, 1, 2]])), 100, CleanupSettings())
    with pytest.raises(V2M4Error, match="at least 4"):
        clean(_ball(1), 2, CleanupSettings())


@pytest.mark.parametrize("turn", [0.0, 1.0, 2.5])
def test_solids_that_touch_in_an_edge_are_parted_there(turn: float) -> None:
    boxes = [trimesh.creation.box(bounds=[low, np.add(low, 1)]) for low in ([0, 0, 0], [1, 1, 0])]
    vertices = np.concatenate([np.round(box.vertices) for box in boxes])
    vertices, faces, _ = weld(vertices, np.concatenate([boxes[0].faces, boxes[1].faces + 8]))
    vertices = vertices @ trimesh.transformations.rotation_matrix(turn, [1, 2, 3])[:3, :3].T
    assert 4 in np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)), axis=0, return_counts=True)[1]
    vertices, faces = part_pinched_edges(vertices, faces)
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2))
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    solid = trimesh.Trimesh(vertices, faces, process=False)
    assert solid.is_winding_consistent
    assert 1.9 < solid.volume < 2  # each keeps its own side: a notch, not a bridge


def test_a_surface_without_pinched_edges_stays_as_it_is() -> None:
    ball = _ball(2)
    vertices, faces = ball.vertices.double().numpy(), ball.faces.numpy()
    after = part_pinched_edges(vertices, faces)
    assert after[0] is vertices and after[1] is faces
