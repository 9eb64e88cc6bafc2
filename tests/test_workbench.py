"""What a run works with refuses what later stages could only stumble over."""

from __future__ import annotations

import pytest
import torch

from tests.toys import ball
from v2m4.errors import V2M4Error
from v2m4.workbench import require_in_front


def test_a_mesh_around_the_camera_is_refused_by_the_frames_name() -> None:
    mesh = ball()
    before = mesh.with_vertices(mesh.vertices + torch.tensor([0.0, 0, 3]))
    require_in_front(before, 5)
    for vertices in (mesh.vertices, before.vertices - torch.tensor([0.0, 0, 10]), before.vertices / 0):
        with pytest.raises(V2M4Error, match="frame 5"):
            require_in_front(mesh.with_vertices(vertices), 5)
