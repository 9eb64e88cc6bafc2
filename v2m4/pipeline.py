"""From a video to an animated mesh: the stages of the method, in order.

`plan` names the steps, `execute` does one of them, `reconstruct` does them all. Steps meet only in the run's folder, so
each may happen in another process (a shared-GPU Space lends its GPU for one bounded slice at a time), and a run that
was stopped or killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from v2m4.errors import RunStoppedError
from v2m4.events import Event, Finished, Progress, RunProgress, RunStarted
from v2m4.run import Run, Step
from v2m4.settings import Settings
from v2m4.steps import WORK, Workbench, keyframes_of, recall, recall_views, refinable
from v2m4.timing import run_fraction


def reconstruct(
    video: str | Path,
    settings: Settings | None = None,
    output: str | Path = "output",
    *,
    workbench: Workbench | None = None,
) -> Iterator[Event]:
    """Turn ``video`` into ``output/animation.glb``, yielding events on the way; the last one is `Finished`.

    Closing the iterator stops the work after the current iteration, and so does `Run.request_stop` from anywhere else,
    which ends it with RunStoppedError; the same call again goes on from there. Raises V2M4Error for anything
    the user can mend.
    """
    settings = settings or Settings.of("fast")
    bench = workbench or Workbench(settings)
    run = Run(Path(output), Path(video), settings)
    run.clear_stop()
    yield RunStarted(run.folder, run.resumed)
    for step in plan(run):
        if run.done(step):
            yield from recall_views(run, step)
            yield from recall(run, step)
        else:
            yield from execute(run, step, bench)


def reconstruct_to(video: str | Path, settings: Settings | None = None, output: str | Path = "output") -> Finished:
    """`reconstruct`, blocking: returns its last event, which has the files and the report."""
    *_, last = reconstruct(video, settings, output)
    assert isinstance(last, Finished)
    return last


def plan(run: Run) -> Iterator[Step]:
    """The run's steps in order. Later ones depend on what earlier ones found: do each before asking for the next."""
    yield Step("video")
    yield Step("matting")
    yield Step("keyframes")
    indices, anchor = keyframes_of(run)
    ahead = [i for i in indices if i > anchor]
    behind = [i for i in reversed(indices) if i < anchor]
    every_mesh = run.settings.registration.method == "meshes"
    chain = [(None, anchor), *pairwise([anchor, *ahead]), *pairwise([anchor, *behind])]
    for after, index in chain:
        if every_mesh or index == anchor:
            yield Step("generation", index)
            yield Step("camera", index)
            if refinable(run, index):
                yield Step("refinement", index)
        yield Step("registration", index, after)
    yield Step("texture")
    yield Step("export")


def execute(run: Run, step: Step, bench: Workbench) -> Iterator[Event]:
    """Do one step, yielding its events, and enter it into the run's manifest."""
    started = time.monotonic()
    yield progress(run, step, 0.0)
    with closing(WORK[step.stage](run, step, bench)) as work:
        for event in work:
            if run.stop_requested():
                raise RunStoppedError(f"Stopped. What is finished lies in {run.folder}; run the same again to go on.")
            yield progress(run, step, event.fraction, event.note) if isinstance(event, Progress) else event
    run.finish(step, time.monotonic() - started)
    yield from recall(run, step)


def progress(run: Run, step: Step, fraction: float, note: str = "") -> RunProgress:
    """Where the whole run stands while ``step`` is done to ``fraction``."""
    indices = keyframes_of(run)[0] if run.done(Step("keyframes")) else ()
    overall, seconds_left = run_fraction(run, step, fraction, len(indices))
    return RunProgress(step.stage, overall, step.keyframe, indices, seconds_left, note)
