"""The run's folder: what counts as finished, and the artefacts' round trips."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from v2m4.artefacts import (
    load_camera,
    load_mesh,
    load_picture,
    load_tensors,
    save_camera,
    save_mesh,
    save_picture,
)
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.files import digest_of
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.ownership import refuse_in_work
from v2m4.pipeline import open_run
from v2m4.recipe import Recipe
from v2m4.run import Run, Step
from v2m4.settings import Settings, changed


@pytest.fixture
def source(tmp_path):
    return write_gif(tmp_path / "clip.mp4", "red")


def write_gif(path, color):
    """Two frames; readers go by what a file holds, not by its name."""
    first, second = Image.new("RGB", (32, 32), color), Image.new("RGB", (32, 32), "white")
    first.save(path, "GIF", save_all=True, append_images=[second])
    return path


def opened(tmp_path, source, settings=None):
    return open_run(tmp_path / "run", source, Recipe.of(settings or Settings()))


def finished_steps(tmp_path, source, *names):
    """A run with steps of one file each, finished in this order."""
    run = opened(tmp_path, source)
    for name in names or ("video", "matting", "keyframes"):
        (run.begin(Step(name)) / "made.bin").write_bytes(name.encode())
        run.finish(Step(name), 1.0)
    return run


def rewrite(work, **entries):
    manifest = json.loads((work / "run.json").read_text())
    (work / "run.json").write_text(json.dumps(manifest | entries))


def done(tmp_path, source, settings=None):
    run = opened(tmp_path, source, settings)
    return [name for name in ("video", "matting", "keyframes") if run.done(Step(name))]


def tree(folder):
    """Every file below the folder but the lock, with its bytes."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


def with_texture_size(size):
    return changed(Settings(), {"texture.size": size})


def test_finished_steps_are_found_again(tmp_path, source):
    opened(tmp_path, source).finish(Step("generation", 7), 1.5)
    run = opened(tmp_path, source)

    assert run.resumed
    assert run.done(Step("generation", 7))
    assert not run.done(Step("generation", 8))
    assert run.seconds("generation") == [1.5]


def test_a_late_setting_undoes_only_what_depends_on_it(tmp_path, source):
    run = opened(tmp_path, source, with_texture_size(512))
    for step in (Step("video"), Step("registration", 3, None), Step("texture"), Step("export")):
        run.finish(step, 1.0)
    run = opened(tmp_path, source, with_texture_size(256))

    assert run.done(Step("video"))
    assert run.done(Step("registration", 3))
    assert not run.done(Step("texture"))
    assert not run.done(Step("export"))


def test_another_video_of_the_same_name_starts_anew(tmp_path, source):
    opened(tmp_path, source).finish(Step("video"), 1.0)
    write_gif(source, "blue")

    assert not opened(tmp_path, source).resumed


def test_a_damaged_manifest_counts_as_nothing_done(tmp_path, source):
    run = opened(tmp_path, source)
    run.finish(Step("video"), 1.0)
    (run.work / "run.json").write_text("{half")

    assert not opened(tmp_path, source).resumed


def test_a_run_of_another_version_is_refused_and_left_alone(tmp_path, source):
    work = finished_steps(tmp_path, source).work
    rewrite(work, format=1, version="0.1.0")

    with pytest.raises(V2M4Error, match=r"another version of v2m4 \(0.1.0\)"):
        opened(tmp_path, source)
    with pytest.raises(V2M4Error, match=r"another version of v2m4 \(0.1.0\)"):
        Run.read(tmp_path / "run")
    assert json.loads((work / "run.json").read_text())["format"] == 1


@pytest.mark.parametrize("rubbish", [[1], "all", {"video": 3}, {"video": {"seconds": 1.0}}, {"video": {"files": []}}])
def test_entries_of_finished_steps_that_are_none_count_as_nothing_done(tmp_path, source, rubbish):
    work = finished_steps(tmp_path, source).work
    rewrite(work, finished=rubbish, results=[1])

    assert not opened(tmp_path, source).resumed
    assert not Run.read(tmp_path / "run").resumed


def test_a_manifest_without_a_whole_recipe_is_a_sentence(tmp_path, source):
    work = finished_steps(tmp_path, source).work
    rewrite(work, recipe={"settings": {}})

    with pytest.raises(V2M4Error, match="run.json is damaged"):
        Run.read(tmp_path / "run")


def test_a_step_whose_files_are_gone_is_undone_with_all_that_came_after(tmp_path, source):
    run = finished_steps(tmp_path, source)
    (run.work / "matting" / "made.bin").unlink()
    assert done(tmp_path, source) == ["video"]


def test_a_step_whose_files_were_damaged_is_undone_even_at_the_same_size(tmp_path, source):
    run = finished_steps(tmp_path, source)
    (run.work / "keyframes" / "made.bin").write_bytes(b"k3yframes")
    assert done(tmp_path, source) == ["video", "matting"]


