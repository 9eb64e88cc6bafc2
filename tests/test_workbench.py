"""What a run works with refuses what later stages could only stumble over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toys import ball
from v2m4.errors import V2M4Error
from v2m4.pipeline import open_run
from v2m4.recipe import Recipe
from v2m4.settings import Settings, changed
from v2m4.workbench import Workbench, for_guessed, require_in_front


def test_a_mesh_around_the_camera_is_refused_by_the_frames_name() -> None:
    mesh = ball()
    before = mesh.with_vertices(mesh.vertices + torch.tensor([0.0, 0, 3]))
    require_in_front(before, 5)
    for vertices in (mesh.vertices, before.vertices - torch.tensor([0.0, 0, 10]), before.vertices / 0):
        with pytest.raises(V2M4Error, match="frame 5"):
            require_in_front(mesh.with_vertices(vertices), 5)


def test_what_follows_the_video_is_made_anew_for_other_settings(finished: Any, lizard: Path, tmp_path: Path) -> None:
    """One workbench may serve several runs, and the same folder with other settings of the registration."""
    _, output, settings = finished
    folder = shutil.copytree(output, tmp_path / "run")

    def opened(settings: Settings) -> Any:
        return open_run(folder, lizard, Recipe.of(settings))

    bench = Workbench(Recipe.of(settings))
    first = bench.video_tracker(opened(settings))
    assert bench.video_tracker(opened(settings)) is first
    fewer = bench.video_tracker(opened(changed(settings, {"registration.video.nodes": 7})))
    assert fewer is not first
    assert (len(fewer.graph.nodes), fewer.settings.nodes) == (7, 7)


def test_a_mesh_whose_shape_is_a_guess_is_searched_for_a_shorter_time_or_not_at_all() -> None:
    parts = Settings.of("fast").registration.video.parts
    short, told = for_guessed(parts, one_sided=True), parts.guessed
    assert (short.rounds, short.side) == (parts.rounds, parts.side)
    inside = {"rig_rounds": short.rig.rounds, "second_thoughts": short.second_thoughts.every, "gait": short.gait.weight}
    assert {name: inside.get(name, getattr(short, name, None)) for name in vars(told)} == vars(told)
    assert (short.anew, short.frees) == (0, 0)
    for meshes, posed in {"given": [], "one_sided": [True], "all": [True, False]}.items():
        chosen = [side for side in (True, False) if for_guessed(changed(parts, {"meshes": meshes}), side).rounds]
        assert chosen == posed
