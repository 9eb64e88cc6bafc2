"""What the page shows of a run, from its events alone."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest

from tests.conftest import little_settings
from tests.ui.conftest import Served, write_clip
from v2m4.artefacts import save_picture
from v2m4.evaluation.glb import read_glb
from v2m4.events import FramesReady, MeshRegistered, PoseView, RunProgress
from v2m4.settings import changed
from v2m4.ui.panels import keyframe_gallery
from v2m4.ui.pictures import publish, url
from v2m4.ui.run_view import RunView, update
from v2m4.ui.runner import do_run
from v2m4.ui.store import Store

pytestmark = pytest.mark.xdist_group("page")


def test_a_pose_found_on_the_way_is_shown_until_the_fit_takes_its_place(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=2, size=64)
    record = Store(tmp_path / "runs").create(clip, little_settings())
    view = RunView.of(record, state="working", keyframes=(0, 1), anchor=0, times=(0.0, 0.1))
    update(view, PoseView(1, np.full((32, 32, 4), 90, np.uint8), 0.81, np.zeros((3, 3), np.float32)), record)
    published = view.copy()
    assert "81 %" in keyframe_gallery(published) and url(view.sketches[1][0]) in keyframe_gallery(published)
    save_picture(tmp_path / "fit.png", np.full((32, 32, 4), 200, np.uint8))
    update(view, MeshRegistered(1, 0.93, tmp_path / "fit.png"), record, grow=False)
    assert "93 %" in keyframe_gallery(view) and "81 %" not in keyframe_gallery(view)
    assert "81 %" in keyframe_gallery(published)  # what was published stays as it was


def test_a_first_mesh_is_shown_before_the_other_keyframes_are_asked(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    settings = changed(little_settings(), {"generator.sculpt.lean.others": 8})
    record = store.create(write_clip(tmp_path / "clip.mp4", frames=5, size=64), settings)
    view, shown = RunView.of(record, state="working"), dict[str, int]()
    for event in do_run(store, record, until="generation"):
        update(view, event, record)
        if view.model is not None:
            shown.setdefault(view.model_label, len(read_glb(Path(view.model)).mesh.faces))
    first, last = shown
    assert first == f"A first mesh, of frame {view.anchor} alone" and last == f"The mesh of frame {view.anchor}"
    assert shown[first] == shown[last] > 100


def test_frames_that_lack_are_among_the_notes(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    record = store.create(write_clip(tmp_path / "clip.mp4", frames=2, size=64), little_settings())
    view = RunView.of(record, state="working")
    for event in do_run(store, record, until="video"):
        update(view, event, record)
    update(view, FramesReady(2, (64, 64), 0.1, ("The folder walk lacks 3 of its 5 frames.",)), record)
    assert view.notes == ("The folder walk lacks 3 of its 5 frames.",)


def test_before_the_texture_the_mended_animation_over_all_keyframes_is_shown(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    record = store.create(write_clip(tmp_path / "clip.mp4", frames=5, size=64), little_settings())
    view, grown = RunView.of(record, state="working"), dict[str, int]()
    stage = ""
    for event in do_run(store, record, until="texture"):
        update(view, event, record)
        stage = event.stage if isinstance(event, RunProgress) else stage
        if view.model is not None and stage not in grown and view.model_label.startswith("The animation"):
            grown[stage] = len(read_glb(Path(view.model)).times)
    assert next(iter(grown)) == "motion" and grown["motion"] == 2  # it moves long before all is known
    assert view.model is not None and view.model_label == "The animation before its texture"
    assert len(read_glb(Path(view.model)).times) == len(view.keyframes) == len(view.fits) == 3


@pytest.mark.parametrize("name", ["a#b %20d'&", "дракон — ñ", "🦎", ".odd", "100%"])
def test_whatever_a_clip_is_called_its_files_are_found_by_their_addresses(
    served: Served, tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"{name}.settings.json"
    path.write_text(name)
    with urllib.request.urlopen(urljoin(served.url, url(publish(path)))) as answer:
        assert answer.read().decode() == name


def test_a_name_cannot_turn_the_words_around_it(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "\u202eevil.mp4", frames=2, size=64)
    assert RunView.of(Store(tmp_path / "runs").create(clip, little_settings())).name == "evil"