def test_a_copied_folder_is_as_good_as_the_first(tmp_path, source):
    run = finished_steps(tmp_path, source)
    for path in run.work.rglob("made.bin"):
        os.utime(path, (1, 1))
    assert done(tmp_path, source) == ["video", "matting", "keyframes"]


def test_results_count_among_what_a_step_left(tmp_path, source):
    run = opened(tmp_path, source)
    place = run.begin(Step("export"))
    (place / "report.json").write_text("{}")
    (place / "frames").mkdir()
    for name in ("0.obj", "1.obj"):
        (place / "frames" / name).write_text("v")
    run.publish(place)
    run.finish(Step("export"), 1.0)
    assert opened(tmp_path, source).done(Step("export"))

    (run.folder / "frames" / "0.obj").unlink()
    assert not opened(tmp_path, source).done(Step("export"))
    (run.folder / "frames" / "1.obj").write_text("mine")
    with pytest.raises(V2M4Error, match="holds frames, which v2m4 did not make"):
        opened(tmp_path, source)


@pytest.mark.parametrize("killed", [False, True])
def test_a_step_that_fails_changes_nothing(tmp_path, source, killed):
    run = finished_steps(tmp_path, source)
    before = tree(run.folder)
    other = opened(tmp_path, source, changed(Settings(), {"matting.min_area": 0.1}))
    with other.hold():
        (other.begin(Step("matting")) / "half.bin").write_bytes(b"h")
        if not killed:
            other.abandon()
            assert tree(run.folder) == before

    with opened(tmp_path, source).hold():
        assert tree(run.folder) == before
    assert done(tmp_path, source) == ["video", "matting", "keyframes"]


def test_a_step_that_another_recipe_finished_takes_the_place(tmp_path, source):
    finished_steps(tmp_path, source)
    other = changed(Settings(), {"matting.min_area": 0.1})
    run = opened(tmp_path, source, other)
    with run.hold():
        (run.begin(Step("matting")) / "made.bin").write_bytes(b"new")
        run.finish(Step("matting"), 1.0)
    with run.hold():
        assert (run.work / "matting" / "made.bin").read_bytes() == b"new"
    assert done(tmp_path, source, other) == ["video", "matting"]
    assert done(tmp_path, source) == ["video"]
    assert not list(run.work.rglob("*.former"))


def test_opening_writes_nothing(tmp_path, source):
    opened(tmp_path, source)
    assert not (tmp_path / "run").exists()


HOLDER = """
import sys, pathlib
from v2m4.lock import locked
with locked(pathlib.Path(sys.argv[1]) / "work" / "lock", pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_only_one_process_works_in_a_folder(tmp_path, source):
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        run = opened(tmp_path, source)
        with pytest.raises(V2M4Error, match=rf"Process {other.pid} on .* works in .*run"), run.hold():
            pass
        other.kill()
    with run.hold():  # the system lifted what the killed one held
        pass


def test_a_folder_that_this_process_holds_is_refused_too(tmp_path, source):
    run = opened(tmp_path, source)
    with run.hold(), pytest.raises(V2M4Error, match=f"Process {os.getpid()}"), run.hold():
        pass
    with run.hold():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_lent_worker_does_steps_of_the_run_that_its_parent_holds(tmp_path, source):
    run = opened(tmp_path, source)
    with run.hold():
        child = os.fork()
        if child == 0:
            inner = opened(tmp_path, source)
            (inner.begin(Step("video")) / "made.bin").write_bytes(b"v")
            inner.finish(Step("video"), 1.0)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        run.reload()
        assert run.done(Step("video"))
        with pytest.raises(V2M4Error, match="works in"), opened(tmp_path, source).hold():
            pass


def test_litter_of_killed_processes_is_swept_and_nothing_else(tmp_path, source):
    run = finished_steps(tmp_path, source)
    for folder in (run.folder, run.work, run.work / "video"):
        (folder / ".v2m4-part-x1.png").write_bytes(b"half")
    (run.folder / ".part-of-my-thesis").write_text("mine")
    with run.hold():
        pass

    assert not list(run.folder.rglob(".v2m4-part-*"))
    assert (run.folder / ".part-of-my-thesis").exists()


def test_steps_without_their_manifest_are_called_what_they_are(tmp_path, source):
    clip = tmp_path / "run" / "work" / "video" / "clip.json"
    clip.parent.mkdir(parents=True)
    clip.write_text("{}")
    with pytest.raises(V2M4Error, match="steps of a run, but its run.json"):
        opened(tmp_path, source)


def test_a_work_folder_that_is_not_ours_is_left_alone(tmp_path, source):
    mine = tmp_path / "run" / "work" / "video" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years")

    with pytest.raises(V2M4Error, match="files that v2m4 did not make"):
        opened(tmp_path, source)
    assert mine.read_text() == "years"


@pytest.mark.parametrize("place", ["run/work/frames", "run/work", "run", "run/frames", "."])
def test_frames_are_not_read_from_where_results_are_written(tmp_path, place):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "000.png").write_bytes(b"precious")

    with pytest.raises(V2M4Error, match=r"lies where this run would write|did not make"):
        opened(tmp_path, folder)
    assert (folder / "000.png").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["animation.glb", "work/mesh.glb"])
def test_a_template_is_not_overwritten(tmp_path, source, name):
    template = tmp_path / "run" / name
    template.parent.mkdir(parents=True)
    template.write_bytes(b"my mesh")

    with pytest.raises(V2M4Error, match="The template"):
        opened(tmp_path, source, changed(Settings(), {"generator.template": template}))
    assert template.read_bytes() == b"my mesh"


@pytest.mark.parametrize("name", ["animation.glb", "settings.json", "report.json", "frames/mine.txt"])
def test_files_in_the_results_places_that_no_run_wrote_stay(tmp_path, source, name):
    mine = tmp_path / "run" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")

    with pytest.raises(V2M4Error, match="did not make and would overwrite"):
        opened(tmp_path, source)
    assert mine.read_text() == "{}"
    assert not (tmp_path / "run" / "work").exists()


def published(tmp_path, source, **contents):
    """A run whose results were put in their places; a name's double underscore stands for a slash."""
    run = opened(tmp_path, source)
    place = run.begin(Step("export"))
    for name, text in contents.items():
        path = place / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    run.publish(place)
    run.finish(Step("export"), 1.0)
    return tmp_path / "run"


