"""Doing a run for a visitor: one bounded slice after another, the GPU lent for those that use it.

On a shared-GPU Space a decorated call happens in a forked process. So a slice takes plain values, yields events, and
leaves its artefacts in the run's folder; off such a Space `spaces.GPU` is absent or does nothing.
"""

from __future__ import annotations

import math
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from v2m4.artefacts import keyframes_of
from v2m4.errors import RunStoppedError, V2M4Error
from v2m4.events import Event, RunProgress, RunStarted
from v2m4.pipeline import advance, execute, plan, progress
from v2m4.provision import provide
from v2m4.recipe import Recipe
from v2m4.run import Run, Step
from v2m4.settings import Settings, changed
from v2m4.steps import STAGES
from v2m4.ui.mishaps import explained
from v2m4.ui.store import RunRecord, Store
from v2m4.workbench import Workbench, plug_settings

_LONGEST_SLICE_S = 60
_SHORTEST_SLICE_S = 10
_SLICE_SLACK_S = 2  # before and after a slice's steps, and by what a step takes longer than those before it
_SLICE_START_S = 14  # what a slice loads and compiles, for each starts with nothing
_PRESET_FACTOR = {"paper": 1.5, "fast": 1.0, "draft": 0.6}


@dataclass(frozen=True)
class Stopped(Event):
    """The run was asked to stop; what is finished is kept."""


@dataclass(frozen=True)
class Failed(Event):
    """The run cannot go on; ``sentence`` says why and what to do."""

    sentence: str


def seconds_needed(record: RunRecord, step: Step, *args: Any, **kwargs: Any) -> int:
    """GPU seconds to ask for: for the step and all that need a GPU after it, never more than a minute."""
    run = record.look()
    keyframes = len(keyframes_of(run)[0]) if run.done(Step("keyframes")) else 1
    left = {spec.name: spec.steps(run.recipe, keyframes) - len(run.seconds(spec.name)) for spec in STAGES}
    estimate = sum(
        expected_seconds(run, stage) * max(0, count)
        for stage, count in left.items()
        if gpu_share(run.recipe, stage) > 0
    )
    return int(min(_LONGEST_SLICE_S, max(_SHORTEST_SLICE_S, estimate, expected_seconds(run, step.stage))))


def expected_seconds(run: Run, stage: str) -> float:
    """How long a step of the stage takes on a lent GPU: as the longer of the last two, or what the stage declares.

    Not their mean: the first registration has nothing to do, and whoever overruns a slice loses it.
    """
    measured = run.seconds(stage)
    return max(measured[-2:]) if measured else gpu_share(run.recipe, stage)


def lent_gpu(work: Callable[..., Iterator[Event]]) -> Callable[..., Iterator[Event]]:
    """``work`` with a GPU lent to each call where it runs on a shared-GPU Space; the same function elsewhere."""
    try:
        import spaces
    except ImportError:
        return work
    return spaces.GPU(duration=seconds_needed)(work)


def slice_of(record: RunRecord, step: Step, until: str | None = None) -> Iterator[Event]:
    """The step's events; where it uses a GPU, also those of the steps after it, as many as fit the time asked for.

    Each lent slice is a process that starts with nothing on the GPU, so few long ones cost less than many short ones.
    ``until``: the stage after which to end. Problems arrive as events too, since exceptions lose their text between
    processes.
    """
    recipe, began = record.recipe, time.monotonic()
    try:
        asked = seconds_needed(record, step) if uses_gpu(recipe, step) else 0
        run, bench = record.run(), workbench(recipe)
        for following in plan(run):
            if run.done(following):
                continue
            late = time.monotonic() - began + expected_seconds(run, following.stage) + _SLICE_SLACK_S > asked
            if following != step and (late or not uses_gpu(recipe, following)):
                return
            yield from execute(run, following, bench)
            if following.stage == until:
                return
    except RunStoppedError:
        yield Stopped()
    except Exception as error:
        yield failure(error, record)


