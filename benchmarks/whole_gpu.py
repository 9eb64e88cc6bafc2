"""The whole method on a GPU: video to GLB by the command line, full-size networks read from random checkpoints.

Each case is a process of its own with a time limit, the most telling first; what it found is written after each step,
so that nothing is lost when time runs out. See `stand_in` for what replaces the rubbish that random weights make.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.checkpoints import environment, write_checkpoints
from benchmarks.history import ROOT, commit
from benchmarks.stand_in import STRIDE, known
from v2m4.render import render_fast
from v2m4.settings import Settings, changed

KEYFRAMES, SIDE = 3, 512
PER_KEYFRAME = ("generation", "camera", "refinement", "registration")
EVEN_MEMORY = 0.02  # by how much memory after the keyframes may differ
LEAST_S = 15.0  # what a case needs to be worth starting
TOY = {
    "generator.trellis.steps": 2,
    "generator.max_faces": 500,
    "refinement.image_size": 48,
    "refinement.iterations": 1,
    "refinement.iterations_grow_every": 0,
    "refinement.supersampling": 1,
    "registration.meshes.alignment.iterations": 3,
    "registration.meshes.alignment.views": 4,
    "registration.meshes.limbs.rounds": 0,
    "registration.meshes.large_steps.iterations": 3,
    "registration.meshes.large_steps.views": 4,
    "registration.meshes.view_size": 32,
    "camera.score.size": 48,
    "camera.rigid.directions": 60,
    "camera.rigid.candidates": 6,
    "camera.algorithm1.samples": 20,
    "camera.algorithm1.swarm.size": 8,
    "camera.algorithm1.swarm.iterations": 2,
    "camera.algorithm1.descent.iterations": 3,
    "camera.algorithm1.descent.size": 48,
    "camera.stereo.size": 64,
    "camera.stereo.points": 500,
    "camera.stereo.fit_iterations": 4,
    "camera.stereo.pose_iterations": 4,
    "texture.size": 64,
    "texture.optimise.iterations": 5,
    "video.longest_side": 128,
}


@dataclass(frozen=True)
class Case:
    """A run. words: more of the command line. rubbish: nothing stands in for what random weights make. keyframes: of
    its clip. slices: on a GPU that is lent in slices, see `slices_case`."""

    name: str
    preset: str
    limit_s: float
    words: tuple[str, ...] = ()
    rubbish: bool = False
    keyframes: int = KEYFRAMES
    slices: bool = False


CASES = (
    Case("fast", "fast", 150, ("--again",)),
    Case("paper", "paper", 280, ("--again", "texture")),
    Case("registration", "", 60),
    Case("slices-fast", "fast", 150, keyframes=7, slices=True),
    Case("slices-paper", "paper", 400, keyframes=7, slices=True),
    Case("fast-low-vram", "fast", 90, ("--low-vram",)),
    Case("rubbish", "fast", 100, rubbish=True),
    Case("registration-full-views", "", 100, ("--full-views",)),
    Case("gpu-tests", "", 100),
)


def run_whole(
    out: Path, work: Path, seconds: float, toy: bool, only: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], int]:
    """Run the cases within ``seconds``; ``out`` gets log.txt, events.jsonl and run.json. Returns what each found, and
    how many failed.

    work: a folder for checkpoints (8 GB), the clip and the runs.
    """
    ends = time.monotonic() + seconds
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cpu" if toy else "cuda")
    report: dict[str, Any] = {"machine": machine(device), "commit": commit(), "toy": toy, "cases": {}}
    begin = time.perf_counter()
    written = write_checkpoints(work / "weights", device, toy=toy)
    report["checkpoints"] = {"gb": written / 1e9, "seconds": time.perf_counter() - begin}
    for keyframes in {case.keyframes for case in CASES if case.name in only or not only}:
        write_clip(work / f"clip-{keyframes}", keyframes)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    surroundings = {**os.environ, **environment(work / "weights"), "PYTHONUNBUFFERED": "1"}
    failed = 0
    for case in CASES:
        if only and case.name not in only:
            continue
        left = ends - time.monotonic()
        if left < LEAST_S:
            report["cases"][case.name] = {"checks": ["not run: no time left"]}
            continue
        command = command_of(case, out, work, device, toy)
        found = run_case(case.name, command, out, surroundings, min(case.limit_s, left))
        found["checks"] = judged(case, found)
        if case.preset and not found["checks"]:
            found |= {"whole": found["seconds"], "stages": seconds_of(found)}
        failed += bool(found["checks"])
        report["cases"][case.name] = found
        (out / "run.json").write_text(json.dumps(report, indent=1))
        with (out / "log.txt").open("a") as log:
            log.write(table(case.name, found))
        print(table(case.name, found), flush=True)
    (out / "run.json").write_text(json.dumps(report, indent=1))
    return report["cases"], failed


def command_of(case: Case, out: Path, work: Path, device: torch.device, toy: bool) -> list[str]:
    """The command line of a case."""
    python = [sys.executable, "-m"]
    if case.name.startswith("registration"):
        truth = str(ROOT / "assets" / "examples" / "truth" / "bird.npz")
        sizes = ["--faces", "500", "--preset", "draft"] if toy else ["--faces", "10000", "--preset", "paper"]
        return [
            *python,
            "benchmarks.bench_registration",
            truth,
            "--pairs",
            "1",
            "--device",
            device.type,
            *sizes,
            *case.words,
        ]
    if case.name == "gpu-tests":
        marked = [str(p) for p in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in p.read_text()]
        return [*python, "pytest", "-m", "gpu", "-q", "-rfEs", "-p", "no:cacheprovider", *marked]
    settings = work / f"{case.name}.json"
    settings.write_text(settings_of(case, device, toy).to_json())
    module, clip = f"benchmarks.{'slices' if case.slices else 'whole'}_case", work / f"clip-{case.keyframes}"
    words = [module, case.name, "--clip", str(clip), "-o", str(work / "runs" / case.name)]
    words += ["--settings", str(settings), "--events", str(out / "events.jsonl")]
    flags = ["--toy"] * toy + ["--rubbish"] * case.rubbish
    return [*python, *words, *flags, *case.words]


def settings_of(case: Case, device: torch.device, toy: bool) -> Settings:
    """The case's preset with every learned plug, and keyframes whose meshes are known."""
    learned = {"generator.name": "trellis", "stereo": "dust3r", "perceptual": "dreamsim", "device": device.type}
    keyframes = {"mode": "fixed", "stride": STRIDE, "min_stride": 1, "anchor": 0}
    changes = {**learned, **{f"keyframes.{name}": value for name, value in keyframes.items()}, "export.preview": False}
    settings = changed(Settings.of(case.preset), changes)  # type: ignore[arg-type]
    return changed(settings, TOY) if toy else settings


