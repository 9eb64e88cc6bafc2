"""A generator and a stage from outside: one file and one entry each, and everything else knows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.conftest import little_settings
from tests.toys import ball
from v2m4 import doctor, pipeline
from v2m4.artefacts import masked_clip
from v2m4.errors import V2M4Error
from v2m4.events import Event, Finished, Progress, RunProgress, StageRun
from v2m4.generators import GENERATORS, Generated, GeneratorPlug
from v2m4.geometry.mesh import Mesh
from v2m4.recipe import Recipe
from v2m4.run import Run, Step
from v2m4.settings import Settings, changed
from v2m4.stage_spec import StageSpec
from v2m4.steps import STAGES
from v2m4.ui.controls import plug_choices
from v2m4.workbench import Workbench


class Ball:
    """The same ball for every picture."""

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Ball:
        return cls()

    def __call__(
        self, reference: NDArray[np.uint8], rng: torch.Generator, device: torch.device | str = "cpu"
    ) -> Generated:
        body = ball()
        return Generated(Mesh(body.vertices / 2, body.faces, colors=(body.vertices + 1) / 2))


@pytest.fixture
def with_ball(monkeypatch: pytest.MonkeyPatch) -> None:
    plug = GeneratorPlug("generator", "ball", "tests.test_extension:Ball", "A ball.", "MIT", True)
    monkeypatch.setitem(GENERATORS, "ball", plug)


def test_a_generator_is_one_entry(with_ball: None, lizard: Path, tmp_path: Path) -> None:
    *_, last = pipeline.reconstruct(lizard, changed(little_settings(), {"generator.name": "ball"}), tmp_path)

    assert isinstance(last, Finished)
    assert last.report["plugs"]["generator"] == "ball"
    assert "ball" in [plug["name"] for plug in doctor.examine()["plugs"]]
    assert "ball" in [name for _, name in plug_choices("generator")]


class Naughty:
    """Answers with whatever a test put here, or raises it."""

    answer: Any = None

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Naughty:
        return cls()

    def __call__(self, reference: Any, rng: torch.Generator, device: torch.device | str = "cpu") -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


BODY = Mesh(torch.rand(3, 3), torch.tensor([[0, 1, 2]]))
ANSWERS = [
    (RuntimeError("out of luck"), "failed with RuntimeError: out of luck"),
    (V2M4Error("Start the server."), "^Start the server.$"),
    (None, "answered with a NoneType"),
    (Generated(np.zeros((3, 3))), "answered with a Generated that is no Generated with a Mesh"),  # type: ignore[arg-type]
    (Generated(Mesh(BODY.vertices.double(), BODY.faces)), "made vertices that are no .* float32"),
    (Generated(Mesh(BODY.vertices, BODY.faces.numpy())), "made faces that are no .* int64"),
    (Generated(Mesh(BODY.vertices, BODY.faces + 1)), "not among its 3"),
    (Generated(replace(BODY, colors=torch.rand(2, 3))), "made colours"),
    (Generated(BODY, extras={"a": 1}), "extras that are no tensors"),  # type: ignore[dict-item]
    (SystemExit(3), "failed with SystemExit: 3"),
    (Generated(BODY, camera="front"), "a camera that is a str"),  # type: ignore[arg-type]
    (Generated(BODY, warnings="none"), "no tuple of sentences"),  # type: ignore[arg-type]
    (Generated(replace(BODY, colors=torch.zeros(3, 3, dtype=torch.uint8))), "made colours"),
    (Generated(replace(BODY, texture="skin.png")), "made a texture"),  # type: ignore[arg-type]
    (Generated(replace(BODY, uv=torch.rand(2, 2), uv_faces=BODY.faces)), "texture coordinates which are not among"),
    (Generated(BODY.with_vertices(1e20 * BODY.vertices)), "across, where about 1 is expected"),
    (
        Generated(Mesh(torch.rand(9, 3), torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 4, 8]]).repeat(50, 1))),
        "are others again",
    ),
]


def test_a_generator_that_misbehaves_is_named(lizard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug = GeneratorPlug(
        "generator", "naughty", "tests.test_extension:Naughty", "", "MIT", True, distribution="mine 0.1"
    )
    monkeypatch.setitem(GENERATORS, "naughty", plug)
    for answer, said in ANSWERS:
        monkeypatch.setattr(Naughty, "answer", answer)
        with pytest.raises(V2M4Error, match=said) as raised:
            list(pipeline.reconstruct(lizard, changed(little_settings(), {"generator.name": "naughty"}), tmp_path))
        if not isinstance(answer, V2M4Error):
            assert "The generator “naughty” of the package mine 0.1 " in str(raised.value)


def test_a_mesh_of_a_single_face_is_told_in_a_sentence(
    lizard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        GENERATORS, "naughty", GeneratorPlug("generator", "naughty", "tests.test_extension:Naughty", "", "MIT", True)
    )
    monkeypatch.setattr(Naughty, "answer", Generated(BODY))
    with pytest.raises(V2M4Error, match="has 1 different faces, and 4 are the least"):
        list(pipeline.reconstruct(lizard, changed(little_settings(), {"generator.name": "naughty"}), tmp_path))


def weigh(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """How many pixels the object covers in a keyframe."""
    yield Progress("weighing", 0.5, step.keyframe)
    covered = int((masked_clip(run).frame(step.frame)[..., 3] > 127).sum())
    (run.place(step) / "weight.json").write_text(json.dumps(covered))


def tell(run: Run, step: Step) -> Iterator[Event]:
    yield Progress("weighing", 1.0, step.keyframe, (run.place(step) / "weight.json").read_text())


def test_a_stage_is_one_entry(lizard: Path, tmp_path: Path) -> None:
    spec = StageSpec("weighing", "weighing", "keyframe", ("settings.matting",), weigh, tell, prior_s=0.1)
    place = next(i for i, stage in enumerate(STAGES) if stage.name == "registration")
    stages = (*STAGES[:place], spec, *STAGES[place:])
    recipe = Recipe.of(little_settings())
    run, bench = pipeline.open_run(tmp_path, lizard, recipe, stages), Workbench(recipe)

    events = list(pipeline.advance(run, lambda run, step: pipeline.execute(run, step, bench, stages), stages))

    weighed = [step for step in pipeline.plan(run, stages) if step.stage == "weighing"]
    assert len(weighed) == 3
    assert all(run.done(step) and int((run.place(step) / "weight.json").read_text()) > 0 for step in weighed)
    assert {"weighing"} < {event.stage for event in events if isinstance(event, RunProgress)}
    assert isinstance(events[-1], Finished)
    assert "weighing" in events[-1].report["seconds"]
