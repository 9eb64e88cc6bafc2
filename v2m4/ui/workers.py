"""Runs belong to the server: a thread works on each, whoever watches; every browser with the link sees the same.

A run that nobody watches goes on for some minutes and then stops; so does one that takes longer than a run may. What is
finished is kept either way, so a stopped run can be continued.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field, replace

from v2m4.errors import V2M4Error
from v2m4.events import RunProgress
from v2m4.run import Run
from v2m4.ui.limits import Limits
from v2m4.ui.mishaps import explained
from v2m4.ui.run_view import RunView, at_rest, note_end, update
from v2m4.ui.runner import do_run
from v2m4.ui.store import RunRecord, Store

LOOK = "keyframes"
"""The stage after which a look at a clip ends: its masks and keyframes are known."""
_PUBLISH_S = 0.25
_TICK_S = 1.0
_SWEEP_S = 600.0
_TYPICAL_RUN_S = 90.0
_REMEMBERED = 32
_TELLING = 0.1


@dataclass
class Job:
    """A run that is waited for or worked on. ``until``: the stage after which it ends, None for the whole run. run: for
    the flag that stops it; what is finished there is as it was at the start."""

    record: RunRecord
    run: Run
    visitor: str
    until: str | None
    view: RunView
    published: RunView
    watched: float = field(default_factory=time.monotonic)
    started: float | None = None
    reason: str = ""
    over: threading.Event = field(default_factory=threading.Event)


class Workers:
    """All jobs of this server: at most ``limits.concurrent_runs`` work, the rest wait in the order they came."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store, self.limits = store, limits
        self._jobs: dict[str, Job] = {}
        self._queue: list[Job] = []
        self._working: list[Job] = []
        self._lasted: deque[float] = deque(maxlen=8)
        self._ended: dict[str, RunView] = {}
        self._turn = threading.Condition(threading.RLock())
        threading.Thread(target=self._keep_watch, name="v2m4-watch", daemon=True).start()

    def submit(self, record: RunRecord, visitor: str, until: str | None = None, notes: tuple[str, ...] = ()) -> None:
        """Have a run worked on, through stage ``until`` or to its end. A job at it already only gets the new end.

        Raises V2M4Error where the video cannot be used, the visitor has too many runs under way, or too many others
        wait.
        """
        with self._turn:
            job = self._jobs.get(record.id)
            if job is not None and until is not None:
                return
            self._refuse_too_many(record, visitor, until)
            known, run = job, job.run if job is not None else record.run()
            run.clear_stop()
            if job is None:
                view = at_rest(record)
                view.state, view.message, view.place, view.notes = "waiting", "", len(self._queue) + 1, notes
                job = Job(record, run, visitor, until, view, view.copy())
            # Known first, then begun, for whoever looks meanwhile: what is begun and has no job, a server left before.
            self._jobs[record.id] = job
            try:
                note_end(record, "", "")
                if until is None:
                    record.begin()
            except OSError:
                if known is None:
                    self._jobs.pop(record.id)
                raise
            self._ended.pop(record.id, None)
            if known is not None:
                known.until = None
                return
            self._queue.append(job)
        # A lent GPU is booked on the visitor whose request this is, which only the context knows.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work, job), name=f"v2m4-{record.id[:8]}", daemon=True).start()

    def view(self, ident: str) -> RunView | None:
        """What a run shows that is, or was lately, waited for or worked on; None for others. Whoever asks counts as
        watching."""
        job = self._jobs.get(ident)
        if job is None:
            ended = self._ended.get(ident)
            return ended.copy() if ended else None
        job.watched = time.monotonic()
        view = job.published.copy()
        if view.state == "waiting":
            view.place, view.wait_s = self._place(job)
        return view

    def stop(self, ident: str, reason: str = "") -> None:
        """Stop a run after its current iteration; one that waits leaves the queue."""
        job = self._jobs.get(ident)
        if job is not None:
            job.reason = reason
            job.run.request_stop()
            with self._turn:
                self._turn.notify_all()

    def stopped(self, ident: str, timeout_s: float = 10.0) -> bool:
        """Stop a run and wait until nobody works on it; whether that came in time."""
        job = self._jobs.get(ident)
        if job is None:
            return True
        self.stop(ident)
        return job.over.wait(timeout_s)

    def _refuse_too_many(self, record: RunRecord, visitor: str, until: str | None) -> None:
        if until is not None:
            return
        others = [job for job in self._jobs.values() if job.until is None and job.record.id != record.id]
        own = sum(job.visitor == visitor for job in others)
        if own >= self.limits.runs_per_visitor:
            raise V2M4Error(
                f"{own} runs of yours are under way, as many as one visitor may have. Wait for one, or stop it."
            )
        if sum(job in self._queue for job in others) >= self.limits.waiting_runs:
            raise V2M4Error(f"{self.limits.waiting_runs} runs are waiting already. Please try again in some minutes.")

    def _place(self, job: Job) -> tuple[int, float | None]:
        """The job's place in the queue, from 1, and the seconds until its turn."""
        with self._turn:
            runs = [j for j in self._queue if j.until is None]
            place = runs.index(job) + 1 if job in runs else 1
            each = sum(self._lasted) / len(self._lasted) if self._lasted else _TYPICAL_RUN_S
            running = [j.published.progress for j in self._working if j.until is None]
        left = sorted((p.seconds_left if p and p.seconds_left is not None else each) for p in running)
        if len(left) < self.limits.concurrent_runs:
            return place, 0.0
        return place, left[(place - 1) % len(left)] + each * ((place - 1) // len(left))

    def _work(self, job: Job) -> None:
        try:
            while self._take_turn(job):
                until, job.started = job.until, time.monotonic()
                self._do(job, until)
                if until is None and job.view.state == "finished":
                    self._lasted.append(time.monotonic() - job.started)
                if not self._goes_on(job, until):
                    return
            job.view.state = "stopped"
            job.view.message = job.reason or "Taken out of the queue. “Continue” lines it up again."
        except Exception as error:
            told = explained(error, f"run {job.record.id}")
            job.view.state, job.view.message = "failed", f"{told} What is finished is kept; “Continue” tries again."
        finally:
            self._leave(job)

    def _take_turn(self, job: Job) -> bool:
        """Wait until the job may work; False if it was stopped meanwhile. Looks and runs have a queue each."""
        with self._turn:
            while not job.run.stop_requested():
                look = job.until is not None
                first = next(j for j in self._queue if (j.until is not None) == look)
                if first is job and self._count(look) < self.limits.concurrent_runs:
                    self._queue.remove(job)
                    self._working.append(job)
                    return True
                self._turn.wait(_TICK_S)
            return False

    def _goes_on(self, job: Job, until: str | None) -> bool:
        """Whether the job, which was worked on through ``until``, shall go further; then it waits for that."""
        with self._turn:
            self._working.remove(job)
            self._turn.notify_all()
            if job.until == until or job.view.state != "working":
                self._leave(job)
                return False
            job.view.state = "waiting"
            self._publish(job)
            self._queue.append(job)
            return True

    def _leave(self, job: Job) -> None:
        """Remember how the job ended, and make room."""
        with self._turn:
            if job.over.is_set():
                return
            if job.view.state == "working" and job.until is not None:  # a look that is over
                job.view.state = "ready"
            elif job.view.state == "working":
                job.view.state, job.view.message = "failed", "The run ended without a result. “Continue” tries again."
            if job.view.state in ("stopped", "failed"):
                note_end(job.record, job.view.state, job.view.message)
            self._publish(job)
            self._ended[job.record.id] = job.published
            while len(self._ended) > _REMEMBERED:
                self._ended.pop(next(iter(self._ended)))
            self._jobs.pop(job.record.id, None)
            for place in (self._queue, self._working):
                if job in place:
                    place.remove(job)
            self._turn.notify_all()
            job.over.set()

    def _count(self, looks: bool) -> int:
        return sum((job.until is not None) == looks for job in self._working)

    def _do(self, job: Job, until: str | None) -> None:
        job.view.state, last = "working", 0.0
        started, before = time.monotonic(), job.view.fraction
        self._publish(job)
        with closing(do_run(self.store, job.record, until)) as events:  # type: ignore[type-var]
            for event in events:
                if isinstance(event, RunProgress):
                    event = paced(event, time.monotonic() - started, event.fraction - before)
                told = update(job.view, event, job.record)
                if job.view.state == "working" and (told or time.monotonic() - last > _PUBLISH_S):
                    self._publish(job)
                    last = time.monotonic()
        if job.view.state == "stopped" and job.reason:
            job.view.message = job.reason

    def _publish(self, job: Job) -> None:
        job.published = job.view.copy()

    def _keep_watch(self) -> None:
        """By the clock: stop what nobody watches or what takes too long, and delete what is old."""
        swept = 0.0
        while True:
            now = time.monotonic()
            for job in list(self._jobs.values()):
                if now - job.watched > 60 * self.limits.unwatched_minutes:
                    self.stop(
                        job.record.id,
                        f"Stopped, since nobody watched for {self.limits.unwatched_minutes:g} minutes. What is "
                        "finished is kept; “Continue” goes on from here.",
                    )
                elif job.started is not None and now - job.started > 60 * self.limits.run_minutes:
                    self.stop(
                        job.record.id,
                        f"Stopped after {self.limits.run_minutes:g} minutes, the longest a run may take here. What is "
                        "finished is kept; with a lower quality or a shorter clip the rest takes less.",
                    )
            if now - swept > _SWEEP_S:
                swept = now
                self.store.sweep()
            time.sleep(_TICK_S)


def paced(progress: RunProgress, elapsed_s: float, gained: float) -> RunProgress:
    """``progress`` with the time left at this job's own pace, once it ``gained`` enough of the whole to tell."""
    if gained < _TELLING:
        return progress
    own = elapsed_s * (1 - progress.fraction) / gained
    told = progress.seconds_left
    return replace(progress, seconds_left=own if told is None else (own + told) / 2)
