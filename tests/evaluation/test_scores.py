"""A result against its clip and the truth: ideal values, order of the worse, sets of windows, tables."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
import trimesh

from tests.toys import bobbing_ball, filmed
from v2m4.errors import V2M4Error
from v2m4.evaluation import actionbench
from v2m4.evaluation.alignment import Alignment
from v2m4.evaluation.judges import Panel
from v2m4.evaluation.scores import GEOMETRY, MEASURES, Scores, Shown, matching_poses, score, weights_named
from v2m4.evaluation.tables import ABSENT, Table, frame_table, score_table
from v2m4.evaluation.truth import Truth
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh

TIMES = (0.0, 0.2, 0.4, 0.6)
POINTS = 3000


class Means:
    """A stand-in for learned features and judges: colours of a coarse grid, and how far pictures are apart."""

    weights = "none (mean colours)"

    def __call__(self, *pictures):
        if len(pictures) == 1:
            return torch.nn.functional.adaptive_avg_pool2d(pictures[0].mean(1), 4).flatten().double().numpy()
        return -np.abs(pictures[0].astype(float) - pictures[1]).mean((1, 2, 3))


@pytest.fixture(scope="module")
def true(tmp_path_factory):
    animation = bobbing_ball()
    clip = filmed(animation, tmp_path_factory.mktemp("clip"), TIMES, 48)
    poses = torch.stack([animation.at(t) for t in TIMES])
    truth = Truth(poses, np.array(TIMES), animation.mesh, torch.eye(4), np.eye(3), (48, 48))
    return Shown("true", animation.mesh_at, Camera.identity(), clip, truth)


def worse(true):
    """The same, better to worse: a little noise, a still, a sphere that stands still."""
    start = true.at(0.0)
    noise = 0.003 * torch.randn(start.vertices.shape, generator=torch.Generator().manual_seed(0))
    ball = trimesh.creation.icosphere(2, 0.3)
    middle = torch.tensor([0, 0, 2.0])
    sphere = Mesh(torch.tensor(ball.vertices).float() * torch.tensor([0.5, 1, 1]) + middle, torch.tensor(ball.faces))
    return [
        true,
        replace(true, name="noise", at=lambda t: start.with_vertices(true.at(t).vertices + noise)),
        replace(true, name="still", at=lambda t: start),
        replace(true, name="sphere", at=lambda t: sphere),
    ]


@pytest.fixture(scope="module")
def scores(true):
    """With the alignment that is known: what finds it has tests of its own, and takes its time."""
    low, high = true.truth.vertices.amin((0, 1)).numpy(), true.truth.vertices.amax((0, 1)).numpy()
    scale = 2 / (high - low).max()
    known = Alignment(np.eye(3), np.full(3, scale), -scale * (low + high) / 2)
    with mock.patch.object(actionbench, "iterative_closest_points", return_value=known):
        return score(worse(true), Panel({"clip": Means()}, Means()), points=POINTS)


def test_the_truth_against_itself_is_ideal(true, scores):
    ideal = {name: s.mean for name, s in scores.clips[0].scores.items()}
    assert ideal["iou"] == 1 and ideal["psnr"] > 60 and ideal["ssim"] > 0.999
    # As near as two draws of n points on one surface of area A are (Poisson): 1 / (2 sqrt(n / A)), both ways.
    low, high = true.truth.vertices.amin((0, 1)), true.truth.vertices.amax((0, 1))
    in_box = trimesh.Trimesh(true.truth.vertices[0] * 2 / (high - low).max(), true.at(0.0).faces, process=False)
    floor = math.sqrt(in_box.area / POINTS)
    assert all(ideal[name] == pytest.approx(floor, rel=0.15) for name in ("cd_3d", "cd_4d", "cd_m"))
    assert ideal["normals"] > 0.97


@pytest.mark.parametrize("name", ["cd_3d", "cd_4d", "cd_m", "normals", "psnr", "ssim", "iou", "clip"])
def test_truth_is_better_than_noise_than_a_still_than_a_sphere(scores, name):
    values = [one.scores[name].mean for one in scores.clips]
    worsens = -np.diff(values) if MEASURES[name].better == "up" else np.diff(values)
    assert (worsens > 0).all(), values


def test_values_of_frames_belong_to_the_mean_and_weights_are_named(scores):
    one = scores.clips[1]
    for name in ("iou", "psnr", "cd_3d", "cd_4d", "normals"):
        assert np.mean(one.scores[name].per_frame) == pytest.approx(one.scores[name].mean)
        assert len(one.scores[name].per_frame) == len(TIMES)
    assert one.scores["clip"].weights == "none (mean colours)" and one.scores["psnr"].weights == ""
    json.dumps(scores.to_plain())


def test_without_truth_geometry_is_left_out_and_short_clips_have_no_fvd(true, scores):
    found = score([replace(true, truth=None)], Panel({}, Means()))
    assert set(found.left_out) == {*GEOMETRY, "fvd"}
    assert "--truth" in found.left_out["cd_m"] and "32 frames" in found.left_out["fvd"]
    assert not set(found.overall) & set(found.left_out)


def test_meshes_that_share_no_surface_have_no_motion_to_compare(true, monkeypatch):
    known = Alignment(np.eye(3), np.ones(3), np.zeros(3))
    monkeypatch.setattr(actionbench, "iterative_closest_points", lambda *_, **__: known)
    found = score([replace(true, tracked=False)], Panel(), points=300, every_frame=False)
    assert set(found.left_out) == {"cd_m", "cd_3d"} and "share no surface" in found.left_out["cd_m"]
    assert {"cd_4d", "normals"} <= set(found.overall)


def test_fvd_is_one_distance_between_all_windows(true, tmp_path, monkeypatch):
    monkeypatch.setattr("v2m4.evaluation.scores.FRAME_SIZE", 64)
    times = tuple(k / 40 for k in range(33))
    clip = filmed(bobbing_ball(), tmp_path / "long", times, 32)
    one = replace(true, clip=clip, truth=None)
    still = replace(one, name="still", at=lambda t: true.at(0.0))
    alike, apart = (score([a, a], Panel({}, Means())) for a in (one, still))
    assert alike.windows == apart.windows == 2
    assert 0 <= alike.overall["fvd"].mean < 0.1 * apart.overall["fvd"].mean
    assert "fvd" not in alike.clips[0].scores
    assert any("2 frames are dropped, as tails" in line for line in weights_named(alike))


def test_tables_say_what_is_missing_and_read_back(scores):
    table = score_table(scores)
    assert table.columns[:2] == ("Result", "Frames") and table.rows[-1][0] == "all"
    rows = list(csv.reader(line for line in io.StringIO(table.csv()) if not line.startswith("#")))
    assert rows[0] == list(table.columns) and len(rows) == 6
    assert float(rows[1][table.columns.index("IoU↑")]) == 1
    assert table.markdown().count("\n") >= 7 and "FVD left out" in table.markdown()
    assert frame_table(scores.clips[0]).rows[0][0] == "0"
    assert Scores.from_plain(json.loads(json.dumps(scores.to_plain()))) == scores


@pytest.mark.parametrize("begins", [0.0, 0.1])
def test_a_truth_of_more_poses_is_compared_within_the_clip(true, begins):
    """By the time in the video, of which the clip may be a later part."""
    times = np.arange(12) / 10
    poses = true.truth.vertices[:1].expand(12, -1, -1)
    truth = replace(true.truth, vertices=poses, times=times + 7)
    poses, at, said = matching_poses(replace(true, begins=begins), truth)
    assert [times[k] for k in poses] == pytest.approx([t + begins for t in at])
    assert at == pytest.approx(np.arange(0, 7) / 10)
    assert "the truth has 12 poses over 1.10 s" in said and "in 7 of its poses" in said
    with pytest.raises(V2M4Error, match="shows none of them"):
        matching_poses(replace(true, begins=9.0), truth)
    assert matching_poses(replace(true, begins=begins), true.truth) == ([0, 1, 2, 3], list(TIMES), "")


def test_frames_without_a_true_pose_have_a_dash(scores):
    one = replace(scores.clips[1], true_times=TIMES[1:])
    table = frame_table(one)
    column = table.columns.index("CD-4D↓")
    assert table.rows[0][column] == ABSENT and table.rows[1][column] == f"{one.scores['cd_4d'].per_frame[0]:.4f}"


@pytest.mark.parametrize("name", ["a|b", "a\\|b", "*a* [b](c)", "two\nlines", "_a_b", "# a, b", '"q"'])
def test_odd_names_stay_one_cell(name):
    table = Table("t", ("Result", "x"), ((name, "1"),), (f"{name}: said",))
    row = table.markdown().splitlines()[2]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3 and row.endswith("| 1 |")
    assert not re.search(r"(?<!\\)[*\[]|(?<![\\\w])_", row)
    rows = list(csv.reader(line for line in io.StringIO(table.csv()) if not line.startswith("#")))
    assert rows == [["Result", "x"], [" ".join(name.split()).lstrip("# "), "1"]]


def test_latex_escapes_what_it_must():
    assert r"1 $\pm$ 2 & \textless{}c\textbar{} \\" in Table("", ("a", "b"), (("1 ± 2", "<c|"),)).latex()
    text = Table("50 % & more", ("a_b", "c↑"), (("x{1}", ABSENT),)).latex()
    assert r"a\_b & c$\uparrow$ \\" in text and r"x\{1\} & -- \\" in text and r"50 \% \& more" in text
