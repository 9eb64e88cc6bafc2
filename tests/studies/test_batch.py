"""Several clips: what names them, where their results go, and that one bad clip loses no other."""

import pytest

from tests.conftest import little_settings
from v2m4.cli import main
from v2m4.errors import V2M4Error
from v2m4.events import Finished
from v2m4.settings import Settings
from v2m4.studies import batch
from v2m4.studies.batch import Job, do, do_all, expand, jobs_for


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp4", "a.mp4", "notes.txt"):
        (tmp_path / name).write_text("x")
    return tmp_path


def test_patterns_and_paths_name_clips_in_order_and_once(folder):
    assert [p.name for p in expand([folder / "*.mp4"])] == ["a.mp4", "b.mp4"]
    assert [p.name for p in expand([folder / "b.mp4", folder / "*.mp4"])] == ["b.mp4", "a.mp4"]
    assert expand([folder / "gone.mp4"]) == [folder / "gone.mp4"]  # whoever reads it says what is wrong
    with pytest.raises(V2M4Error, match="No clip is called like"):
        expand([folder / "*.mov"])


def test_results_go_to_folders_of_the_clips_names(folder):
    jobs = jobs_for(expand([folder / "*.mp4"]), Settings(), folder / "out")
    assert [job.output.name for job in jobs] == ["a", "b"]
    with pytest.raises(V2M4Error, match="Several clips are called a"):
        jobs_for([folder / "a.mp4", folder / "x" / "a.mov"], Settings(), folder)


def test_a_bad_clip_and_a_fault_lose_no_other(monkeypatch, folder):
    def events(video, settings, output):
        if video.stem == "a":
            raise ZeroDivisionError("oops")
        if video.stem == "b":
            raise V2M4Error("It is no video.")
        yield Finished({"glb": output}, {"iou": 1})

    monkeypatch.setattr(batch, "reconstruct", events)
    found = list(do_all(Job(folder / f"{name}.mp4", Settings(), folder / name) for name in "abc"))
    assert [outcome.problem for outcome in found[1:]] == ["It is no video.", ""]
    assert "a fault in v2m4 (ZeroDivisionError: oops)" in found[0].problem
    assert found[2].files == {"glb": folder / "c"} and found[2].report == {"iou": 1}


def test_the_command_tells_of_each_clip_and_fails_in_the_end(capsys, lizard, folder):
    file = folder / "settings.json"
    file.write_text(little_settings().to_json())
    code = main(
        ["reconstruct", str(lizard), str(folder / "a.mp4"), "--settings", str(file), "-o", str(folder / "out"), "-q"]
    )
    said = capsys.readouterr()
    assert code == 2
    assert said.out == f"{folder / 'out' / 'lizard' / 'animation.glb'}\n"
    assert "a.mp4" in said.err and "1 of 2 clips have no result" in said.err


def test_a_job_without_a_watcher_gives_files_and_report(finished, lizard):
    _, output, settings = finished
    found = do(Job(lizard, settings, output))
    assert found.problem == "" and found.files["glb"] == output / "animation.glb" and found.report["frames"] == 5
