"""The matting step: the object is cut out of every frame."""

from __future__ import annotations

from collections.abc import Iterator

from v2m4.artefacts import MattingFacts, matting_of, read_clip, save_matting
from v2m4.events import Event, ForegroundReady, StageRun
from v2m4.matting.stage import cut_out
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.workbench import Workbench


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Cut the object out of the clip, by the method asked for or the one that suits the clip."""
    place, settings = run.place(step), run.recipe.settings.matting
    matte = yield from cut_out(read_clip(run), place / "masked", settings, run.recipe.mattings)
    save_matting(place, MattingFacts(matte.method, matte.warnings, matte.empty))


def recall(run: Run, step: Step) -> Iterator[Event]:
    """How the object was cut out, and what looked wrong."""
    facts = matting_of(run)
    yield ForegroundReady(facts.method, facts.warnings)


SPEC = StageSpec(
    name="matting",
    title="cutting out the object",
    per="run",
    reads=("settings.matting", "mattings"),
    ports=("matting",),
    work=work,
    recall=recall,
    prior_s=5.0,
)
