"""One clip on a shared GPU that is lent in slices, as Hugging Face's ZeroGPU does: started by `benchmarks.run`.

As on the page, steps that use no GPU are done by the process that serves, on all its threads. Each slice is a fork of
it that starts with no CUDA context, no compiled kernel in memory and no recorded graph, does as many steps as the page
would let it, and ends; weights are read from files that lie in the operating system's cache. Its seconds are counted
from the fork until it is gone: what a visitor's quota pays. The queue for the GPU, and how fast ZeroGPU itself brings
weights, are not part of this.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # to ask for the device otherwise makes a fork useless for CUDA

import torch

from benchmarks.stand_in import KnownTrellis
from benchmarks.whole_case import Events, accuracy, arguments, prepared
from v2m4.errors import V2M4Error
from v2m4.events import Event
from v2m4.pipeline import advance, provided
from v2m4.run import Run, Step
from v2m4.settings import Settings
from v2m4.ui.runner import Failed, gpu_seconds, lent_slice, slice_of, uses_gpu
from v2m4.ui.store import RunRecord

HANGS_S = 100  # a slice that takes so much longer than it may is waiting for something: where, goes to the log


def main() -> None:
    options, _ = arguments().parse_known_args()
    events = Events(options.events, options.case)
    prepared(options)
    settings = Settings.from_json(Path(options.settings).read_text())
    events.tell("started")
    try:
        for event in reconstruct(options.clip, settings, options.output, events):
            if isinstance(event, Failed):
                raise SystemExit(event.sentence)
    except V2M4Error as error:
        raise SystemExit(str(error)) from None
    if torch.cuda.is_initialized():
        raise SystemExit("the process that lends the GPU has touched it itself")
    events.tell("ended", code=0)
    events.tell("accuracy", **accuracy(options.output))


def reconstruct(clip: Path, settings: Settings, folder: Path, events: Events) -> Iterator[Event]:
    """What went wrong with the run, if anything; tells of each slice."""
    run = yield from provided(folder, clip, settings)
    record = RunRecord("0" * 32, folder, clip, settings, run.recipe, "")
    lent_s = 0.0

    def do(run: Run, step: Step) -> Iterator[Event]:
        nonlocal lent_s
        started, known = time.perf_counter(), run.finished
        lent = uses_gpu(record.recipe, step)
        yield from forked(record, step, run) if lent else slice_of(record, step)
        run.reload()
        seconds = round(time.perf_counter() - started, 3)
        lent_s += seconds * lent
        done = sorted(str(name) for name in run.finished - known)
        events.tell("slice" if lent else "without", seconds=seconds, lent_s=round(lent_s, 3), steps=done)

    with run.hold():
        yield from advance(run, do)
    keyframes = len(run.seconds("generation"))
    events.tell("lent", seconds=round(lent_s, 1), promised=gpu_seconds(run.recipe, keyframes), keyframes=keyframes)


def forked(record: RunRecord, step: Step, run: Run) -> Iterator[Event]:
    """`lent_slice` in a process of its own; tells how it failed, if it did."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    made = len(run.seconds("generation"))
    child = context.Process(target=work, args=(record, step, made, sender))
    child.start()
    sender.close()
    try:
        failed: str | None = receiver.recv()
        child.join()
    except EOFError:
        child.join()
        failed = f"the slice of {step.name} ended without a word, with {child.exitcode}"
    if failed is not None:
        yield Failed(failed)


def work(record: RunRecord, step: Step, made: int, sender: Connection) -> None:
    """In the child: the slice. Sends the sentence it failed with, or None."""
    faulthandler.dump_traceback_later(HANGS_S)
    KnownTrellis.made = made  # the keyframes' known meshes come one after the other, also where a slice begins between
    failed: str | None = None
    for event in lent_slice(record, step):
        failed = event.sentence if isinstance(event, Failed) else failed
    sender.send(failed)
    sender.close()


if __name__ == "__main__":
    main()
