"""From a clip to an animated GLB: what a run tells, what it writes, and how it stops and goes on."""

import json
import shutil

import pytest

from tests.conftest import CLIP_FRAMES, little_settings
from v2m4.artefacts import visiting_order
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
    PosesMended,
    PoseView,
    RunProgress,
    RunStarted,
    TextureReady,
)
from v2m4.pipeline import open_run, plan, reconstruct, reconstruct_to
from v2m4.recipe import Recipe
from v2m4.settings import Settings, changed
from v2m4.steps import STAGES

STAGES_OF_IT = {spec.name for spec in STAGES} - {"refinement"}
MILESTONES = (
    RunStarted,
    FramesReady,
    ForegroundReady,
    KeyframesChosen,
    MeshGenerated,
    CameraFound,
    MeshRegistered,
    PosesMended,
    TextureReady,
    Finished,
)


def files_below(folder):
    """Every file of a run with its bytes, but for the lock."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


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


def test_the_search_for_poses_shows_each_keyframe_as_soon_as_it_is_found(finished):
    events = finished[0]
    chosen = next(e for e in events if isinstance(e, KeyframesChosen))
    poses = [e for e in events if isinstance(e, PoseView)]

    assert [e.keyframe for e in poses] == visiting_order(chosen.indices, chosen.anchor)
    assert all(e.image.ndim == 3 and e.image.shape[2] == 4 and e.overlap > 0.5 for e in poses)
    kinds = [type(e) for e in events]
    assert len(kinds) - kinds[::-1].index(PoseView) < kinds.index(MeshRegistered)


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
    assert not list(finished[1].rglob(".v2m4-part-*"))


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


def test_frames_that_lack_are_told_at_once_when_resumed_and_in_the_report(lizard, tmp_path):
    shutil.copytree(lizard, tmp_path / "gap")
    (tmp_path / "gap" / "002.png").unlink()
    for _ in range(2):
        events = list(reconstruct(tmp_path / "gap", little_settings(), tmp_path / "out"))
        (warning,) = next(event for event in events if isinstance(event, FramesReady)).warnings
        assert warning.startswith(f"The folder gap lacks 1 of its {CLIP_FRAMES} frames")
        assert events[-1].report["warnings"][0] == warning


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


@pytest.mark.parametrize(
    ("lost", "undone"),
    [
        ("animation.glb", {"export"}),
        ("animation.camera.json", {"export"}),
        ("preview.mp4", {"export"}),
        ("settings.json", {"export"}),
        ("report.json", {"export"}),
        ("work/texture/mesh.npz", {"texture", "export"}),
        ("work/mending/mended.npz", {"mending", "texture", "export"}),
        ("work/00004/registration/registered.npz", {"registration", "mending", "texture", "export"}),
        ("work/motion/motion.npz", {"motion", "registration", "mending", "texture", "export"}),
        ("work/matting/masked/00003.png", STAGES_OF_IT - {"video"}),
        ("work/video/clip.json", STAGES_OF_IT),
    ],
)
def test_what_was_deleted_or_damaged_is_unfinished(finished, lizard, tmp_path, lost, undone):
    _, output, settings = finished
    for kind in ("deleted", "damaged"):
        copy = tmp_path / kind
        shutil.copytree(output, copy)
        (copy / lost).unlink() if kind == "deleted" else (copy / lost).write_bytes(b"rubbish")
        if kind == "damaged" and not lost.startswith("work"):  # may be somebody's own by now
            with pytest.raises(V2M4Error, match=rf"holds {lost}, which v2m4 did not make"):
                open_run(copy, lizard, Recipe.of(settings))
            continue
        run = open_run(copy, lizard, Recipe.of(settings))
        assert {step.stage for step in plan(run) if not run.done(step)} == undone


def test_lost_results_are_made_again(finished, lizard, tmp_path):
    before, output, settings = finished
    shutil.copytree(output, tmp_path / "copy")
    for name in ("animation.glb", "report.json", "settings.json"):
        (tmp_path / "copy" / name).unlink()

    last = reconstruct_to(lizard, settings, tmp_path / "copy")

    assert set(last.files) == set(before[-1].files)
    for name in ("animation.glb", "animation.camera.json", "settings.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (output / name).read_bytes()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("matting.points", "rubbish", "rubbish"),
        ("video.start_s", 100.0, "No frame is left of the folder lizard after trimming"),
        ("keyframes.anchor", 999, "keyframes.anchor is 999, but the clip's frames are 0 to 4"),
    ],
)
def test_an_attempt_that_fails_leaves_a_finished_run_as_it_was(finished, lizard, tmp_path, setting, value, said):
    _, output, settings = finished
    shutil.copytree(output, tmp_path / "copy")
    before = files_below(tmp_path / "copy")

    with pytest.raises(V2M4Error, match=said):
        list(reconstruct(lizard, changed(settings, {setting: value}), tmp_path / "copy"))

    assert files_below(tmp_path / "copy") == before
    run = open_run(tmp_path / "copy", lizard, Recipe.of(settings))
    assert all(run.done(step) for step in plan(run))


def test_the_blocking_form_returns_the_last_event(finished, lizard):
    _, output, settings = finished

    last = reconstruct_to(lizard, settings, output)

    assert last.files == finished[0][-1].files


@pytest.mark.parametrize(("changes", "last"), [({}, 4), ({"video.frame_step": 2}, 2)])
def test_an_anchor_beyond_the_clip_is_refused_as_soon_as_its_frames_are_counted(lizard, tmp_path, changes, last):
    # What the file tells is known before a folder is made, what trimming leaves once the clip is decoded.
    settings = changed(little_settings(), changes | {"keyframes.anchor": last + 1})
    seen = []
    with pytest.raises(V2M4Error, match=f"the clip's frames are 0 to {last}"):
        seen.extend(reconstruct(lizard, settings, tmp_path / "out"))
    assert (tmp_path / "out").exists() == bool(changes)
    assert not [event for event in seen if isinstance(event, ForegroundReady)]


def test_a_missing_video_is_a_sentence_and_leaves_no_result(tmp_path):
    with pytest.raises(V2M4Error, match="nothing_here"):
        list(reconstruct(tmp_path / "nothing_here.mp4", little_settings(), tmp_path / "out"))

    assert not (tmp_path / "out").exists()


def test_the_manifest_names_settings_and_steps(finished):
    manifest = json.loads((finished[1] / "work" / "run.json").read_text())

    assert manifest["recipe"]["settings"]["preset"] == "draft"
    assert "export" in manifest["finished"]