def lent_slice(record: RunRecord, step: Step, until: str | None = None) -> Iterator[Event]:
    """`slice_of` for a process that may be a fork of one that has computed on several threads: they do not survive a
    fork, and PyTorch would wait for them for ever. So there it computes on one."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)
    yield from slice_of(record, step, until)


gpu_slice = lent_gpu(lent_slice)


def uses_gpu(recipe: Recipe, step: Step) -> bool:
    """Whether the step needs a lent GPU: a heavy stage, with at least one plug that wants one."""
    return recipe.wants_gpu and gpu_share(recipe, step.stage) > 0


def gpu_seconds(recipe: Recipe, keyframes: int) -> int:
    """About how many seconds of a lent GPU a run with so many keyframes takes; 0 where it uses none."""
    if not recipe.wants_gpu:
        return 0
    factor = _PRESET_FACTOR[recipe.settings.preset]
    used = [spec for spec in STAGES if gpu_share(recipe, spec.name) > 0]
    work = factor * sum(spec.warm_gpu_s * spec.steps(recipe, keyframes) for spec in used)
    slices = math.ceil(work / (_LONGEST_SLICE_S - _SLICE_START_S))
    return round(work + slices * _SLICE_START_S)


def gpu_share(recipe: Recipe, stage: str) -> float:
    """Seconds of a lent GPU that a step of the stage asks for; 0 where it computes on the CPU."""
    spec = next(spec for spec in STAGES if spec.name == stage)
    return spec.gpu_s * _PRESET_FACTOR[recipe.settings.preset] if spec.on_gpu(recipe) else 0.0


def workbench(recipe: Recipe) -> Workbench:
    """The plugs for a recipe, shared by all runs that ask for the same ones, so models are loaded once."""
    return _workbench(plug_settings(recipe.settings))


@lru_cache(maxsize=4)
def _workbench(settings: Settings) -> Workbench:
    return Workbench(Recipe.of(settings))


def do_run(store: Store, record: RunRecord, until: str | None = None) -> Iterator[Event]:
    """The run's events from where it is to its end (or through stage ``until``); ends with Finished, Stopped or Failed.

    A stop that was asked for before the first step counts: the visitor pressed Stop while waiting in the queue.
    """

    def do(run: Run, step: Step) -> Iterator[Event]:
        lent = gpu_slice if uses_gpu(record.recipe, step) else slice_of
        with closing(lent(record, step, until)) as events:  # type: ignore[type-var]
            yield from events

    try:
        with store.working(record):
            run = record.run()
            with run.hold():
                yield RunStarted(run.folder, run.resumed)
                # The look at masks and keyframes needs no weights but those that are here.
                if until is None:
                    yield from provide(run.recipe, STAGES)
                yield from advance(run, do, until=until)
    except RunStoppedError:
        yield Stopped()
    except Exception as error:
        yield failure(error, record)


def failure(error: Exception, record: RunRecord) -> Failed:
    """How a run ends that ``error`` ended."""
    told = str(explained(error, f"run {record.id}"))
    return Failed(told if isinstance(error, V2M4Error) else f"{told} What is finished is kept.")


def recalled(record: RunRecord) -> Iterator[Event]:
    """The milestones of everything finished, without working."""
    run = _read_only(record)
    if run is not None:
        yield from advance(run, None)


def standing(record: RunRecord) -> RunProgress | None:
    """Where a run stands that nobody works on: the progress at its first unfinished step; None when it is finished, or
    was never taken up."""
    run = _read_only(record)
    if run is None:
        return None
    step = next((step for step in plan(run) if not run.done(step)), None)
    return None if step is None else progress(run, step, 0.0)


def _read_only(record: RunRecord) -> Run | None:
    """The run as it was worked on last, or, where other settings were asked for since, what of it still holds; None if
    it was never worked on."""
    if not record.touched:
        return None
    run = record.look()
    return run if run.recipe == record.recipe else record.run()


def prepare(settings: Settings) -> None:
    """Load the models that ``auto`` picks, once, at start: later calls share them."""
    recipe = Recipe.of(settings)
    if recipe.wants_gpu:
        bench = workbench(recipe)
        _ = bench.generator, bench.stereo, bench.perceptual


def warm_up(settings: Settings, clip: Path, seconds: float = 0.2) -> threading.Thread:
    """Reconstruct the first ``seconds`` of a clip in the background, so that no visitor waits for what a first run
    compiles and loads. Where a GPU is lent nothing is done: a process that is forked while others compute may hang."""

    def work() -> None:
        if Recipe.of(settings).wants_gpu:
            return
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            for _ in do_run(store, store.create(clip, changed(settings, {"video.end_s": seconds}))):
                pass

    thread = threading.Thread(target=work, name="v2m4-warm-up", daemon=True)
    thread.start()
    return thread
