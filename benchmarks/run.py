"""The whole method, measured, from video to GLB.

    python -m benchmarks.run [CLIP ...] [--presets fast draft] [-o FOLDER]
    python -m benchmarks.run --gpu [--only CASE ...] [--seconds 400] [-o FOLDER]

On a CPU: the shipped examples without any weights. On a CUDA GPU: full-size networks with random weights (which cost
what real ones cost), written to a cache shaped like the Hub's and read by the code that reads real ones; `stand_in`
says what replaces the rubbish that they make. With ``--toy`` the same on a CPU, everything tiny, to try the benchmark.

FOLDER gets what was found while it runs (cpu.json, or run.json with events.jsonl and log.txt), and history.jsonl, to
which every run adds a line with its commit, with a picture of it. The exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks import whole_cpu, whole_gpu
from benchmarks.history import draw, remember
from v2m4.settings import Preset


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP", help="the shipped examples if absent")
    parser.add_argument("--presets", nargs="*", default=["fast", "draft"], choices=get_args(Preset))
    parser.add_argument("--gpu", action="store_true", help="on a CUDA GPU, with every learned plug")
    parser.add_argument("--toy", action="store_true", help="with --gpu: on a CPU, everything tiny")
    parser.add_argument("--only", nargs="*", default=[], choices=[c.name for c in whole_gpu.CASES], metavar="CASE")
    parser.add_argument("--seconds", type=float, default=3600, help="with --gpu: stop after so many")
    parser.add_argument("--work", type=Path, help="with --gpu: where checkpoints (8 GB) and runs go")
    parser.add_argument("-o", "--output", type=Path, default=Path("output/benchmarks"))
    options = parser.parse_args()
    machine = whole_gpu.machine(torch.device("cuda" if options.gpu and not options.toy else "cpu"))
    cases: dict[str, Any]
    if options.gpu:
        if options.work is not None:
            options.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="v2m4-benchmark-", dir=options.work) as work:
            cases, failed = whole_gpu.run_whole(options.output, Path(work), options.seconds, options.toy, options.only)
        machine += ", toy" * options.toy
    else:
        report, failed = whole_cpu.run_whole(options.output, options.presets, options.clips)
        cases = report["cases"]
    history = options.output / "history.jsonl"
    remember(history, machine, cases)
    print(f"history: {history}", draw(history, machine) or "")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
