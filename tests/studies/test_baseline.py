"""The naive baseline: a mesh per frame, nothing searched, and measured as any other result."""

import json

import pytest
import torch
from PIL import Image

from tests.conftest import CLIP_FRAMES, little_settings
from v2m4.cli import main
from v2m4.evaluation.glb import read_glb
from v2m4.evaluation.judges import Panel
from v2m4.evaluation.scores import score_one
from v2m4.events import CameraFound, Finished, MeshGenerated, MeshRegistered, RunProgress
from v2m4.geometry.camera import Camera
from v2m4.studies.baseline import baseline, canonical_front
from v2m4.studies.results import opened


@pytest.fixture(scope="module")
def naive(lizard, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "naive"
    return list(baseline(lizard, little_settings(), output)), output


def test_every_frame_has_a_mesh_and_nothing_else_is_done(naive):
    events, output = naive
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(e, MeshGenerated) for e in events) == CLIP_FRAMES
    assert not any(isinstance(e, CameraFound | MeshRegistered) for e in events)
    fractions = [e.fraction for e in events if isinstance(e, RunProgress)]
    assert fractions == sorted(fractions)
    files = sorted((output / "frames").iterdir())
    assert [f.name for f in files] == [f"mesh_{k:05d}.glb" for k in range(CLIP_FRAMES)]
    assert all(len(read_glb(f).mesh.faces) for f in files)
    report = json.loads((output / "report.json").read_text())
    assert "no camera search" in report["baseline"] and report["iou"]["mean"] > 0.8
    assert not (output / "animation.glb").exists()


def test_it_is_measured_as_other_results_but_shares_no_surface(naive):
    with opened([naive[1]]) as (shown,):
        found = score_one(shown, Panel())
    assert not shown.tracked
    report = json.loads((naive[1] / "report.json").read_text())
    assert found.scores["iou"].mean == pytest.approx(report["iou"]["mean"], abs=1e-4)


def test_a_mesh_without_a_camera_is_seen_from_its_front():
    seen = Camera(canonical_front())
    up, ahead = torch.tensor([[0.0, 0, 0.5]]), torch.tensor([[0.0, 0.5, 0]])
    assert seen.to_camera(torch.zeros(1, 3))[0].tolist() == pytest.approx([0, 0, 2], abs=1e-6)
    assert seen.to_camera(up)[0, 1] < 0 < 2 - seen.to_camera(ahead)[0, 2]


def test_it_is_filmed_as_other_results(naive, tmp_path):
    sheet = tmp_path / "sheet.png"
    words = ["render", str(naive[1]), "-o", str(sheet), "--sheet", "2", "--looks", "overlay", "normal", "--size", "40"]
    assert main(words) == 0
    with Image.open(sheet) as image:
        assert image.size == (2 * 40, 3 * 30)
