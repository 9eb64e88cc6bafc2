"""`v2m4 evaluate` as a user meets it: runs, GLBs, truths, tables, and what it refuses."""

import csv
import json
import shutil

import numpy as np
import pytest

from v2m4.cli import main
from v2m4.evaluation.glb import read_glb


def evaluate(capsys, *words):
    code = main(["evaluate", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_runs_scores_are_those_of_its_report(capsys, finished, tmp_path):
    code, out, _ = evaluate(capsys, finished[1], "--no-learned", "-o", tmp_path / "scores")
    report = json.loads((finished[1] / "report.json").read_text())
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert code == 0 and out == (tmp_path / "scores" / "scores.md").read_text()
    assert scores["overall"]["psnr"]["mean"] == pytest.approx(report["psnr"]["mean"], abs=1e-3)
    frames = list(csv.DictReader((tmp_path / "scores" / f"frames-{finished[1].name}.csv").open()))
    assert [float(f["IoU↑"]) for f in frames] == pytest.approx(report["iou"]["per_frame"], abs=1e-3)
    assert (tmp_path / "scores" / "psnr.svg").read_bytes().startswith(b"<?xml")
    assert (tmp_path / "scores" / "scores.tex").read_text().startswith(r"\begin{table}")


def test_learned_measures_are_named_where_they_cannot_run(capsys, finished, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    code, out, _ = evaluate(capsys, finished[1])
    assert code == 0
    assert all(f"{name} left out:" in out for name in ("CLIP", "LPIPS", "FVD", "DreamSim", "CD-M"))
    assert "| CLIP" not in out


def test_against_its_own_animation_as_the_truth(capsys, finished):
    """Distances are the floor of the points that are drawn, and CD-3D was not asked for."""
    glb = finished[1] / "animation.glb"
    words = [finished[1], "--no-learned", "--truth", glb, "--points", "300", "--no-cd-3d", "--format", "json"]
    code, out, _ = evaluate(capsys, *words)
    scores = json.loads(out)
    assert code == 0
    assert scores["overall"]["cd_m"]["mean"] < 0.3 and scores["overall"]["normals"]["mean"] > 0.7
    assert scores["left_out"]["cd_3d"] == "not asked for"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("thing.glb",), "--video CLIP..."),
        (("nowhere",), "There is no result nowhere"),
        ((".", "--video", "clip.mp4"), "A run holds its clip"),
        (("a", "b", "--truth", "t.npz"), "2 results need as many of --truth"),
        ((".",), "holds no run"),
        ((".", "--points", "3"), "points must lie"),
        ((), "Name at least one result"),
    ],
)
def test_what_cannot_be_is_a_sentence(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thing.glb").touch()
    code, _, err = evaluate(capsys, *words, "--no-learned")
    assert code == 2 and said in err


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(capsys, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("v2m4.evaluation.scores.score", lambda *_, **__: pytest.fail("measured"))
    (tmp_path / "file").touch()
    code, _, err = evaluate(capsys, finished[1], "--no-learned", "-o", tmp_path / "file")
    assert code == 2 and "Cannot write" in err


def test_a_truth_of_the_whole_video_is_compared_where_the_clip_lies(capsys, finished, tmp_path):
    """Poses beyond the clip's end are left out, which is said; curves and tables put values where they belong."""
    model = read_glb(finished[1] / "animation.glb")
    frames = json.loads((finished[1] / "report.json").read_text())["times"]
    times = [*frames, *(frames[-1] + 0.1 * k for k in range(1, 4))]
    poses = np.stack([model.at(time).numpy() * (1 if time <= frames[-1] else 5) for time in times])
    np.savez(tmp_path / "truth.npz", vertices=poses, faces=model.mesh.faces.numpy(), times=times)
    words = [finished[1], "--no-learned", "--points", "300", "--no-cd-3d", "--truth", tmp_path / "truth.npz"]
    code, out, _ = evaluate(capsys, *words, "-o", tmp_path / "scores")
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())["clips"][0]
    assert code == 0 and f"geometry was compared in {len(frames)} of its poses" in out
    assert scores["true_times"] == pytest.approx(frames) and len(scores["scores"]["cd_4d"]["per_frame"]) == len(frames)
    assert scores["scores"]["cd_m"]["mean"] < 0.1  # in units of the whole truth, which ends five times as large
    assert (tmp_path / "scores" / "cd_4d.svg").exists()


def test_a_truth_that_is_none_is_a_sentence(capsys, finished, tmp_path):
    for content in (b"", b"PK\x03\x04 broken", b"numbers"):
        (tmp_path / "truth.npz").write_bytes(content)
        code, _, err = evaluate(capsys, finished[1], "--no-learned", "--truth", tmp_path / "truth.npz")
        assert code == 2 and "truth.npz is not a sequence with known geometry: it is no NPZ" in err
    code, _, err = evaluate(capsys, finished[1], "--no-learned", "--truth", tmp_path / "nowhere.npz")
    assert code == 2 and "There is no file" in err and "Check --truth." in err


def test_plain_poses_and_faces_are_truth_enough(capsys, finished, tmp_path):
    """Without times there must be a pose for every frame, and the sentence counts both."""
    model = read_glb(finished[1] / "animation.glb")
    frames = json.loads((finished[1] / "report.json").read_text())["times"]
    poses = np.stack([model.at(time).numpy() for time in frames])
    words = [finished[1], "--no-learned", "--points", "300", "--no-cd-3d", "--json", "--truth", tmp_path / "truth.npz"]
    np.savez(tmp_path / "truth.npz", vertices=poses, faces=model.mesh.faces.numpy())
    code, out, _ = evaluate(capsys, *words)
    assert code == 0 and json.loads(out)["overall"]["cd_m"]["mean"] < 0.3
    np.savez(tmp_path / "truth.npz", vertices=poses[:-1], faces=model.mesh.faces.numpy())
    code, _, err = evaluate(capsys, *words)
    assert code == 2 and f"holds {len(frames) - 1} poses and no times, but the video has {len(frames)} frames" in err


def test_a_video_of_another_length_is_named(capsys, finished, lizard, tmp_path):
    folder = tmp_path / "short"
    folder.mkdir()
    for picture in sorted(lizard.glob("*.png"))[:2]:
        shutil.copy(picture, folder)
    for video, said in ((lizard, False), (folder, True)):
        glb = finished[1] / "animation.glb"
        code, out, _ = evaluate(capsys, glb, "--video", video, "--no-learned")
        assert code == 0 and ("- animation: the animation lasts" in out) == said
