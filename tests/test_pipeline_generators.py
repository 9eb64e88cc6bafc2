"""Every generator over vector sets carries a whole run, from clip to animated GLB, with both registrations."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import pytest
import torch
import trimesh

from tests.conftest import CLIP_FRAMES, little_settings
from tests.generators.vecset import tiny
from v2m4.console import watch
from v2m4.evaluation.glb import read_glb
from v2m4.events import Finished
from v2m4.pipeline import reconstruct
from v2m4.settings import Settings, changed


def tiny_settings(name: str, method: str) -> Settings:
    """A run of seconds with one of the tiny generators."""
    little = changed(
        little_settings(),
        {
            "camera.stereo.enabled": False,
            "registration.method": method,
            "registration.meshes.view_pool": 4,
            "registration.meshes.alignment.iterations": 4,
            "registration.meshes.limbs.rounds": 1,
            "registration.meshes.large_steps.iterations": 4,
        },
    )
    return dataclasses.replace(little, generator=dataclasses.replace(tiny.SETTINGS, name=name, max_faces=400))


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("method", ["video", "meshes"])
@pytest.mark.parametrize("name", list(tiny.MODELS))
def test_a_clip_becomes_an_animated_textured_mesh(
    name: str, method: str, lizard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"v2m4.generators.{name}.generator")
    monkeypatch.setattr(module, "from_pretrained", lambda *_, **__: tiny.MODELS[name][1]())

    events = list(reconstruct(lizard, tiny_settings(name, method), tmp_path / "run"))

    assert isinstance(events[-1], Finished)
    model = read_glb(events[-1].files["glb"])
    report = events[-1].report
    assert report["frames"] == CLIP_FRAMES
    assert 4 <= len(model.mesh.faces) <= 400
    assert model.mesh.texture is not None
    assert float(model.mesh.texture.std()) > 0.01
    assert bool(torch.isfinite(model.at(report["duration"])).all())


def test_what_a_template_lacks_reaches_console_and_report(
    lizard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ball = trimesh.creation.icosphere(1)
    corners = "".join("f " + " ".join(f"{v + 1}/{v + 1}" for v in face) + "\n" for face in ball.faces)
    places = "".join(f"v {x} {y} {z}\nvt {x} {y}\n" for x, y, z in ball.vertices)
    (tmp_path / "ball.obj").write_text(f"mtllib ball.mtl\n{places}usemtl skin\n{corners}")
    (tmp_path / "ball.mtl").write_text("newmtl skin\nmap_Kd gone.png\n")
    settings = changed(little_settings(), {"camera.stereo.enabled": False, "generator.template": tmp_path / "ball.obj"})

    report = watch(reconstruct(lizard, settings, tmp_path / "run")).report

    assert "gone.png" in report["warnings"][-1]
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert any("gone.png" in line for line in told)