def test_a_folder_in_the_place_of_a_file_stays(tmp_path, source):
    (tmp_path / "run" / "animation.glb" / "mine").mkdir(parents=True)
    with pytest.raises(V2M4Error, match=r"holds animation\.glb, which v2m4 did not make"):
        opened(tmp_path, source)
    assert (tmp_path / "run" / "animation.glb" / "mine").is_dir()


def test_results_of_its_own_are_replaced_and_removed_when_they_are_no_more(tmp_path, source):
    published(tmp_path, source, animation_glb="old", preview_mp4="old", frames__mesh_0_glb="old")
    folder = published(tmp_path, source, animation_glb="new")

    assert (folder / "animation.glb").read_text() == "new"
    assert sorted(p.name for p in folder.iterdir()) == ["animation.glb", "work"]


@pytest.mark.parametrize("name", ["animation.glb", "settings.json", "frames/mesh.0.glb", "frames/mine.glb"])
def test_a_file_put_into_a_results_place_afterwards_stays(tmp_path, source, name):
    folder = published(tmp_path, source, animation_glb="old", settings_json="{}", frames__mesh_0_glb="old")
    (folder / name).write_text("mine")

    with pytest.raises(V2M4Error, match=f"holds {name.split('/')[0]}, which.*changed since"):
        opened(tmp_path, source)
    assert (folder / name).read_text() == "mine"


def test_a_file_put_into_a_results_place_while_the_run_works_stays(tmp_path, source):
    run = opened(tmp_path, source)
    place = run.begin(Step("export"))
    (place / "animation.glb").write_text("made")
    (run.folder / "animation.glb").write_text("mine")

    with pytest.raises(V2M4Error, match=r"holds animation.glb, which v2m4 did not make"):
        run.publish(place)
    assert (run.folder / "animation.glb").read_text() == "mine"


def test_one_that_is_killed_while_results_are_moved_goes_on(tmp_path, source, monkeypatch):
    published(tmp_path, source, animation_glb="old", settings_json="old")
    run = opened(tmp_path, source)
    place = run.begin(Step("export"))
    for name in ("animation.glb", "settings.json"):
        (place / name).write_text("new")
    move = type(place).replace

    def move_until_killed(path, target):
        if target.name == "settings.json":
            raise KeyboardInterrupt
        return move(path, target)

    monkeypatch.setattr(type(place), "replace", move_until_killed)
    with pytest.raises(KeyboardInterrupt):
        run.publish(place)
    monkeypatch.undo()

    assert [(run.folder / name).read_text() for name in ("animation.glb", "settings.json")] == ["new", "old"]
    assert (published(tmp_path, source, animation_glb="newest") / "animation.glb").read_text() == "newest"


def test_results_whose_work_was_removed_are_known_by_their_report(tmp_path, source):
    report = {"version": "1", "plugs": {}, "keyframes": [], "files": {}}
    folder = published(tmp_path, source, animation_glb="old")
    report["files"]["animation.glb"] = digest_of(folder / "animation.glb")
    (folder / "report.json").write_text(json.dumps(report))
    shutil.rmtree(folder / "work")

    opened(tmp_path, source)
    (folder / "preview.mp4").write_text("mine")
    with pytest.raises(V2M4Error, match=r"holds preview.mp4, which"):
        opened(tmp_path, source)


