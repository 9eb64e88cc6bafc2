"""The whole pipeline, clip by clip, as its users run it: `v2m4 reconstruct` in a process of its own.

``python -m benchmarks.bench_pipeline [CLIP ...] [--truth FILE.npz ...]``

Clips go through the default generator. A truth is an NPZ with known geometry; its clip is ``../NAME.mp4`` (as in
assets/examples) or every ``*.mp4`` beside it. It is run twice: with the default generator, and with its own first mesh
as template. Without arguments: the shipped examples.

IoU and PSNR: every frame, re-rendered from the exported GLB and its camera, against the frames as the pipeline cut
them out; "true IoU" against the true silhouettes. CD-M: after ActionBench, one scale; over that of the still first
mesh.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from v2m4.artefacts import masked_clip
from v2m4.evaluation.actionbench import compare_motion
from v2m4.evaluation.glb import MorphModel, read_glb
from v2m4.evaluation.report import evaluate, read_camera
from v2m4.evaluation.truth import Truth, load_truth
from v2m4.export.glb import write_still
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.masks import mask_iou
from v2m4.render import render_fast
from v2m4.run import Run

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
DEFAULT = "default"
"""Label of a run with the generator that users get without asking."""
HEADER = (
    "clip",
    "generator",
    "frames",
    "keys",
    "IoU",
    "worst",
    "true IoU",
    "worst",
    "PSNR",
    "time s",
    "peak GB",
    "CD-M",
)
WANTED = "IoU >= 0.93 mean, 0.85 worst; PSNR >= 22 dB; 32 frames in <= 60 s and <= 2.5 GB; CD-M with template <= 0.25"


@dataclass(frozen=True)
class Usage:
    """What a run took: wall-clock seconds, the largest resident set in bytes, the exit code, seconds of CPU."""

    seconds: float
    peak_bytes: int
    code: int
    cpu_seconds: float = 0.0


def run_measured(command: list[str], log: Path) -> Usage:
    """Run a command, its output to ``log``; resources are those of this child alone."""
    started = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Usage(time.monotonic() - started, usage.ru_maxrss * unit, process.returncode, cpu_seconds)


def reconstruct(clip: Path, output: Path, preset: str, template: Path | None, pictures_fps: float = 24.0) -> Usage:
    """`v2m4 reconstruct` from scratch into ``output``; pictures_fps: of a folder of pictures, frames per second."""
    command = [sys.executable, "-m", "v2m4", "reconstruct", str(clip), "-o", str(output), "--preset", preset]
    command += ["--video.pictures-fps", str(pictures_fps)] if clip.is_dir() else []
    command += ["--template", str(template)] if template else []
    output.mkdir(parents=True, exist_ok=True)
    return run_measured(command, output / "log.txt")


def z_up(points: torch.Tensor) -> torch.Tensor:
    """glTF's axes to those of canonical meshes."""
    return torch.stack([points[..., 0], -points[..., 2], points[..., 1]], dim=-1)


def true_overlap(model: MorphModel, camera: Camera, truth: Truth, side: int = 384) -> tuple[float, float]:
    """(mean, worst) IoU with the true silhouettes over all frames."""

    def mask(mesh: Mesh, view: Camera) -> torch.Tensor:
        images = render_fast(mesh, view, side, ("mask",), supersample=2)
        assert images.mask is not None
        return images.mask[0] > 0.5

    values = []
    for vertices, seconds in zip(truth.vertices, truth.times, strict=True):
        ours = mask(model.mesh.with_vertices(model.at(seconds)), camera)
        values.append(mask_iou(ours.numpy(), mask(truth.mesh.with_vertices(vertices), truth.camera).numpy()))
    return sum(values) / len(values), min(values)


def motion_ratio(model: MorphModel, truth: Truth) -> float:
    """CD-M over that of the true first mesh standing still."""
    poses = torch.stack([model.at(seconds) for seconds in truth.times])
    still = truth.vertices[:1].expand_as(truth.vertices)
    ours, standing = (
        compare_motion(p, f, truth.vertices, truth.mesh.faces, per_axis=False, every_frame=False).cd_m
        for p, f in ((poses, model.mesh.faces), (still, truth.mesh.faces))
    )
    return ours / standing


def row(clip: Path, output: Path, preset: str, truth: Truth | None, with_template: bool) -> list[str]:
    """Run one clip and describe the result; a failed run shows its last line of output."""
    name, generator = clip.stem, "template" if with_template else DEFAULT
    template = None
    if with_template:
        assert truth is not None
        template = output / "template.glb"
        write_still(template, truth.mesh.with_vertices(z_up(truth.vertices[0])), axes="z_up")
    usage = reconstruct(clip, output, preset, template)
    if usage.code:
        lines = (output / "log.txt").read_text(errors="replace").strip().splitlines()
        return [name, generator, f"exit code {usage.code}: {lines[-1] if lines else ''}"]
    masked = masked_clip(Run.read(output))
    model = read_glb(output / "animation.glb")
    report = evaluate(output / "animation.glb", masked)
    (output / "evaluation.json").write_text(json.dumps(report, indent=1))
    overlap, motion = ["", ""], ""
    if truth is not None:
        camera = read_camera(output / "animation.camera.json", masked)
        overlap = [f"{v:.3f}" for v in true_overlap(model, camera, truth)]
        motion = f"{motion_ratio(model, truth):.3f}"
    return [
        name,
        generator,
        str(len(masked)),
        str(len(model.times)),
        f"{report['iou']['mean']:.3f}",
        f"{report['iou']['worst']:.3f}",
        *overlap,
        f"{report['psnr']['mean']:.1f}",
        f"{usage.seconds:.1f}",
        f"{usage.peak_bytes / 2**30:.2f}",
        motion,
    ]


def clips_of(truth: Path) -> list[Path]:
    """The clips a truth belongs to."""
    example = truth.parent.parent / f"{truth.stem}.mp4"
    return [example] if example.exists() else sorted(truth.parent.glob("*.mp4"))


def show(rows: list[list[str]]) -> None:
    """Print aligned columns."""
    full = [r for r in rows if len(r) == len(HEADER)]
    widths = [max(len(r[i]) for r in full) for i in range(len(HEADER))]
    for r in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=False)).rstrip())


def main() -> None:
    """Run everything asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP")
    parser.add_argument("--truth", nargs="*", type=Path, default=[], metavar="FILE.npz")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("-o", "--output", type=Path, default=Path("output/bench"))
    parser.add_argument("--only", choices=(DEFAULT, "template"), help="one of both runs of a truth")
    arguments = parser.parse_args()
    truths = arguments.truth or ([] if arguments.clips else sorted((EXAMPLES / "truth").glob("*.npz")))
    jobs: list[tuple[Path, Truth | None, str]] = [(clip, None, clip.stem) for clip in arguments.clips]
    for path in truths:
        prefix = f"{path.parent.name}-" if path.stem == "gt" else ""
        jobs += [(clip, load_truth(path), f"{prefix}{clip.stem}") for clip in clips_of(path)]
    rows = [list(HEADER)]
    for clip, truth, label in jobs:
        for with_template in (False, True):
            if (with_template and truth is None) or arguments.only == (DEFAULT if with_template else "template"):
                continue
            output = arguments.output / f"{label}-{'template' if with_template else DEFAULT}"
            rows.append([label, *row(clip, output, arguments.preset, truth, with_template)[1:]])
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
    show(rows)
    print(f"wanted: {WANTED}")


if __name__ == "__main__":
    main()
