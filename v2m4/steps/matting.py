"""The matting step: the object is cut out of every frame."""

from __future__ import annotations

import json
from collections.abc import Iterator

from v2m4.artefacts import read_clip
from v2m4.events import Event, ForegroundReady, StageRun
from v2m4.files import write_atomically
from v2m4.matting.stage import cut_out
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.workbench import Workbench


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Cut the object out of the clip, by the method asked for or the one that suits the clip."""
    place, settings = run.place(step), run.recipe.settings.matting
    matte = yield from cut_out(read_clip(run), place / "masked", settings, run.recipe.mattings)
    facts = {"method": matte.method, "warnings": list(matte.warnings), "empty": list(matte.empty)}
    write_atomically(place / "matting.json", json.dumps(facts, indent=1).encode())


def recall(run: Run, step: Step) -> Iterator[Event]:
    """How the object was cut out, and what looked wrong."""
    facts = json.loads((run.place(step) / "matting.json").read_text())
    yield ForegroundReady(facts["method"], tuple(facts["warnings"]))


SPEC = StageSpec(
    name="matting",
    title="cutting out the object",
    per="run",
    reads=("settings.matting", "mattings"),
    rooms=("matting",),
    work=work,
    recall=recall,
    prior_s=4.0,
)
