"""The plugs crossed through the whole pipeline: every generator with every registration and every camera search.

Each crossing reaches a GLB, and a folder that went through other crossings before holds the same bytes as a fresh one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import draw_frames, little_settings
from v2m4.evaluation.glb import read_glb
from v2m4.events import Event, Finished, MeshRefined, RunProgress
from v2m4.pipeline import reconstruct
from v2m4.settings import Settings, changed

pytestmark = pytest.mark.usefixtures("tiny_trellis")

FRAMES, SIZE = 2, 96
GENERATORS_TRIED = ("inflate", "sculpt", "template", "trellis")
CROSSINGS = list(product(GENERATORS_TRIED, ("video", "meshes"), ("rigid", "algorithm1")))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two RGBA frames of a lizard that swings its tail."""
    return draw_frames(tmp_path_factory.mktemp("clip") / "lizard", FRAMES, SIZE)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long ball with coloured ends, as an OBJ file."""
    from tests.toys import ball

    path = tmp_path_factory.mktemp("mesh") / "ball.obj"
    body = ball()
    lines = [
        f"v {1.6 * x:.5f} {y:.5f} {z:.5f} {c:.3f} 0.5 0.3"
        for (x, y, z), c in zip(body.vertices.tolist(), np.linspace(0.2, 0.9, len(body.vertices)), strict=True)
    ]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in body.faces.tolist()]
    path.write_text("\n".join(lines))
    return path


def settings_of(crossing: tuple[str, str, str], mesh: Path) -> Settings:
    """The draft preset at toy size for one crossing."""
    generator, registration, camera = crossing
    return changed(
        little_settings(),
        {
            "generator.name": generator,
            "generator.template": mesh if generator == "template" else None,
            "generator.inflate.faces": 400,
            "generator.sculpt.faces": 400,
            "generator.trellis.steps": 2,
            "keyframes.stride": 1,
            "refinement.enabled": True,
            "refinement.image_size": 48,
            "refinement.iterations": 1,
            "refinement.keep_better": False,
            "registration.method": registration,
            "registration.meshes.alignment.iterations": 3,
            "registration.meshes.limbs.rounds": 1,
            "registration.meshes.limbs.nodes": 12,
            "registration.meshes.large_steps.iterations": 3,
            "registration.meshes.view_size": 32,
            "registration.meshes.surface_samples": 200,
            "camera.method": camera,
            "camera.score.size": 48,
            "camera.rigid.directions": 60,
            "camera.rigid.candidates": 6,
            "camera.algorithm1.samples": 20,
            "camera.algorithm1.swarm.size": 8,
            "camera.algorithm1.swarm.iterations": 2,
            "camera.algorithm1.descent.iterations": 3,
            "camera.algorithm1.descent.size": 48,
            "camera.stereo.size": 64,
            "texture.size": 64,
            "export.preview": False,
        },
    )


@pytest.fixture(scope="module")
def fresh(clip: Path, mesh: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """(events, folder) of a crossing in a folder of its own, made at the first use."""
    made: dict[tuple[str, str, str], tuple[list[Event], Path]] = {}

    def run(crossing: tuple[str, str, str]) -> tuple[list[Event], Path]:
        if crossing not in made:
            folder = tmp_path_factory.mktemp("-".join(crossing))
            made[crossing] = list(reconstruct(clip, settings_of(crossing, mesh), folder)), folder
        return made[crossing]

    return run


@pytest.mark.parametrize("crossing", CROSSINGS, ids="-".join)
@pytest.mark.xdist_group("crossings")
def test_every_crossing_reaches_a_file_and_its_progress_never_falls(crossing: tuple[str, str, str], fresh: Any) -> None:
    events, _ = fresh(crossing)
    last = events[-1]
    assert isinstance(last, Finished)
    model = read_glb(last.files["glb"])
    assert torch.isfinite(model.at(0.0)).all()
    assert last.report["plugs"]["generator"] == crossing[0]
    fractions = [e.fraction for e in events if isinstance(e, RunProgress)]
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0 and 0.9 < fractions[-1] <= 1
    refined = [e for e in events if isinstance(e, MeshRefined)]
    keyframes = len(last.report["keyframes"])
    assert len(refined) == (0 if crossing[0] != "trellis" else keyframes if crossing[1] == "meshes" else 1)


@pytest.mark.xdist_group("crossings")
def test_a_folder_that_saw_other_crossings_holds_what_a_fresh_one_does(
    clip: Path, mesh: Path, fresh: Any, tmp_path: Path
) -> None:
    """Neighbours in this order differ in one, two or all three choices."""
    order = [CROSSINGS[i] for i in (0, 2, 8, 6, 4, 9, 0)]
    for crossing in order:
        *_, last = reconstruct(clip, settings_of(crossing, mesh), tmp_path)
        assert isinstance(last, Finished)
        _, folder = fresh(crossing)
        assert (tmp_path / "animation.glb").read_bytes() == (folder / "animation.glb").read_bytes(), crossing
        assert last.report["plugs"]["generator"] == crossing[0]
