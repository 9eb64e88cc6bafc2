"""Topology against trimesh and by hand; faces and surface shares by hand."""

import numpy as np
import pytest
import torch
import trimesh

from tests.toys import ball, bobbing_ball, filmed
from v2m4.evaluation.report import measure
from v2m4.evaluation.soundness import crumpled_share, stretched_share, topology, torn_share, unseen_share
from v2m4.events import drain


@pytest.mark.parametrize(
    "mesh",
    [
        trimesh.creation.box(),
        trimesh.creation.torus(1, 0.3),
        trimesh.util.concatenate([trimesh.creation.box(), trimesh.creation.icosphere().apply_translation([5, 0, 0])]),
    ],
)
def test_closed_surfaces(mesh):
    found = topology(len(mesh.vertices), torch.tensor(mesh.faces))
    assert found["watertight"] == mesh.is_watertight and found["manifold"]
    assert found["components"] == mesh.body_count and found["triangles"] == len(mesh.faces)
    opened = topology(len(mesh.vertices), torch.tensor(mesh.faces[1:]))
    assert not opened["watertight"] and opened["manifold"] and opened["open_edges"] == 3


def test_what_is_not_manifold():
    three_on_an_edge = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    assert not topology(5, three_on_an_edge)["manifold"]
    two_fans_at_a_vertex = torch.tensor([[0, 1, 2], [0, 3, 4]])
    found = topology(5, two_fans_at_a_vertex)
    assert not found["manifold"] and found["components"] == 1
    assert topology(5, torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 4]]))["manifold"]


def test_stretched_faces_are_those_drawn_out_in_some_direction():
    rest = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    pulled = rest.clone()
    pulled[3] = torch.tensor([4.0, 1, 0])
    assert stretched_share(rest, torch.stack([rest, pulled]), faces, 2.0) == 0.5
    assert stretched_share(rest, (rest * 1.9)[None], faces, 2.0) == 0
    assert stretched_share(rest, (rest * 0.4)[None], faces, 2.0) == 0
    sheared = rest + 3 * rest[:, 1:2] * torch.tensor([1.0, 0, 0])  # every face keeps its area
    assert stretched_share(rest, sheared[None], faces, 3.0) == 1
    assert torn_share(rest, torch.stack([rest, pulled]), faces, 2.0) == 0.5


def test_crumpled_faces_are_those_pressed_together_in_some_direction():
    rest = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [2, 1, 3]])
    pressed = rest.clone()
    pressed[3] = torch.tensor([0.6, 0.6, 0])  # to 0.2 across the diagonal, which keeps its length
    assert crumpled_share(rest, torch.stack([rest, pressed]), faces, 3.0) == 0.5
    assert torn_share(rest, torch.stack([rest, pressed]), faces, 3.0) == 0
    assert crumpled_share(rest, pressed[None], faces, 5.5) == 0
    assert crumpled_share(rest, (rest * 0.3)[None], faces, 3.0) == 1
    assert crumpled_share(rest, rest.flip(-1)[None], faces, 1.01) == 0  # a motion presses nothing


def test_the_unseen_share_is_one_of_area():
    mesh = ball()
    front = mesh.vertices[mesh.faces].mean(1)[:, 2] < 0
    assert unseen_share(mesh.vertices, mesh.faces, front) == pytest.approx(0.5, abs=0.02)
    assert unseen_share(mesh.vertices, mesh.faces, torch.ones(len(mesh.faces), dtype=torch.bool)) == 0


def test_a_report_has_them_all(tmp_path):
    animation = bobbing_ball()
    report = drain(measure(animation, filmed(animation, tmp_path, (0.0, 0.4))))
    # A camera two away sees less than the half of a ball, and this one leans.
    assert 0.4 < report["unseen_surface"] < 0.65
    assert report["topology"] == {
        "triangles": len(animation.mesh.faces),
        "components": 1,
        "watertight": True,
        "manifold": True,
        "open_edges": 0,
    }
    assert report["stretched_faces"] == 0 and np.isfinite(report["jitter"])
