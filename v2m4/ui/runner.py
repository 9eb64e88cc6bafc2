"""Doing a run for a visitor: one bounded slice after another, the GPU lent for those that use it.

On a shared-GPU Space a decorated call happens in a forked process. So a slice takes plain values, yields events, and
leaves its artefacts in the run's folder; off such a Space `spaces.GPU` is absent or does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from v2m4.errors import RunStoppedError, V2M4Error
from v2m4.events import Event, RunStarted, Stage
from v2m4.pipeline import execute, plan
from v2m4.plugs import chosen_plugs
from v2m4.run import Step
from v2m4.settings import Settings
from v2m4.steps import Workbench, recall, recall_views
from v2m4.ui.store import Store, Ticket

_LONGEST_SLICE_S = 60
_GPU_SECONDS: dict[Stage, float] = {"generation": 30, "camera": 25, "refinement": 60, "registration": 30, "texture": 45}
_PRESET_FACTOR = {"paper": 1.5, "fast": 1.0, "draft": 0.6}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stopped(Event):
    """The run was asked to stop; what is finished is kept."""


@dataclass(frozen=True)
class Failed(Event):
    """The run cannot go on; ``sentence`` says why and what to do."""

    sentence: str


def seconds_needed(ticket: Ticket, step: Step, *args: Any, **kwargs: Any) -> int:
    """GPU seconds to ask for: one step of one keyframe, never more than a minute."""
    estimate = _GPU_SECONDS.get(step.stage, 10) * _PRESET_FACTOR[ticket.settings.preset]
    return int(min(_LONGEST_SLICE_S, max(10, estimate)))


def lent_gpu(work: Callable[..., Iterator[Event]]) -> Callable[..., Iterator[Event]]:
    """``work`` with a GPU lent to each call where it runs on a shared-GPU Space; the same function elsewhere."""
    try:
        import spaces
    except ImportError:
        return work
    return spaces.GPU(duration=seconds_needed)(work)


def slice_of(ticket: Ticket, step: Step) -> Iterator[Event]:
    """One step's events. Problems arrive as events too, since exceptions lose their text between processes."""
    try:
        yield from execute(ticket.run(), step, workbench(ticket.settings))
    except RunStoppedError:
        yield Stopped()
    except V2M4Error as error:
        yield Failed(str(error))


gpu_slice = lent_gpu(slice_of)


def uses_gpu(settings: Settings, step: Step) -> bool:
    """Whether the step needs a lent GPU: a heavy stage, with at least one plug that wants one."""
    wants = any(plug.needs_gpu or plug.weights for plug in chosen_plugs(settings).values())
    return step.stage in _GPU_SECONDS and settings.device != "cpu" and wants


def workbench(settings: Settings) -> Workbench:
    """The plugs for these settings, shared by all runs that ask for the same ones, so models are loaded once."""
    return _workbench(replace(Settings.of(settings.preset), **_plug_settings(settings)))


def _plug_settings(settings: Settings) -> dict[str, Any]:
    names = ("device", "stereo", "perceptual", "commercial_use", "low_vram", "generator", "camera")
    return {name: getattr(settings, name) for name in names}


@lru_cache(maxsize=4)
def _workbench(settings: Settings) -> Workbench:
    return Workbench(settings)


def do_run(store: Store, ticket: Ticket, until: Stage | None = None) -> Iterator[Event]:
    """The run's events from where it is to its end (or through stage ``until``); ends with Finished, Stopped or Failed.

    A stop that was asked for before the first step counts: the visitor pressed Stop while waiting in the queue.
    """
    try:
        with store.working(ticket):
            run = ticket.run()
            yield RunStarted(run.folder, run.resumed)
            for step in plan(run):
                if run.stop_requested():
                    yield Stopped()
                    return
                if run.done(step):
                    yield from recall_views(run, step)
                    yield from recall(run, step)
                else:
                    lent = gpu_slice if uses_gpu(ticket.settings, step) else slice_of
                    with closing(lent(ticket, step)) as events:  # type: ignore[type-var]
                        for event in events:
                            yield event
                            if isinstance(event, (Stopped, Failed)):
                                return
                    run = _reread(run, ticket)
                if step.stage == until:
                    return
    except V2M4Error as error:
        yield Failed(str(error))
    except Exception as error:
        _log.exception("run %s", ticket.id)
        yield Failed(
            f"Something went wrong inside ({type(error).__name__}). What is finished is kept; “Continue” tries again. "
            "If it happens twice, please report it with the settings file."
        )


def _reread(run: Any, ticket: Ticket) -> Any:
    """Take over what the slice, perhaps in another process, entered into the manifest."""
    fresh = ticket.run()
    run._finished = fresh._finished
    return run


def recalled(ticket: Ticket) -> Iterator[Event]:
    """The milestones of everything finished, without working."""
    run = ticket.run()
    for step in plan(run):
        if not run.done(step):
            return
        yield from recall_views(run, step)
        yield from recall(run, step)


def prepare(settings: Settings) -> None:
    """Load the models that ``auto`` picks, once, at start: later calls share them."""
    bench = workbench(settings)
    if any(plug.weights or plug.needs_gpu for plug in chosen_plugs(settings).values()):
        _ = bench.generator, bench.stereo, bench.perceptual
