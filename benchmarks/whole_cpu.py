"""The whole method on a CPU, without any weights: the shipped examples by the command line, stage by stage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench_pipeline import EXAMPLES, reconstruct
from v2m4.run import Run

STARTS = {"import": ["-c", "import v2m4.cli"], "help": ["-m", "v2m4", "--help"]}


def run_whole(out: Path, presets: Sequence[str], clips: Sequence[Path]) -> tuple[dict[str, Any], int]:
    """Reconstruct every clip with every preset; what each took and reached, and how many failed.

    ``out`` gets a folder per run, and cpu.json after each.
    """
    out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"cores": os.cpu_count(), "starts": starts(), "cases": {}}
    failed = 0
    for preset in presets:
        for clip in clips or sorted(EXAMPLES.glob("*.mp4")):
            name = f"{preset} {clip.stem}"
            folder = out / name.replace(" ", "-")
            usage = reconstruct(clip, folder, preset, None)
            found: dict[str, Any] = {"code": usage.code, "whole": round(usage.seconds, 2)}
            found["peak_gb"] = round(usage.peak_bytes / 2**30, 3)
            if usage.code == 0:
                measured = json.loads((folder / "report.json").read_text())
                found |= {
                    "iou": measured["iou"]["mean"],
                    "psnr": measured["psnr"]["mean"],
                    "frames": measured["frames"],
                }
                found["stages"] = Run.read(folder).times()
            failed += usage.code != 0
            report["cases"][name] = found
            (out / "cpu.json").write_text(json.dumps(report, indent=1))
            print(f"{name:24s} {json.dumps(found)}", flush=True)
    return report, failed


def starts() -> dict[str, float]:
    """Best of three seconds of importing the command line, and of its help."""
    best = {}
    for name, words in STARTS.items():
        seconds = []
        for _ in range(3):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            seconds.append(time.perf_counter() - begin)
        best[name] = round(min(seconds), 3)
    return best
