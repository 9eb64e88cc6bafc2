"""An animation compared with its clip, in memory and as the files that were written."""

import json

import numpy as np
import pytest
import torch

from tests.toys import ball, bobbing_ball, filmed
from v2m4.animation import Animation
from v2m4.errors import V2M4Error
from v2m4.evaluation.report import evaluate, measure, read_camera
from v2m4.events import Progress, drain
from v2m4.export.glb import write_glb
from v2m4.export.placement import write_camera
from v2m4.settings import ExportSettings
from v2m4.video import write_png

TIMES = (0.0, 0.1, 0.18, 0.4, 0.8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return filmed(bobbing_ball(), tmp_path_factory.mktemp("clip"), TIMES)


def test_the_animation_that_was_filmed_is_perfect(clip):
    report = drain(measure(bobbing_ball(), clip))
    assert report["iou"]["worst"] == 1
    assert report["psnr"]["worst"] > 60
    assert report["ssim"]["worst"] > 0.999
    assert report["flipped_faces"] == 0
    assert len(report["iou"]["per_frame"]) == len(TIMES)
    json.dumps(report)


def test_progress_is_told_frame_by_frame(clip):
    fractions = [e.fraction for e in measure(bobbing_ball(), clip) if isinstance(e, Progress)]
    assert fractions == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_who_watches_gets_every_re_rendering(clip):
    seen = []
    drain(measure(bobbing_ball(), clip, watch=seen.append))
    assert len(seen) == len(TIMES)
    for index, picture in enumerate(seen):
        assert picture.shape == (clip.side, clip.side, 4)
        assert np.abs(picture[..., 3].astype(int) - clip.frame(index)[..., 3]).mean() < 1


def test_what_is_missing_and_what_is_too_much_both_count(clip):
    animation = bobbing_ball()
    for factor in (0.8, 1.2):
        centre = animation.vertices.mean(dim=1, keepdim=True)
        resized = (animation.vertices - centre) * factor + centre
        changed = Animation(resized, animation.times, animation.mesh.with_vertices(resized[0]), 1.0, "ball")
        report = drain(measure(changed, clip))
        expected = min(factor, 1 / factor) ** 2
        assert report["iou"]["mean"] == pytest.approx(expected, abs=0.06)
        assert report["psnr"]["mean"] < 20


def test_a_still_is_worst_where_the_object_is_farthest_away(clip):
    animation = bobbing_ball()
    still = Animation(animation.vertices[:1], (0.0,), animation.mesh, 1.0, "still")
    report = drain(measure(still, clip))
    assert report["iou"]["per_frame"][0] == 1
    assert report["iou"]["worst"] == min(report["iou"]["per_frame"])
    assert report["iou"]["per_frame"][report["iou"]["worst_frame"]] == report["iou"]["worst"] < 0.8
    assert report["jitter"] == 0


@pytest.mark.parametrize("quantise", [False, True])
def test_the_written_files_score_as_the_animation_does(tmp_path, clip, quantise):
    animation = bobbing_ball((0.0, 0.3, 0.8))  # too few keyframes: interpolation is not exact
    write_glb(tmp_path / "animation.glb", animation, ExportSettings(quantise=quantise), {})
    write_camera(tmp_path / "animation.camera.json", animation, clip)
    ours, files = drain(measure(animation, clip)), evaluate(tmp_path / "animation.glb", clip)
    assert 0.5 < ours["iou"]["worst"] < 0.99
    assert files["iou"]["per_frame"] == pytest.approx(ours["iou"]["per_frame"], abs=5e-3)
    for a, b in zip(files["psnr"]["per_frame"], ours["psnr"]["per_frame"], strict=True):
        assert min(a, 40) == pytest.approx(min(b, 40), abs=0.3)
    assert files["edge_stretch"] == pytest.approx(ours["edge_stretch"], abs=0.02)


def test_a_camera_stored_at_another_resolution_fits(tmp_path, clip):
    """The pixels of the source connect the two."""
    animation = bobbing_ball()
    write_camera(tmp_path / "c.json", animation, clip)
    data = json.loads((tmp_path / "c.json").read_text())
    data["width"] = data["height"] = 2 * clip.side
    data["image_to_frame"] = (np.asarray(data["image_to_frame"]) @ np.diag([0.5, 0.5, 1])).tolist()
    (tmp_path / "c.json").write_text(json.dumps(data))
    assert read_camera(tmp_path / "c.json", clip).fov_deg == pytest.approx(40, abs=1e-4)


def test_a_camera_of_another_video_is_refused(tmp_path, clip):
    other = filmed(bobbing_ball(), tmp_path / "other", (0.0,), side=48)
    write_camera(tmp_path / "c.json", bobbing_ball(), other)
    data = json.loads((tmp_path / "c.json").read_text())
    data["image_to_frame"][0][2] += 40
    (tmp_path / "c.json").write_text(json.dumps(data))
    with pytest.raises(V2M4Error, match="another size or crop"):
        read_camera(tmp_path / "c.json", clip)


@pytest.mark.parametrize("content", ["", "{}", '{"world_to_camera": [1, 2]}', "[]"])
def test_not_a_camera(tmp_path, clip, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(V2M4Error, match="does not describe a camera"):
        read_camera(tmp_path / "c.json", clip)


def test_a_missing_camera_is_named(tmp_path, clip):
    with pytest.raises(V2M4Error, match="belongs beside the GLB"):
        read_camera(tmp_path / "c.json", clip)


def test_an_empty_frame_that_stays_empty_is_right(tmp_path):
    mesh = ball()
    behind = mesh.vertices - torch.tensor([0.0, 0.0, 5.0])
    unseen = Animation(behind[None], (0.0,), mesh.with_vertices(behind), 1.0, "unseen")
    report = drain(measure(unseen, filmed(unseen, tmp_path, (0.0,))))
    assert report["iou"]["mean"] == 1


def test_frames_without_the_object_do_not_count(tmp_path):
    clip = filmed(bobbing_ball(), tmp_path, TIMES)
    write_png(clip.path(2), np.zeros((clip.side, clip.side, 4), np.uint8))
    report = drain(measure(bobbing_ball(), clip))
    assert report["iou"]["per_frame"] == [1, 1, 0, 1, 1]
    assert (report["iou"]["mean"], report["iou"]["worst"]) == (1, 1)
    assert report["iou"]["worst_frame"] != 2
    assert report["psnr"]["worst"] > 60
