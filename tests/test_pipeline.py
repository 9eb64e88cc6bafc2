"""From a clip to an animated GLB: what a run tells, what it writes, and how it stops and goes on."""

import json
import shutil

import pytest

from tests.conftest import CLIP_FRAMES, little_settings
from v2m4.errors import RunStoppedError, V2M4Error
from v2m4.evaluation.glb import read_glb
from v2m4.events import (
    CameraFound,
    CameraView,
    Finished,
    ForegroundReady,
    FramesReady,
    KeyframesChosen,
    MeshGenerated,
    MeshRegistered,
    RunProgress,
    RunStarted,
    TextureReady,
)
from v2m4.pipeline import open_run, plan, reconstruct, reconstruct_to
from v2m4.recipe import Recipe
from v2m4.settings import Settings, changed

MILESTONES = (
    RunStarted,
    FramesReady,
    ForegroundReady,
    KeyframesChosen,
    MeshGenerated,
    CameraFound,
    MeshRegistered,
    TextureReady,
    Finished,
)


def milestones(events):
    return [e for e in events if isinstance(e, MILESTONES)]


def test_milestones_come_in_the_order_of_the_method(finished):
    events, _, _ = finished
    kinds = list(dict.fromkeys(type(e) for e in milestones(events)))

    assert kinds == list(MILESTONES)
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], Finished)


def test_progress_grows_to_the_end_and_estimates_the_rest(finished):
    fractions = [e.fraction for e in finished[0] if isinstance(e, RunProgress)]

    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 0.1 and 0.95 < fractions[-1] <= 1
    assert any(e.seconds_left for e in finished[0] if isinstance(e, RunProgress))


def test_camera_views_are_pictures_with_scores(finished):
    views = [e for e in finished[0] if isinstance(e, CameraView)]

    assert views
    assert all(v.image.ndim == 3 and v.image.shape[2] == 4 and 0 <= v.overlap <= 1 for v in views)


def test_the_result_is_one_animated_mesh_that_covers_the_object(finished):
    files, report = finished[0][-1].files, finished[0][-1].report
    model = read_glb(files["glb"])

    assert len(report["keyframes"]) == 3
    assert report["frames"] == CLIP_FRAMES
    assert len(report["iou"]["per_frame"]) == CLIP_FRAMES
    assert report["iou"]["mean"] > 0.85
    assert len(model.mesh.faces) == report["faces"]
    moved = (model.at(0.0) - model.at(report["duration"])).norm(dim=-1).max()
    assert moved > 0.02


def test_every_named_file_exists(finished):
    files = finished[0][-1].files

    assert {"glb", "camera", "preview", "settings", "report"} <= set(files)
    assert all(path.exists() and path.stat().st_size > 0 for path in files.values())
    assert not list(finished[1].rglob(".part-*"))


def test_settings_of_the_run_reproduce_it_without_any_choice_left(finished):
    _, output, settings = finished
    written = Settings.from_json((output / "settings.json").read_text())

    assert written == Recipe.of(settings).settings
    assert Recipe.of(written) == Recipe.of(settings)


def test_a_finished_run_is_only_recalled(finished, lizard):
    before, output, settings = finished
    glb = (output / "animation.glb").stat().st_mtime_ns

    again = list(reconstruct(lizard, settings, output))

    assert again[0].resumed
    assert [type(e) for e in milestones(again)] == [type(e) for e in milestones(before)]
    assert [e.phase for e in again if isinstance(e, CameraView)] == [
        e.phase for e in before if isinstance(e, CameraView)
    ]
    assert (output / "animation.glb").stat().st_mtime_ns == glb


def test_same_seed_same_bytes_whether_or_not_it_was_interrupted(finished, lizard, tmp_path):
    _, output, settings = finished
    run = reconstruct(lizard, settings, tmp_path / "again")
    for event in run:
        if isinstance(event, MeshRegistered):
            break
    run.close()
    resumed = list(reconstruct(lizard, settings, tmp_path / "again"))

    assert resumed[0].resumed
    assert (tmp_path / "again" / "animation.glb").read_bytes() == (output / "animation.glb").read_bytes()


def test_a_stop_file_ends_the_run_and_keeps_what_is_finished(lizard, tmp_path):
    settings = little_settings()
    events = reconstruct(lizard, settings, tmp_path)
    next(event for event in events if isinstance(event, KeyframesChosen))
    open_run(tmp_path, lizard, Recipe.of(settings)).request_stop()
    with pytest.raises(RunStoppedError, match="run the same again"):
        list(events)
    run = open_run(tmp_path, lizard, Recipe.of(settings))

    assert run.resumed
    assert not (tmp_path / "animation.glb").exists()


def test_changing_a_late_setting_keeps_the_early_work(finished, lizard, tmp_path):
    _, output, settings = finished
    shutil.copytree(output, tmp_path / "copy")

    run = open_run(tmp_path / "copy", lizard, Recipe.of(changed(settings, {"texture.size": 64})))
    left = {step.name for step in plan(run) if not run.done(step)}

    assert run.resumed
    assert left == {"texture", "export"}


def test_the_blocking_form_returns_the_last_event(finished, lizard):
    _, output, settings = finished

    last = reconstruct_to(lizard, settings, output)

    assert last.files == finished[0][-1].files


def test_a_missing_video_is_a_sentence_and_leaves_no_result(tmp_path):
    with pytest.raises(V2M4Error, match="nothing_here"):
        list(reconstruct(tmp_path / "nothing_here.mp4", little_settings(), tmp_path / "out"))

    assert not (tmp_path / "out").exists()


def test_the_manifest_names_settings_and_steps(finished):
    manifest = json.loads((finished[1] / "work" / "run.json").read_text())

    assert manifest["recipe"]["settings"]["preset"] == "draft"
    assert "export" in manifest["finished"]
