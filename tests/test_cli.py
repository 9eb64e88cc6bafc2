"""The `v2m4` command as a user meets it."""

import json
import subprocess
import sys

import pytest

import v2m4
from tests.conftest import little_settings
from v2m4.cli import main
from v2m4.console import watch
from v2m4.events import Finished, FramesReady


def run(capsys, *words):
    code = main([str(w) for w in words])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"v2m4 {v2m4.__version__}\n", "")


def test_help_lists_the_commands(capsys):
    code, out, _ = run(capsys, "--help")

    assert code == 0
    assert all(name in out for name in ("reconstruct", "render", "evaluate", "doctor"))


def test_help_of_reconstruct_explains_the_options(capsys):
    with pytest.raises(SystemExit) as end:
        main(["reconstruct", "--help"])
    out = capsys.readouterr().out

    assert end.value.code == 0
    assert "animation.glb" in out
    assert "--video.longest-side" in out


def test_an_unknown_command_is_a_problem(capsys):
    code, _, err = run(capsys, "reconstrukt")

    assert code == 2
    assert "Choose one of: reconstruct" in err


def test_a_text_file_is_refused_with_exit_code_2_and_no_result(capsys, tmp_path):
    fake = tmp_path / "notes.mp4"
    fake.write_text("shopping list")

    code, out, err = run(capsys, "reconstruct", fake, "-o", tmp_path / "out", "-q")

    assert code == 2
    assert out == ""
    assert "notes.mp4" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "animation.glb").exists()


def test_a_template_that_is_no_mesh_is_refused(capsys, lizard, tmp_path):
    bad = tmp_path / "mesh.obj"
    bad.write_text("v 0 0 0\n")
    settings = tmp_path / "settings.json"
    settings.write_text(little_settings().to_json())

    code, _, err = run(
        capsys, "reconstruct", lizard, "--settings", settings, "--template", bad, "-o", tmp_path / "out", "-q"
    )

    assert code == 2
    assert "mesh.obj" in err
    assert not (tmp_path / "out" / "animation.glb").exists()


def test_all_options_that_cannot_be_are_named_in_one_message(capsys, lizard, tmp_path):
    words = ["--camera.rigid.directions", "0", "--video.start-s", "nan", "--device=foo", "--stereo", "luck"]
    words += ["--template", tmp_path / "none.glb", "-o", tmp_path / "out"]

    code, _, err = run(capsys, "reconstruct", lizard, *words)

    said = ("camera.rigid.directions must be", "video.start_s must be", "device cannot be", "stereo", "none.glb")
    assert code == 2
    assert all(part in err for part in said) and err.count("v2m4:") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_video_and_everything_else_that_is_wrong_are_one_message(capsys, tmp_path):
    settings = tmp_path / "settings.json"
    settings.write_text('{"seed": -1}')
    words = ["--settings", settings, "--texture.size", "3", "--video.end-s=1", "--video.start-s=2"]

    code, _, err = run(capsys, "reconstruct", tmp_path / "none.mp4", *words, "-o", tmp_path / "out")

    said = ("seed must be", "texture.size must be", "video.end_s (1) must come after", "no file or folder")
    assert code == 2
    assert all(part in err for part in said) and err.count("v2m4:") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_video_a_taken_folder_and_a_missing_template_are_one_message(capsys, tmp_path):
    (tmp_path / "animation.glb").write_text("mine")

    code, _, err = run(
        capsys, "reconstruct", tmp_path / "none.mp4", "--template", tmp_path / "none.glb", "-o", tmp_path
    )

    assert code == 2
    assert all(part in err for part in ("none.glb", "no file or folder", "animation.glb, which v2m4 did not make"))


def test_a_weak_result_is_said_first_and_even_when_quiet(capsys, finished, lizard, tmp_path):
    events, output, _ = finished
    weak = Finished(events[-1].files, events[-1].report | {"verdict": {"level": "weak", "says": "weak result: x"}})

    watch(iter([weak]), quiet=True)
    assert capsys.readouterr().err == "weak result: x\n"
    watch(iter([weak]))
    assert capsys.readouterr().err.splitlines()[0] == "weak result: x"
    assert json.loads((output / "report.json").read_text())["verdict"]["level"] in ("good", "fair")


def test_frames_that_lack_are_told(capsys, finished):
    last = finished[0][-1]
    watch(iter([FramesReady(2, (64, 48), 0.1, ("The folder walk lacks 3 of its 5 frames.",)), last]))
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == ["2 frames of 64 x 48, 0.10 s", "warning: The folder walk lacks 3 of its 5 frames."]


def test_a_finished_run_prints_only_the_path(capsys, finished, lizard):
    _, output, _ = finished

    code, out, err = run(capsys, "reconstruct", lizard, "--settings", output / "settings.json", "-o", output, "-q")

    assert (code, out, err) == (0, f"{output / 'animation.glb'}\n", "")


def test_plain_lines_when_nobody_watches(capsys, finished, lizard):
    _, output, _ = finished

    _, _, err = run(capsys, "reconstruct", lizard, "--settings", output / "settings.json", "-o", output)

    assert "3 keyframes" in err
    assert "\x1b" not in err


def test_preset_and_settings_exclude_each_other(capsys, finished, lizard):
    file = finished[1] / "settings.json"

    code, _, err = run(capsys, "reconstruct", lizard, "--settings", file, "--preset", "paper")

    assert code == 2
    assert "either --settings or --preset" in err


def test_evaluate_agrees_with_the_report(capsys, finished, lizard):
    _, output, _ = finished
    report = json.loads((output / "report.json").read_text())

    code, out, _ = run(capsys, "evaluate", output / "animation.glb", "--video", lizard, "--json")

    assert code == 0
    assert json.loads(out)["overall"]["iou"]["mean"] == pytest.approx(report["iou"]["mean"], abs=0.02)


def test_doctor_lists_every_plug_with_its_licence(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    plugs = {p["name"]: p for p in json.loads(out)["plugs"]}

    assert code == 0
    assert {"inflate", "sculpt", "template", "trellis", "features", "dust3r", "structure", "dreamsim", "flat"} <= set(
        plugs
    )
    assert plugs["inflate"]["ready"] and plugs["sculpt"]["ready"]
    assert not plugs["dust3r"]["commercial"]
    assert all(p["licence"] for p in plugs.values())


def test_commercial_use_refuses_what_forbids_it(capsys, lizard, tmp_path):
    code, _, err = run(
        capsys, "reconstruct", lizard, "--commercial-use", "--stereo", "dust3r", "-o", tmp_path / "out", "-q"
    )

    assert code == 2
    assert "may not be used commercially" in err


def test_importing_the_package_is_cheap():
    probe = "import sys, v2m4; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
