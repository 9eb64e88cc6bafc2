"""From a video to an animated mesh: the stages of the method, in order.

`plan` names the steps, `execute` does one of them, `advance` goes through them all. Steps meet only in the run's
folder, so each may happen in another process (a shared-GPU Space lends its GPU for one bounded slice at a time), and a
run that was stopped or killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from v2m4.artefacts import chosen_keyframes, keyframes_of, meshless, visiting_order
from v2m4.errors import Problems, RunStoppedError, V2M4Error
from v2m4.events import Event, Finished, Progress, RunProgress, RunStarted
from v2m4.heap import give_back
from v2m4.kernels import compile_beside
from v2m4.keyframes import refuse_anchor
from v2m4.ownership import refuse_output
from v2m4.provision import provide
from v2m4.recipe import Recipe, file_problem
from v2m4.run import Run, Step
from v2m4.settings import Settings, VideoSettings, fields_of
from v2m4.sources import open_source
from v2m4.stage_spec import StageSpec, fingerprints
from v2m4.steps import STAGES
from v2m4.timing import run_fraction
from v2m4.video import probe
from v2m4.workbench import Workbench

Do = Callable[[Run, Step], Iterator[Event]]


def reconstruct(video: str | Path, settings: Settings | None = None, output: str | Path = "output") -> Iterator[Event]:
    """Turn ``video`` into ``output/animation.glb``, yielding events on the way; the last one is `Finished`.

    Closing the iterator stops the work after the current iteration, and so does `Run.request_stop` from anywhere else,
    which ends it with RunStoppedError; the same call again goes on from there. Raises V2M4Error for anything
    the user can mend.
    """
    settings = settings or Settings.of("fast")
    folder, source = Path(output), Path(video)
    run = yield from provided(folder, source, settings)
    compile_beside()
    bench = Workbench(run.recipe)
    with run.hold():
        run.clear_stop()
        yield RunStarted(run.folder, run.resumed)
        yield from advance(run, lambda run, step: execute(run, step, bench))


def reconstruct_to(video: str | Path, settings: Settings | None = None, output: str | Path = "output") -> Finished:
    """`reconstruct`, blocking: returns its last event, which has the files and the report."""
    *_, last = reconstruct(video, settings, output)
    assert isinstance(last, Finished)
    return last


def provided(
    folder: Path, source: Path, settings: Settings, stages: Sequence[StageSpec] = STAGES
) -> Generator[Event, None, Run]:
    """The run in ``folder``, with all that its plugs need on this machine; nothing of it is written yet.

    Raises V2M4Error for what `decide` and `open_run` refuse, and for weights that are not here and cannot be had.
    """
    run = open_run(folder, source, decide(folder, source, settings), stages)
    if all(run.done(step) for step in plan(run, stages)):
        return run
    brought = yield from provide(run.recipe, stages)
    # What is not pinned is known by its digest only once it is here.
    return open_run(folder, source, decide(folder, source, settings), stages) if brought else run


def decide(folder: Path, source: Path, settings: Settings) -> Recipe:
    """The recipe that ``settings`` make. Raises one V2M4Error for all that is wrong with them, with the files that
    they name, with ``source``, and with ``folder`` as the place of the results."""
    problems = Problems()
    with problems:
        recipe = Recipe.of(settings)
    with problems:
        _require_files(settings)
    with problems, open_source(source, VideoSettings().pictures_fps):
        pass
    with problems:
        refuse_output(folder, source, settings.generator.template)
    problems.refuse()
    return recipe


def open_run(folder: Path, source: Path, recipe: Recipe, stages: Sequence[StageSpec] = STAGES) -> Run:
    """The run in ``folder`` that turns ``source`` into an animation. Raises one V2M4Error for all that is wrong.

    The source is looked at before anything is written, unless its frames lie in the folder already.
    """

    def look(has_frames: bool) -> None:
        problems = Problems()
        with problems:
            _require_files(recipe.settings)
        if not has_frames:
            with problems:
                facts = probe(source, recipe.settings.video)
                if facts.counted:
                    refuse_anchor(recipe.settings.keyframes, facts.frames)
        problems.refuse()

    return Run.open(folder, source, recipe, fingerprints(source, recipe, stages), look)


def _require_files(settings: Settings) -> None:
    """Raise one V2M4Error for all files that settings name and that are not there."""
    wrong = [*filter(None, (file_problem(field, field.of(settings)) for field in fields_of(Settings)))]
    if wrong:
        raise V2M4Error(" ".join(wrong))


def advance(run: Run, do: Do | None, stages: Sequence[StageSpec] = STAGES, until: str | None = None) -> Iterator[Event]:
    """Go through the run's steps: tell of what is finished, and let ``do`` do the rest (None: end at the first of it).

    ``do`` yields a step's events and enters it into the manifest, in whichever process; it may go on with the steps
    after it. ``until``: the stage after which to end. The progress told never falls. At the end, what other settings
    left is removed. Raises RunStoppedError when a stop was asked for.
    """
    furthest, told = 0.0, frozenset[str]()
    for step in plan(run, stages):
        if run.done(step):
            if step.name not in told:
                yield from _spec(step, stages).recall(run, step)
        elif do is None:
            return
        elif run.stop_requested():
            raise _stopped(run)
        else:
            before = run.finished
            for event in do(run, step):
                if isinstance(event, RunProgress):
                    furthest = max(furthest, event.fraction)
                    event = replace(event, fraction=furthest)
                yield event
            run.reload()
            told |= run.finished - before
            if not run.done(step):
                return
        if step.stage == until:
            return
    if do is not None:
        run.prune(plan(run, stages))


def plan(run: Run, stages: Sequence[StageSpec] = STAGES) -> Iterator[Step]:
    """The run's steps in order. Later ones depend on what earlier ones found: do each before asking for the next.

    Keyframes are visited from the anchor outwards, so that each is registered from its neighbour.
    """
    wanted = (spec for spec in stages if spec.wanted(run.recipe))
    for whole, specs in groupby(wanted, key=lambda spec: spec.per == "run"):
        if whole:
            yield from (Step(spec.name) for spec in specs)
            continue
        yield from _visits(run, tuple(specs))


def _visits(run: Run, group: Sequence[StageSpec]) -> Iterator[Step]:
    """The steps of all keyframes. One for which no mesh can be made is passed over, be it the anchor."""

    def visit(index: int, after: int | None) -> Iterator[Step]:
        for spec in group:
            if spec.per == "keyframe" or run.recipe.mesh_per_keyframe or after is None:
                yield Step(spec.name, index, after)
            if index in meshless(run):
                return

    indices, first = chosen_keyframes(run)
    tried = set[int]()
    for index in visiting_order(indices, first):
        tried.add(index)
        yield from visit(index, None)
        if index not in meshless(run):
            break
    _, anchor = keyframes_of(run)
    for side in ([i for i in indices if i > anchor], [i for i in reversed(indices) if i < anchor]):
        before = anchor
        for index in side:
            if index not in tried:
                yield from visit(index, before)
            before = before if index in meshless(run) else index


def execute(run: Run, step: Step, bench: Workbench, stages: Sequence[StageSpec] = STAGES) -> Iterator[Event]:
    """Do one step, yielding its events, and enter it into the run's manifest."""
    started = time.monotonic()
    spec = _spec(step, stages)
    run.begin(step)
    try:
        tell = progress_of(run, step, stages)
        yield tell(0.0, "")
        with closing(spec.work(run, step, bench)) as work:
            for event in work:
                if run.stop_requested():
                    raise _stopped(run)
                if isinstance(event, Progress):
                    event = tell(event.fraction, event.note)
                yield event
        give_back()
        run.finish(step, time.monotonic() - started)
    except BaseException:
        run.abandon()
        raise
    # What was shown live is not told again.
    yield from (event for event in spec.recall(run, step) if not event.live)


def progress(run: Run, step: Step, fraction: float) -> RunProgress:
    """Where the whole run stands while ``step`` is done to ``fraction``."""
    return progress_of(run, step)(fraction, "")


def progress_of(run: Run, step: Step, stages: Sequence[StageSpec] = STAGES) -> Callable[[float, str], RunProgress]:
    """What tells, from the share of ``step`` that is done and a note, where the whole run stands: the run's folder is
    read once for all that a step tells."""
    indices = keyframes_of(run)[0] if run.done(Step("keyframes")) else ()
    fraction_of = run_fraction(run, step, len(indices), stages)

    def tell(fraction: float, note: str) -> RunProgress:
        overall, seconds_left = fraction_of(fraction)
        return RunProgress(step.stage, overall, step.keyframe, indices, seconds_left, note)

    return tell


def _spec(step: Step, stages: Sequence[StageSpec]) -> StageSpec:
    return next(spec for spec in stages if spec.name == step.stage)


def _stopped(run: Run) -> RunStoppedError:
    return RunStoppedError(f"Stopped. What is finished lies in {run.folder}; run the same again to go on.")
