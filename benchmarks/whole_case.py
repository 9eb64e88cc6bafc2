"""One run of the whole command line, measured step by step, in a process of its own: started by `benchmarks.run`.

Every event is one line of JSON, appended at once to the file of ``--events``, so that a process that is killed has told
all it knew.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from v2m4 import cli, pipeline
from v2m4.events import Event
from v2m4.recipe import Recipe
from v2m4.run import Run, Step
from v2m4.workbench import Workbench

GB = 1e9


class Events:
    """Lines of JSON with the case's name and the seconds since the start."""

    def __init__(self, path: Path, case: str) -> None:
        self._path, self._case, self._start = path, case, time.perf_counter()
        self.run = "first"

    def tell(self, event: str, **facts: Any) -> None:
        line = {
            "case": self._case,
            "run": self.run,
            "event": event,
            "at_s": round(time.perf_counter() - self._start, 3),
            **facts,
        }
        with self._path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print("event", json.dumps(line), flush=True)


def memory(device: torch.device) -> dict[str, float]:
    """GB allocated, reserved and at the peak since the last call, on a GPU; the process's peak on the CPU."""
    found = {"host_peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB, 3)}
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        found["allocated_gb"] = round(torch.cuda.memory_allocated(device) / GB, 3)
        found["reserved_gb"] = round(torch.cuda.memory_reserved(device) / GB, 3)
        found["peak_gb"] = round(torch.cuda.max_memory_allocated(device) / GB, 3)
        torch.cuda.reset_peak_memory_stats(device)
    return found


def measured(events: Events) -> Any:
    """`pipeline.execute` that tells of every step."""
    execute = pipeline.execute

    def told(run: Run, step: Step, bench: Workbench, *more: Any) -> Iterator[Event]:
        start = time.perf_counter()
        yield from execute(run, step, bench, *more)
        found = memory(bench.device)
        seconds = round(time.perf_counter() - start, 3)
        events.tell("step", stage=step.stage, keyframe=step.keyframe, seconds=seconds, **found)

    return told


def accuracy(folder: Path) -> dict[str, Any]:
    """How well the animation covers the clip, over all frames and in each keyframe, and how well each keyframe's mesh
    covered it under the camera that was found."""
    report = json.loads((folder / "report.json").read_text())
    return {
        "iou": report["iou"]["mean"],
        "iou_worst": report["iou"]["worst"],
        "psnr": report["psnr"]["mean"],
        "cameras": list(report["camera_confidence"].values()),
        "keyframes": [round(report["iou"]["per_frame"][index], 4) for index in report["keyframes"]],
    }


def arguments() -> argparse.ArgumentParser:
    """What a case is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--toy", action="store_true", help="toy networks, for a machine without a GPU")
    parser.add_argument("--rubbish", action="store_true", help="nothing stands in for what random weights make")
    again = "a second run of the same with the networks of the first, in the same folder from a stage of the clip on"
    parser.add_argument("--again", metavar="STAGE", nargs="?", const="", help=again)
    return parser


def prepared(options: argparse.Namespace) -> None:
    """Enter what stands in for what is not here."""
    if options.toy:
        from benchmarks.checkpoints import shrink

        shrink()
    if not options.rubbish:
        from benchmarks.stand_in import install

        install(options.toy)


def main() -> None:
    options, more = arguments().parse_known_args()
    events = Events(options.events, options.case)
    prepared(options)
    pipeline.execute = measured(events)
    benches: list[Workbench] = []

    def kept(recipe: Recipe) -> Workbench:
        benches[:] = benches or [Workbench(recipe)]
        return benches[0]

    pipeline.Workbench = kept
    events.tell("started")
    command = ["reconstruct", str(options.clip), "-o", str(options.output), "--settings", str(options.settings), *more]
    code = cli.main(command)
    if code == 0 and options.again is not None:
        events.run = "again"
        if options.again:
            shutil.rmtree(options.output / "work" / options.again)  # what is missing is made anew, and all after it
        else:
            benches[0].generator.made = 0  # the stand-in gives the known meshes one after the other
            command[3] += "-again"
        code = cli.main(command)
    events.tell("ended", code=code)
    if code == 0 and not options.rubbish:
        events.tell("accuracy", **accuracy(options.output))


if __name__ == "__main__":
    main()
