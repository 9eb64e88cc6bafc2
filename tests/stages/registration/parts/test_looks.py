"""What the body looks like: whether its faces show only their fronts."""

from __future__ import annotations

import pytest
import torch

from v2m4.geometry.mesh import Mesh
from v2m4.settings import LooksSettings, changed
from v2m4.stages.registration.parts.looks import light_mesh, shows_fronts

CORNERS = torch.tensor([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 2.0)])
FACES = torch.tensor(
    [
        [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ]
)  # fmt: skip


@pytest.mark.parametrize("apart", [False, True])
def test_a_box_shows_its_fronts_also_where_each_face_has_corners_of_its_own(apart: bool) -> None:
    vertices, faces = (CORNERS[FACES].reshape(-1, 3), torch.arange(36).reshape(-1, 3)) if apart else (CORNERS, FACES)
    assert shows_fronts(Mesh(vertices, faces), 0.2)
    assert not shows_fronts(Mesh(vertices, faces.flip(1)), 0.2)


def test_a_box_without_a_lid_shows_backs() -> None:
    assert not shows_fronts(Mesh(CORNERS, FACES[2:]), 0.2)


def test_seams_of_the_light_version_are_no_border() -> None:
    """An edge is halved for one of its faces where only that has a longer one: a texture's corners tell."""
    mesh = Mesh(
        CORNERS,
        FACES,
        uv=torch.rand(36, 2, generator=torch.Generator().manual_seed(0)),
        uv_faces=torch.arange(36).reshape(-1, 3),
        texture=torch.full((4, 4, 3), 0.5),
    )
    light = light_mesh(mesh, changed(LooksSettings(), {"longest_edge": 0.6}))
    assert len(light.faces) > len(FACES)
    assert shows_fronts(mesh, 0.2)
