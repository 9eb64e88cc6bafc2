"""Motion in depth: the whole pipeline with the true first mesh as template, against sequences whose shapes are known.

``python -m benchmarks.bench_motion [KIND ...] [--truth FOLDER ...] [--size 384]``

KIND: of `motion_sequences`; ``tuned`` and ``held-out`` name its halves. A truth's FOLDER holds ``gt.npz`` and
``rgba/*.png``. Columns: CD-M of that mesh standing still, of the result, and their ratio (ActionBench's protocol, one
scale); jitter over the truth's; share of faces stretched more than three times or folded over in some keyframe; IoU and
PSNR of the re-rendered frames; seconds and peak memory of the process.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image

from benchmarks.bench_pipeline import reconstruct, z_up
from benchmarks.motion_sequences import HELD_OUT, KINDS, TUNED, film
from v2m4.artefacts import masked_clip
from v2m4.evaluation.actionbench import Distances, compare_motion
from v2m4.evaluation.glb import MorphModel, read_glb
from v2m4.evaluation.measures import flipped_share, jitter
from v2m4.evaluation.report import evaluate
from v2m4.evaluation.truth import Truth, load_truth
from v2m4.export.glb import write_still
from v2m4.run import Run

HEADER = "sequence           still   ours  ratio  CD-3D  CD-4D  jitter  bad %   IoU  PSNR  time s  GB"


def stretched_share(rest: torch.Tensor, posed: torch.Tensor, faces: torch.Tensor) -> float:
    """Share of the faces with an edge more than three times its length at rest in some pose (K,V,3)."""
    a, b = faces, faces.roll(-1, dims=1)
    at_rest = (rest[a] - rest[b]).norm(dim=-1).clamp_min(1e-9)
    return float(((posed[:, a] - posed[:, b]).norm(dim=-1) / at_rest > 3).any(dim=2).any(dim=0).float().mean())


def distances(model: MorphModel, truth: Truth) -> tuple[Distances, float, float]:
    """The result's distances, the still mesh's CD-M and the jitter over the truth's."""
    poses = torch.stack([model.at(seconds) for seconds in truth.times])
    still = truth.vertices[:1].expand_as(truth.vertices)
    ours = compare_motion(poses, model.mesh.faces, truth.vertices, truth.mesh.faces, per_axis=False, points=20_000)
    standing = compare_motion(
        still, truth.mesh.faces, truth.vertices, truth.mesh.faces, per_axis=False, every_frame=False, points=20_000
    )
    return ours, standing.cd_m, jitter(poses) / max(jitter(truth.vertices), 1e-12)


def row(name: str, frames: Path, truth: Truth, output: Path, preset: str) -> str:
    """Run one sequence and describe the result."""
    output.mkdir(parents=True, exist_ok=True)
    template = output / "template.glb"
    write_still(template, truth.mesh.with_vertices(z_up(truth.vertices[0])), axes="z_up")
    rate = (len(truth.times) - 1) / float(truth.times[-1] - truth.times[0])
    usage = reconstruct(frames, output, preset, template, rate)
    if usage.code:
        lines = (output / "log.txt").read_text(errors="replace").strip().splitlines()
        return f"{name:18} exit code {usage.code}: {lines[-1] if lines else ''}"
    model = read_glb(output / "animation.glb")
    report = evaluate(output / "animation.glb", masked_clip(Run.read(output)))
    ours, still, shaking = distances(model, truth)
    keys = torch.stack([model.at(seconds) for seconds in model.times])
    faces = model.mesh.faces
    bad = max(stretched_share(keys[0], keys, faces), flipped_share(keys[0], keys, faces))
    return (
        f"{name:18} {still:.3f}  {ours.cd_m:.3f}   {ours.cd_m / still:.2f}  {ours.cd_3d:.3f}  {ours.cd_4d:.3f}   "
        f"{shaking:5.2f}  {100 * bad:5.2f}  {report['iou']['mean']:.3f}  {report['psnr']['mean']:4.1f}   "
        f"{usage.seconds:5.0f}  {usage.peak_bytes / 2**30:.1f}"
    )


def main() -> None:
    """Run everything asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--truth", nargs="*", type=Path, default=[], metavar="FOLDER")
    parser.add_argument("--size", type=int, default=384, help="side of the pictures, in pixels")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("-o", "--output", type=Path, default=Path("output/motion"))
    arguments = parser.parse_args()
    halves = {"tuned": list(TUNED), "held-out": list(HELD_OUT)}
    names = [
        each
        for name in arguments.kinds or (["tuned"] if not arguments.truth else [])
        for each in halves.get(name, [name])
    ]
    print(HEADER, flush=True)
    for name in names:
        if name not in KINDS:
            sys.exit(f"There is no sequence {name}. There are: {', '.join(KINDS)}.")
        truth, pictures = film(name, arguments.size)
        frames = arguments.output / f"{name}-frames"
        frames.mkdir(parents=True, exist_ok=True)
        for index, picture in enumerate(pictures):
            Image.fromarray(picture).save(frames / f"{index:04d}.png")
        print(row(name, frames, truth, arguments.output / name, arguments.preset), flush=True)
    for folder in arguments.truth:
        truth = load_truth(folder / "gt.npz")
        print(row(folder.name, folder / "rgba", truth, arguments.output / folder.name, arguments.preset), flush=True)


if __name__ == "__main__":
    main()