def write_clip(folder: Path, keyframes: int) -> None:
    """The known sequence as its camera shows it: RGBA frames up to the last keyframe."""
    folder.mkdir(parents=True)
    truth = known()
    for index in range(STRIDE * (keyframes - 1) + 1):
        posed = truth.mesh.with_vertices(truth.vertices[index])
        images = render_fast(posed, truth.camera, SIDE, ("mask", "color"), supersample=2)
        assert images.mask is not None and images.color is not None
        alpha = images.mask[0, ..., None]
        rgba = torch.cat([images.color[0] / alpha.clamp_min(1e-3), alpha], dim=-1)
        Image.fromarray((rgba.clamp(0, 1) * 255).round().byte().numpy().astype(np.uint8)).save(
            folder / f"{index:03d}.png"
        )


def run_case(name: str, command: list[str], out: Path, surroundings: dict[str, str], limit_s: float) -> dict[str, Any]:
    """Run a command, its output to the log; what it told, how it ended (None: at its limit), what it printed last."""
    log = out / "log.txt"
    with log.open("a") as stream:
        stream.write(f"\n=== {name}: {' '.join(command)}\n")
        stream.flush()
        offset = log.stat().st_size
        begin = time.monotonic()
        process = subprocess.Popen(
            command, cwd=ROOT, env=surroundings, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
        code: int | None
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with log.open("rb") as written:
        written.seek(offset)
        printed = written.read().decode(errors="replace")
    path = out / "events.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    told = [line for line in lines if line["case"] == name]
    return {"code": code, "seconds": time.monotonic() - begin, "told": told, "printed": printed[-4000:]}


def judged(case: Case, found: dict[str, Any]) -> list[str]:
    """What is wrong with a case, in words; empty where it passed."""
    if found["code"] is None:
        return [f"ran past its limit after {found['seconds']:.0f} s"]
    if "Traceback" in found["printed"]:
        return [f"a traceback: {found['printed'].strip().splitlines()[-1]}"]
    if not case.preset:
        return [f"exit code {found['code']}"] if found["code"] else []
    ended = next((line["code"] for line in found["told"] if line["event"] == "ended"), None)
    if case.rubbish:
        return [] if ended in (0, 2) else [f"ended with {ended}, neither a GLB nor a sentence"]
    wrong = [] if ended == 0 else [f"ended with {ended}: {found['printed'].strip().splitlines()[-1]}"]
    after = [line["allocated_gb"] for line in last_of_keyframes(found) if "allocated_gb" in line]
    if after and max(after) > (1 + EVEN_MEMORY) * min(after):
        wrong.append(f"memory after the keyframes is not even: {after} GB")
    return wrong


def last_of_keyframes(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The last step of each keyframe that went through all its stages but the registration."""
    steps = [line for line in found["told"] if line["event"] == "step" and line["stage"] in PER_KEYFRAME]
    steps = [line for line in steps if line["run"] == "first"]
    whole = {line["keyframe"] for line in steps if line["stage"] == "refinement"}
    return list({line["keyframe"]: line for line in steps if line["keyframe"] in whole}.values())


def seconds_of(found: dict[str, Any]) -> dict[str, float]:
    """Seconds of every stage, over all keyframes."""
    total: dict[str, float] = {}
    for line in found["told"]:
        if line["event"] == "step" and line["run"] == "first":
            total[line["stage"]] = total.get(line["stage"], 0.0) + line["seconds"]
    return total


def table(name: str, found: dict[str, Any]) -> str:
    """A case's steps and judgement as text."""
    lines = [f"\n--- {name}: {found['seconds']:.1f} s, {'; '.join(found['checks']) or 'passed'}"]
    steps = [line for line in found["told"] if line["event"] == "step"]
    for run, stage in dict.fromkeys((line["run"], line["stage"]) for line in steps):
        mine = [line for line in steps if (line["run"], line["stage"]) == (run, stage)]
        seconds = ", ".join(f"{line['seconds']:.2f}" for line in mine)
        last = mine[-1]
        held = {k: last[k] for k in ("allocated_gb", "reserved_gb", "peak_gb", "host_peak_gb") if k in last}
        lines.append(f"{run:6s} {stage:14s} {seconds} s   {held}")
    other = ("accuracy", "ended", "slice", "without", "lent")
    lines += [json.dumps(line) for line in found["told"] if line["event"] in other]
    if not steps:
        lines.append(found["printed"][-1500:])
    return "\n".join(lines) + "\n"


def machine(device: torch.device) -> str:
    """What the numbers were measured on."""
    if device.type != "cuda":
        return f"CPU, {os.cpu_count()} cores, torch {torch.__version__}"
    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
