"""From a video to a GLB with the generators that tests cannot have whole: TripoSR with a tiny network, a mesh server of
one's own, and point tracks by a tiny CoTracker, both ways of registration."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import draw_frames
from tests.generators.http.mesh_server import answer, horse, mesh_server
from tests.generators.triposr.tiny_triposr import tiny_network
from tests.test_crossings import settings_of
from tests.tracks.test_cotracker3 import tiny_model
from v2m4.errors import V2M4Error
from v2m4.evaluation.glb import read_glb
from v2m4.events import Finished
from v2m4.generators.triposr.predictor import TripoSR
from v2m4.pipeline import reconstruct
from v2m4.recipe import Recipe
from v2m4.settings import Settings, changed
from v2m4.tracks.cotracker3.predictor import CoTracker


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two RGBA frames of a lizard that swings its tail."""
    return draw_frames(tmp_path_factory.mktemp("clip") / "lizard", 2, 96)


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch: pytest.MonkeyPatch, stand_ins: None) -> None:
    def triposr(cls: type[TripoSR], settings: Settings, device: torch.device) -> TripoSR:
        return cls(settings.generator, device, settings.low_vram, network=tiny_network())

    def cotracker(cls: type[CoTracker], settings: Settings, device: torch.device) -> CoTracker:
        return cls(device, model=tiny_model(), iterations=1, visible_above=0.0)

    monkeypatch.setattr(TripoSR, "from_settings", classmethod(triposr))
    monkeypatch.setattr(CoTracker, "from_settings", classmethod(cotracker))


def made(clip: Path, folder: Path, generator: str, registration: str, **changes: Any) -> Finished:
    base = settings_of((generator, registration, "rigid"), folder)
    settings = changed(base, {"generator.triposr.grid": 33, "generator.max_faces": 400, **changes})
    *_, last = reconstruct(clip, settings, folder)
    assert isinstance(last, Finished)
    assert last.report["plugs"]["generator"] == generator
    assert torch.isfinite(read_glb(last.files["glb"]).at(0.0)).all()
    return last


@pytest.mark.parametrize("registration", ["video", "meshes"])
def test_triposr(clip: Path, tmp_path: Path, registration: str) -> None:
    last = made(clip, tmp_path, "triposr", registration)
    assert last.report["faces"] <= 400


@pytest.mark.parametrize("registration", ["video", "meshes"])
def test_a_mesh_server(clip: Path, tmp_path: Path, registration: str) -> None:
    with mesh_server(answer(horse())) as server:
        made(clip, tmp_path, "http", registration, **{"generator.http.url": server.url})
        assert len(server.asked) == (2 if registration == "meshes" else 1)


TRACKED_MESHES = {
    "tracks": "cotracker3",
    "registration.meshes.tracks.enabled": True,
    "registration.meshes.tracks.views": 2,
    "registration.meshes.tracks.view_size": 48,
    "registration.meshes.tracks.points": 20,
    "registration.meshes.large_steps.track_weight": 0.1,
}


def test_points_are_tracked_from_the_anchor_backwards_too(clip: Path, tmp_path: Path) -> None:
    last = made(clip, tmp_path, "triposr", "meshes", **TRACKED_MESHES, **{"keyframes.anchor": 1})
    assert last.report["keyframes"] == [0, 1]


def test_point_tracks_guide_the_registration(clip: Path, tmp_path: Path) -> None:
    last = made(clip, tmp_path / "tracked", "triposr", "meshes", **TRACKED_MESHES)
    assert last.report["plugs"]["tracks"] == "cotracker3"
    without = made(clip, tmp_path / "without", "triposr", "meshes")
    assert "tracks" not in without.report["plugs"]
    poses = [read_glb(each.files["glb"]).at(each.report["duration"]) for each in (last, without)]
    assert not torch.equal(*poses)


def test_point_tracks_guide_the_following_of_the_video(clip: Path, tmp_path: Path) -> None:
    tracked = {
        "tracks": "cotracker3",
        "registration.video.tracks.enabled": True,
        "registration.video.tracks.weight": 9.0,
    }
    last = made(clip, tmp_path / "tracked", "triposr", "video", **tracked)
    assert last.report["plugs"]["tracks"] == "cotracker3"
    without = made(clip, tmp_path / "without", "triposr", "video")
    assert "tracks" not in without.report["plugs"]
    poses = [read_glb(each.files["glb"]).at(each.report["duration"]) for each in (last, without)]
    assert not torch.equal(*poses)


def test_point_tracks_are_not_for_commercial_use() -> None:
    settings = changed(
        Settings(),
        {
            "commercial_use": True,
            "tracks": "cotracker3",
            "registration.method": "meshes",
            "registration.meshes.tracks.enabled": True,
        },
    )
    with pytest.raises(V2M4Error, match="may not be used commercially"):
        Recipe.of(settings)
    Recipe.of(dataclasses.replace(settings, commercial_use=False))
