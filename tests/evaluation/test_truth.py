"""Known geometry survives being stored compactly."""

import numpy as np
import pytest
import torch

from tests.toys import ball, poses
from v2m4.errors import V2M4Error
from v2m4.evaluation.truth import Truth, first_mesh, load_truth, read_truth, save_truth


@pytest.fixture
def truth():
    mesh = ball()
    vertices = poses(mesh, torch.linspace(0, 1, 7))
    w2c = torch.eye(4)
    w2c[:3, 3] = torch.tensor([0.1, 0.2, 3.0])
    intrinsics = np.array([[879.0, 0, 320], [0, 879.0, 180], [0, 0, 1]])
    return Truth(vertices, np.arange(7) / 24, mesh.with_vertices(vertices[0]), w2c, intrinsics, (640, 360))


def test_round_trip(tmp_path, truth):
    save_truth(tmp_path / "t.npz", truth)
    again = load_truth(tmp_path / "t.npz")
    torch.testing.assert_close(again.vertices, truth.vertices, atol=5e-5, rtol=0)
    torch.testing.assert_close(again.mesh.uv, truth.mesh.uv, atol=1e-5, rtol=0)
    assert float((again.mesh.texture - truth.mesh.texture).abs().mean()) < 0.06  # JPEG
    assert torch.equal(again.mesh.faces, truth.mesh.faces)
    assert torch.equal(again.mesh.uv_faces, truth.mesh.uv_faces)
    assert torch.equal(again.mesh.vertices, again.vertices[0])
    assert torch.equal(again.world_to_camera, truth.world_to_camera)
    assert again.size == (640, 360)
    np.testing.assert_array_equal(again.times, truth.times)


def test_the_camera_spans_the_padded_square(truth):
    assert truth.camera.fov_deg == pytest.approx(2 * np.degrees(np.arctan(320 / 879)))
    torch.testing.assert_close(truth.in_camera_space(), truth.vertices + truth.world_to_camera[:3, 3])


def test_plain_arrays_are_read_too(tmp_path, truth):
    np.savez(
        tmp_path / "t.npz",
        vertices=truth.vertices.numpy(),
        faces=truth.mesh.faces.numpy().astype(np.int32),
        colors=np.full((len(truth.mesh.vertices), 3), 51, np.uint8),
        times=truth.times,
        w2c=np.eye(4),
        K=truth.intrinsics,
        size=np.array([640, 360]),
    )
    again = load_truth(tmp_path / "t.npz")
    assert torch.equal(again.vertices, truth.vertices)
    assert float(again.mesh.colors.mean()) == pytest.approx(0.2)


def test_anything_else_is_refused(tmp_path):
    (tmp_path / "t.npz").write_bytes(b"no")
    with pytest.raises(V2M4Error, match="known geometry"):
        load_truth(tmp_path / "t.npz")
    np.savez(tmp_path / "u.npz", vertices=np.zeros((1, 3, 3)))
    with pytest.raises(V2M4Error, match="known geometry: it lacks 'faces'"):
        load_truth(tmp_path / "u.npz")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"vertices": np.zeros((4, 3), np.float32)}, r"its vertices are \(4, 3\)"),
        ({"vertices": np.full((1, 3, 3), np.nan, np.float32)}, "not finite"),
        ({"faces": np.array([[0, 1, 3]])}, "vertices that are not there"),
        ({"faces": np.zeros((0, 3), np.int64)}, r"its faces \(0, 3\)"),
        ({"times": np.arange(2.0)}, "1 poses need as many times, but it has 2"),
        ({"times": np.array([np.nan])}, "times are not finite numbers that ascend"),
        ({"vertices": np.zeros((2, 3, 3)), "times": np.array([1.0, 0.0])}, "times are not finite numbers that ascend"),
        ({"vertices": np.ones((1, 3, 3))}, "its first pose has no area"),
    ],
)
def test_arrays_that_make_no_surface_are_refused(tmp_path, wrong, said):
    right = {"vertices": np.eye(3, dtype=np.float32)[None], "faces": np.array([[0, 1, 2]]), "times": np.zeros(1)}
    np.savez(tmp_path / "t.npz", **right)
    assert len(read_truth(tmp_path / "t.npz", [0.0]).vertices) == 1
    assert torch.equal(first_mesh(tmp_path / "t.npz").vertices, torch.eye(3))
    np.savez(tmp_path / "t.npz", **(right | wrong))
    with pytest.raises(V2M4Error, match=f"known geometry: .*{said}"):
        read_truth(tmp_path / "t.npz", [0.0])