def test_a_settings_file_among_the_steps_is_refused(tmp_path):
    refuse_in_work(tmp_path, "settings file", tmp_path / "settings.json")
    with pytest.raises(V2M4Error, match="The settings file .* lies where"):
        refuse_in_work(tmp_path, "settings file", tmp_path / "work" / "video" / "mine.json")


def test_a_source_that_cannot_be_read_makes_no_folder(tmp_path):
    (tmp_path / "notes.mp4").write_text("shopping list")

    with pytest.raises(V2M4Error, match="not a video"):
        opened(tmp_path, tmp_path / "notes.mp4")
    assert not (tmp_path / "run").exists()


def test_a_file_put_among_a_steps_own_stays_and_is_named(tmp_path, source):
    step = Step("registration", 3)
    run = opened(tmp_path, source)
    (run.begin(step) / "made.bin").write_bytes(b"made")
    run.finish(step, 1.0)
    mine = run.place(step) / "mine" / "notes.txt"
    mine.parent.mkdir()
    (run.place(step) / ".DS_Store").touch()
    opened(tmp_path, source)
    mine.write_text("mine")
    with pytest.raises(V2M4Error, match=r"holds work/00003/registration/mine/notes\.txt .*v2m4 did not make"):
        opened(tmp_path, write_gif(tmp_path / "other.mp4", "blue"))
    assert mine.read_text() == "mine"


def test_pruning_removes_steps_of_keyframes_and_nothing_else(tmp_path, source):
    run = opened(tmp_path, source)
    for step in (Step("registration", 3), Step("registration", 8)):
        (run.begin(step) / "made.bin").write_bytes(b"made")
        run.finish(step, 1.0)
    others = [run.work / "2024" / "photos", run.work / "00003" / "photos", run.work / "00012" / "mine"]
    for folder in others:
        folder.mkdir(parents=True)
    run.prune([Step("registration", 8)])
    assert not run.place(Step("registration", 3)).exists() and run.place(Step("registration", 8)).exists()
    assert all(folder.is_dir() for folder in others)


def test_a_step_that_begins_again_finds_its_place_empty(tmp_path, source):
    run = opened(tmp_path, source)
    step = Step("generation", 4)
    (run.begin(step) / "left_over.npz").write_bytes(b"old")
    run.finish(step, 1.0)

    assert list(run.begin(step).iterdir()) == []
    assert not run.done(step)
    assert not opened(tmp_path, source).resumed


def test_a_missing_source_is_a_sentence_and_makes_no_folder(tmp_path):
    with pytest.raises(V2M4Error, match="no file or folder"):
        opened(tmp_path, tmp_path / "nothing.mp4")
    assert not (tmp_path / "run").exists()


def test_a_run_can_be_read_without_its_source(tmp_path, source):
    run = opened(tmp_path, source)
    run.finish(Step("texture"), 2.0)
    source.unlink()

    again = Run.read(tmp_path / "run")
    assert again.done(Step("texture"))
    assert again.recipe == run.recipe
    with pytest.raises(V2M4Error, match="holds no run"):
        Run.read(tmp_path)


def test_random_numbers_belong_to_the_step(tmp_path, source):
    run = opened(tmp_path, source)
    first, again, other = (torch.rand(3, generator=run.rng(Step("camera", k))) for k in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_stop_is_asked_for_and_forgotten(tmp_path, source):
    run = opened(tmp_path, source)
    run.request_stop()
    asked = opened(tmp_path, source).stop_requested()
    run.clear_stop()

    assert asked
    assert not run.stop_requested()


def test_a_file_in_the_way_is_a_sentence(tmp_path, source):
    with pytest.raises(V2M4Error, match="Choose another"):
        open_run(source, source, Recipe.of(Settings()))


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


@pytest.mark.parametrize("kind", ["missing", "rubbish", "{}"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("mesh.npz", load_mesh),
        ("camera.json", load_camera),
        ("extras.safetensors", load_tensors),
        ("view.png", load_picture),
        ("clip.json", lambda path: Clip.load(path.parent)),
    ],
)
def test_an_artefact_that_cannot_be_read_says_which_folder_to_delete(tmp_path, name, read, kind):
    place = tmp_path / "work" / "step"
    place.mkdir(parents=True)
    if kind != "missing":
        (place / name).write_text(kind)
    with pytest.raises(V2M4Error, match=rf"{name} is missing or damaged .*Delete the folder .*step and give the same"):
        read(place / name)


def test_pictures_are_png(tmp_path):
    save_picture(tmp_path / "a.png", np.zeros((4, 5, 4), np.uint8))

    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
