"""The run's folder: what counts as finished, and the artefacts' round trips."""

import dataclasses

import numpy as np
import pytest
import torch

from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.run import Run, Step, load_camera, load_mesh, save_camera, save_mesh, save_picture
from v2m4.settings import Settings


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"frames")
    return path


def with_texture_size(size):
    settings = Settings()
    return dataclasses.replace(settings, texture=dataclasses.replace(settings.texture, size=size))


def test_finished_steps_are_found_again(tmp_path, source):
    Run(tmp_path / "run", source, Settings()).finish(Step("generation", 7), 1.5)
    run = Run(tmp_path / "run", source, Settings())

    assert run.resumed
    assert run.done(Step("generation", 7))
    assert not run.done(Step("generation", 8))
    assert run.seconds("generation") == [1.5]


def test_a_late_setting_undoes_only_what_depends_on_it(tmp_path, source):
    run = Run(tmp_path / "run", source, with_texture_size(512))
    for step in (Step("video"), Step("registration", 3, None), Step("texture"), Step("export")):
        run.finish(step, 1.0)
    run = Run(tmp_path / "run", source, with_texture_size(256))

    assert run.done(Step("video"))
    assert run.done(Step("registration", 3))
    assert not run.done(Step("texture"))
    assert not run.done(Step("export"))


def test_another_video_of_the_same_name_starts_anew(tmp_path, source):
    Run(tmp_path / "run", source, Settings()).finish(Step("video"), 1.0)
    source.write_bytes(b"others")

    assert not Run(tmp_path / "run", source, Settings()).resumed


def test_a_damaged_manifest_counts_as_nothing_done(tmp_path, source):
    run = Run(tmp_path / "run", source, Settings())
    run.finish(Step("video"), 1.0)
    (run.work / "run.json").write_text("{half")

    assert not Run(tmp_path / "run", source, Settings()).resumed


def test_random_numbers_belong_to_the_step(tmp_path, source):
    run = Run(tmp_path / "run", source, Settings())
    first, again, other = (torch.rand(3, generator=run.rng(Step("camera", k))) for k in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_stop_is_asked_for_and_forgotten(tmp_path, source):
    run = Run(tmp_path / "run", source, Settings())
    run.request_stop()
    asked = Run(tmp_path / "run", source, Settings()).stop_requested()
    run.clear_stop()

    assert asked
    assert not run.stop_requested()


def test_a_file_in_the_way_is_a_sentence(tmp_path, source):
    with pytest.raises(V2M4Error, match="Choose another with -o"):
        Run(source, source, Settings())


def test_mesh_and_camera_round_trips(tmp_path):
    mesh = Mesh(torch.rand(4, 3), torch.tensor([[0, 1, 2], [0, 2, 3]]), colors=torch.rand(4, 3))
    save_mesh(tmp_path / "mesh.npz", mesh)
    save_camera(tmp_path / "camera.json", Camera(torch.eye(4) * 2, 35.0), score=0.25)
    back, (camera, facts) = load_mesh(tmp_path / "mesh.npz"), load_camera(tmp_path / "camera.json")

    assert torch.equal(back.vertices, mesh.vertices)
    assert torch.equal(back.faces, mesh.faces)
    assert back.texture is None
    assert torch.equal(camera.world_to_camera, torch.eye(4) * 2)
    assert (camera.fov_deg, facts) == (35.0, {"score": 0.25})


def test_pictures_are_png(tmp_path):
    save_picture(tmp_path / "a.png", np.zeros((4, 5, 4), np.uint8))

    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
