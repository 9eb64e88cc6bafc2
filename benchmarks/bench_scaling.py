"""Time and memory against the length of the clip: the paper claims O(T) time and nearly O(1) memory for its framework.

``python -m benchmarks.bench_scaling CLIP [--frames 8 16 32 64 128] [--preset draft] [--generator auto] [-o FOLDER]``

The clip is played forth and back until it is long enough, with a keyframe every fourth frame, so that every length has
the same share of them. Each length is a run in a process of its own, without preview; peak memory is that process's
largest resident set, and time is its CPU's, which other programs disturb less than the clock. Lengths that FOLDER has
measured already are not run again. Writes scaling.md and scaling.svg there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.bench_pipeline import run_measured
from v2m4.evaluation.plots import curves
from v2m4.evaluation.tables import Table
from v2m4.events import drain
from v2m4.files import write_atomically
from v2m4.settings import VideoSettings
from v2m4.video import load_video

LENGTHS = (8, 16, 32, 64, 128)
STRIDE = 4


def long_clip(clip: Path, count: int, folder: Path) -> None:
    """Write ``count`` frames of the clip, played forth and back, as PNGs."""
    with tempfile.TemporaryDirectory() as place:
        read = drain(load_video(clip, Path(place), VideoSettings(longest_side=256)))
        order = [*range(len(read)), *range(len(read) - 2, 0, -1)]
        for index in range(count):
            Image.fromarray(read.frame(order[index % len(order)])).save(folder / f"{index:04d}.png")


def measure(clip: Path, count: int, preset: str, generator: str, output: Path) -> dict[str, float]:
    """Seconds of CPU and of the clock, peak memory in GB, keyframes and mean overlap of one run from scratch."""
    with tempfile.TemporaryDirectory() as place:
        frames = Path(place) / f"long{count}"
        frames.mkdir()
        long_clip(clip, count, frames)
        command = [sys.executable, "-m", "v2m4", "reconstruct", str(frames), "-o", str(output), "--preset", preset]
        command += ["--generator", generator, "--keyframes.mode", "fixed", "--keyframes.stride", str(STRIDE)]
        command += ["--keyframes.min-stride", "1", "--export.no-preview", "-q"]
        output.mkdir(parents=True, exist_ok=True)
        usage = run_measured(command, output.with_suffix(".log"))
    if usage.code:
        sys.exit(f"{count} frames: {output.with_suffix('.log').read_text().strip().splitlines()[-1]}")
    report = json.loads((output / "report.json").read_text())
    return {
        "frames": count,
        "keyframes": len(report["keyframes"]),
        "cpu_seconds": usage.cpu_seconds,
        "seconds": usage.seconds,
        "peak_gb": usage.peak_bytes / 1e9,
        "iou": report["iou"]["mean"],
        **{f"s_{stage}": seconds for stage, seconds in report["seconds"].items()},
    }


def table(rows: list[dict[str, float]]) -> Table:
    """A row per length."""
    columns = ("Frames", "Keyframes", "CPU seconds", "per frame", "Peak GB", "IoU↑")
    body = tuple(
        (
            f"{row['frames']:.0f}",
            f"{row['keyframes']:.0f}",
            f"{row['cpu_seconds']:.1f}",
            f"{row['cpu_seconds'] / row['frames']:.2f}",
            f"{row['peak_gb']:.2f}",
            f"{row['iou']:.3f}",
        )
        for row in rows
    )
    return Table("Time and memory against length", columns, body)


def main() -> None:
    """Measure what is missing, print the table, write it and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--generator", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=Path("output/scaling"))
    options = parser.parse_args()
    kept = options.output / "scaling.json"
    rows = {row["frames"]: row for row in json.loads(kept.read_text())} if kept.exists() else {}
    for count in options.frames:
        if count not in rows:
            rows[count] = measure(
                options.clip, count, options.preset, options.generator, options.output / f"{count:04d}"
            )
            write_atomically(kept, json.dumps(list(rows.values()), indent=1).encode())
    ordered = [rows[count] for count in sorted(rows)]
    made = table(ordered)
    frames = [row["frames"] for row in ordered]
    lines = {
        "seconds of CPU": (frames, [row["cpu_seconds"] for row in ordered]),
        "peak memory, GB": (frames, [row["peak_gb"] for row in ordered]),
    }
    write_atomically(options.output / "scaling.md", made.markdown().encode())
    write_atomically(options.output / "scaling.svg", curves(lines, "frames", "seconds, GB", logarithmic=True))
    print(made.markdown(), end="")


if __name__ == "__main__":
    main()
