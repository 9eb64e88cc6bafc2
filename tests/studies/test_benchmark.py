"""ActionBench's layout with synthetic samples: what is scored, what is predicted first, what is wrong with others."""

import json
import shutil

import numpy as np
import pytest

from tests.conftest import CLIP_FRAMES, little_settings
from tests.toys import bobbing_ball
from v2m4.cli import main
from v2m4.errors import V2M4Error
from v2m4.evaluation import actionbench
from v2m4.evaluation.alignment import Alignment
from v2m4.evaluation.surfaces import MovingMesh, SeparateMeshes
from v2m4.export.frames import write_frames
from v2m4.export.glb import write_still
from v2m4.export.placement import Placement
from v2m4.geometry.mesh import Mesh
from v2m4.studies.benchmark import benchmark_table, find_samples, predict, score_sample, with_problems

TIMES = (0.0, 0.2, 0.4)
POINTS = 1500


@pytest.fixture
def bench(tmp_path):
    """A sample whose truth is known as points and normals, and its exact prediction in the benchmark's layout."""
    animation = bobbing_ball()
    placement = Placement.of(animation.vertices)
    world = np.stack([placement.to_world(animation.at(t)).double().numpy() for t in TIMES])
    clouds = MovingMesh(world, animation.mesh.faces.numpy()).follow(4000, np.random.default_rng(3))
    sample = tmp_path / "set" / "data" / "000-ball"
    sample.mkdir(parents=True)
    data = np.stack([np.concatenate([c.points, c.normals], axis=1) for c in clouds])
    np.save(sample / "surfaces.npy", data.astype(np.float32))
    write_frames(tmp_path / "out" / "000-ball", animation, TIMES, "glb")
    return tmp_path / "set", tmp_path / "out"


@pytest.fixture
def aligned(monkeypatch):
    """Predictions that need no alignment: what finds one is tested with the distances."""
    still = Alignment(np.eye(3), np.ones(3), np.zeros(3))
    monkeypatch.setattr(actionbench, "iterative_closest_points", lambda *_, **__: still)


def test_the_exact_prediction_scores_the_floor_of_its_points(bench, aligned):
    (sample,) = find_samples(*bench)
    assert len(sample.truth()) == len(TIMES) and isinstance(sample.predicted(3), MovingMesh)
    found = score_sample(sample, POINTS)
    assert found.problem == ""
    assert all(0.01 < found.distances[name] < 0.08 for name in ("cd_3d", "cd_4d", "cd_m"))


def test_scores_are_kept_while_neither_side_changes(bench, aligned, monkeypatch):
    (sample,) = find_samples(*bench)
    first = score_sample(sample, POINTS)
    monkeypatch.setattr("v2m4.studies.benchmark.compare_surfaces", lambda *_, **__: pytest.fail("done again"))
    assert score_sample(sample, POINTS) == first
    shutil.copy(sample.prediction / "mesh_00000.glb", sample.prediction / "mesh_00001.glb")
    with pytest.raises(pytest.fail.Exception, match="done again"):
        score_sample(sample, POINTS)


def test_meshes_of_another_topology_per_frame_have_no_motion(bench, aligned):
    (sample,) = find_samples(*bench)
    mesh = bobbing_ball().mesh_at(0.4)
    write_still(sample.prediction / "mesh_00002.glb", Mesh(mesh.vertices, mesh.faces[:-3]))
    assert isinstance(sample.predicted(3), SeparateMeshes)
    table = benchmark_table([score_sample(sample, 300)], "ours")
    assert table.rows[0][-1] == "–" and table.rows[1] == ("ActionMesh", "128", "0.053", "0.081", "0.148")


def test_what_is_wrong_with_one_sample_is_told_and_loses_no_other(bench, aligned, tmp_path):
    data, out = bench
    for uid, content in (("001-empty", None), ("002-damaged", b"no numbers")):
        folder = data / "data" / uid
        folder.mkdir()
        (folder / "surfaces.npy").write_bytes(content or b"")
        (out / uid).mkdir()
        (out / uid / "mesh_0.glb").write_bytes(b"glTF")
    samples = find_samples(data, out)
    scored = [score_sample(sample, 300) for sample in samples]
    assert [bool(one.problem) for one in scored] == [False, True, True]
    assert all("cannot be read" in one.problem for one in scored[1:])
    table = benchmark_table(with_problems(scored, {"001-empty": "The disk is full."}), "ours")
    assert table.rows[0][1] == "1" and any("001-empty: The disk is full." in note for note in table.notes)
    with pytest.raises(V2M4Error, match="holds no ActionBench sample"):
        find_samples(tmp_path / "nowhere", out)


def test_data_that_are_no_surface_or_a_fault_of_ours_lose_no_other(bench, aligned, monkeypatch):
    (good,) = find_samples(*bench)
    right = np.load(good.folder / "surfaces.npy")
    bad = {"(0, 4000, 3)": right[:0], "(3, 0, 3)": right[:, :0], "poses 1 are": right * [[[1.0]], [[np.nan]], [[1.0]]]}
    bad["are one point"] = np.zeros_like(right)
    for said, data in bad.items():
        np.save(good.folder / "surfaces.npy", data)
        assert said in score_sample(good, 300).problem
    np.save(good.folder / "surfaces.npy", right)
    monkeypatch.setattr("v2m4.studies.benchmark.compare_surfaces", lambda *_, **__: 1 / 0)
    assert "a fault in v2m4 (ZeroDivisionError" in score_sample(good, 300).problem


def test_samples_without_a_prediction_are_reconstructed(lizard, tmp_path):
    sample = tmp_path / "data" / "lizard"
    shutil.copytree(lizard, sample / "imgs")
    np.save(sample / "surfaces.npy", np.zeros((CLIP_FRAMES, 10, 6), np.float32))
    (tmp_path / "data" / "bare").mkdir()
    np.save(tmp_path / "data" / "bare" / "surfaces.npy", np.zeros((2, 10, 6), np.float32))
    samples = find_samples(tmp_path / "data", tmp_path / "out")
    problems = predict(samples, tmp_path / "out", little_settings(), say=lambda line: None)
    assert list(problems) == ["bare"] and "no frames" in problems["bare"]
    assert len(list((tmp_path / "out" / "lizard").glob("mesh_*.glb"))) == CLIP_FRAMES
    assert isinstance(samples[1].predicted(CLIP_FRAMES), MovingMesh)


def test_the_command_prints_the_row_beside_the_published_ones(bench, aligned, capsys):
    data, out = bench
    code = main(["evaluate", "actionbench", str(data), "--out", str(out), "--points", "300"])
    said = capsys.readouterr().out
    assert code == 0
    assert "| ActionMesh --fast | 128 | 0.055 | 0.088 | 0.154 |" in said and "| v2m4 | 1 |" in said
    assert (out / "actionbench.tex").exists()
    assert json.loads((out / "000-ball" / "scores.json").read_text())["distances"]["cd_m"] > 0
    assert main(["evaluate", "actionbench", str(data), "--out", str(out), "--only", "x"]) == 2
