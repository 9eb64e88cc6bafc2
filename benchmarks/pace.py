"""Whether a stage became slower than it was: processor seconds of a short run, over those of a fixed piece of work.

    python -m benchmarks.pace [--write]

Both are measured in one process, so that a slower or busier machine hardly changes the ratio. What still disturbs it
only adds: where a stage seems slower all is measured again, and each stage's least share counts. The ratios that are
compared with lie in pace.json; ``--write`` puts today's there. The exit code is 1 if a stage takes more than `ALLOWED`
times its share.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from v2m4 import pipeline
from v2m4.events import Event
from v2m4.pipeline import reconstruct_to
from v2m4.settings import Settings, changed

CLIP = Path(__file__).parents[1] / "assets" / "examples" / "bird.mp4"
STORED = Path(__file__).with_name("pace.json")
ATTEMPTS = 3
ALLOWED, LEAST = 2.0, 0.5  # times the stored share; shares below the second are too short to be judged
SETTINGS = {"video.end_s": 0.5, "generator.name": "inflate", "device": "cpu", "stereo": "features"}


def fixed_work() -> float:
    """Processor seconds of work like the stages': products, convolutions, neighbours, Python."""
    rng = np.random.default_rng(0)
    began = time.process_time()
    x = torch.from_numpy(rng.standard_normal((600, 600)).astype(np.float32))
    for _ in range(40):
        x = (x @ x.T).div_(600).clamp_(-1, 1)
    picture = torch.from_numpy(rng.standard_normal((1, 16, 256, 256)).astype(np.float32))
    for _ in range(10):
        torch.nn.functional.conv2d(picture, torch.ones(16, 16, 3, 3))
    for _ in range(10):
        points = rng.standard_normal((20_000, 3))
        cKDTree(points).query(points[:5000])
    sum(n * n % 7 for n in range(1_000_000))
    return time.process_time() - began


def shares() -> dict[str, float]:
    """Processor seconds of each stage over those of the fixed work, once everything is compiled and cached."""
    spent: dict[str, float] = {}
    execute = pipeline.execute

    def timed(run: Any, step: Any, *more: Any) -> Iterator[Event]:
        began = time.process_time()
        yield from execute(run, step, *more)
        spent[step.stage] = spent.get(step.stage, 0.0) + time.process_time() - began

    settings = changed(Settings.of("draft"), SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        reconstruct_to(CLIP, settings, Path(folder) / "first")
        pipeline.execute = timed
        before = fixed_work()
        reconstruct_to(CLIP, settings, Path(folder) / "second")
        work = min(before, fixed_work())
    pipeline.execute = execute
    return {stage: round(seconds / work, 3) for stage, seconds in spent.items()}


def slower(now: dict[str, float], stored: dict[str, float]) -> list[str]:
    """A sentence for each stage that takes more than it may."""
    return [
        f"{stage} takes {share:.2f} of the fixed work, {share / stored[stage]:.1f} times as much as it did."
        for stage, share in now.items()
        if stage in stored and share > max(ALLOWED * stored[stage], LEAST)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep today's shares for comparison")
    options = parser.parse_args()
    torch.set_num_threads(1)
    now = shares()
    print(json.dumps(now))
    if options.write:
        STORED.write_text(json.dumps(now, indent=1) + "\n")
        return 0
    stored = json.loads(STORED.read_text())
    for _ in range(ATTEMPTS - 1):
        if slower(now, stored):
            again = shares()
            now = {stage: min(share, again.get(stage, share)) for stage, share in now.items()}
            print(json.dumps(now))
    wrong = slower(now, stored)
    print("\n".join(wrong) or "No stage became slower.")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
