"""Rendering the exported object from the described camera lands on the input's pixels."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toys import bobbing_ball
from v2m4.clip import Clip
from v2m4.export.placement import Placement, write_camera
from v2m4.geometry.camera import Camera

coordinates = st.floats(-3, 3)


@settings(deadline=None)
@given(coordinates, coordinates, st.floats(0.5, 20), st.floats(0.01, 10), st.integers(0, 2**31))
def test_the_camera_sees_the_world_as_the_video_saw_the_object(x, y, z, size, seed):
    points = torch.randn(3, 40, 3, generator=torch.Generator().manual_seed(seed)) * size
    points = points + torch.tensor([x, y, z + 4 * size])
    placement = Placement.of(points)
    seen = placement.to_world(points).double() @ torch.from_numpy(placement.world_to_camera())[:3, :3].T
    seen = seen + torch.from_numpy(placement.world_to_camera())[:3, 3]
    before, after = points[..., :2] / points[..., 2:], seen[..., :2] / seen[..., 2:]
    visible = points[..., 2] > 0.1 * size
    torch.testing.assert_close(after[visible].float(), before[visible], atol=2e-4, rtol=1e-3)


def test_the_matrix_is_rigid():
    matrix = Placement.of(bobbing_ball().vertices).world_to_camera()
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)


def test_the_whole_motion_is_centred():
    vertices = bobbing_ball().vertices
    world = Placement.of(vertices).to_world(vertices)
    box = torch.stack([world.amin((0, 1)), world.amax((0, 1))])
    torch.testing.assert_close(box.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    assert 0.8 < float((world[0].amax(0) - world[0].amin(0)).max()) < 1.25


def test_the_file_maps_to_pixels_of_the_source(tmp_path):
    """A 1920x1080 clip at a quarter of its size, padded to 480x480: its centre stays the centre."""
    animation = bobbing_ball()
    clip = Clip(tmp_path, "wide", (0.0,), 1.0, 480, (1920, 1080), 0.25, (0.0, 105.0), False)
    write_camera(tmp_path / "animation.camera.json", animation, clip)
    data = json.loads((tmp_path / "animation.camera.json").read_text())
    assert (data["width"], data["height"], data["fov_deg"], data["convention"]) == (480, 480, 40.0, "opencv")
    world = Placement.of(animation.vertices).to_world(animation.vertices[0])
    p = np.c_[world.numpy(), np.ones(len(world))] @ np.asarray(data["world_to_camera"]).T
    focal = 240 / np.tan(np.radians(20))
    square = np.c_[focal * p[:, :2] / p[:, 2:3] + 240, np.ones(len(p))]
    frame = square @ np.asarray(data["image_to_frame"]).T
    normalised, _ = Camera.identity().project(animation.vertices[0])
    expected = (normalised.numpy() * 480 - [0, 105]) * 4
    np.testing.assert_allclose(frame[:, :2], expected, atol=0.02)
