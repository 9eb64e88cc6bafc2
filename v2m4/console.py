"""A run in the terminal: a progress bar with stage, keyframe and time left; plain lines when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from v2m4.errors import V2M4Error
from v2m4.events import (
    CameraFound,
    Event,
    Finished,
    ForegroundReady,
    FramesReady,
    KeyframePassedOver,
    KeyframesChosen,
    MeshGenerated,
    MeshRegistered,
    Notice,
    PosesMended,
    RunProgress,
    RunStarted,
)
from v2m4.steps import STAGES


def watch(events: Iterator[Event], *, quiet: bool = False) -> Finished:
    """Consume a run's events, telling of them on standard error; returns the last."""
    console = Console(stderr=True, quiet=quiet)
    finished: Finished | None = None
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[left]}"), console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("starting", total=1.0, left="")
        for event in events:
            if isinstance(event, RunProgress):
                left = "" if event.seconds_left is None else f"about {_minutes(event.seconds_left)} left"
                bar.update(task, completed=event.fraction, description=_title(event), left=left)
            elif isinstance(event, Finished):
                finished = event
                bar.update(task, completed=1.0, description="done", left="")
            elif line := _line(event):
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
    if finished is None:
        raise V2M4Error("The run ended without a result. Give the same command again.")
    if quiet and finished.report.get("verdict", {}).get("level") == "weak":
        print(finished.report["verdict"]["says"], file=sys.stderr)
    for line in [] if quiet else _summary(finished):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return finished


def _title(event: RunProgress) -> str:
    title = next((spec.title for spec in STAGES if spec.name == event.stage), event.stage)
    if event.keyframe is None or event.keyframe not in event.keyframes:
        return title
    return f"{title} (keyframe {event.keyframes.index(event.keyframe) + 1} of {len(event.keyframes)})"


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60} s"


def _line(event: Event) -> str:
    match event:
        case RunStarted(folder, resumed):
            return f"going on with the run in {folder}" if resumed else f"results go to {folder}"
        case Notice(sentence):
            return f"note: {sentence}"
        case FramesReady(frames, (width, height), seconds, warnings):
            told = f"{frames} frames of {width} x {height}, {seconds:.2f} s"
            return "\n".join([told, *(f"warning: {w}" for w in warnings)])
        case ForegroundReady(method, warnings):
            return "\n".join([f"object cut out ({method})", *(f"warning: {w}" for w in warnings)])
        case KeyframesChosen(indices, anchor, _):
            return f"{len(indices)} keyframes, anchored at frame {anchor}"
        case MeshGenerated(keyframe, faces, _, warnings):
            return "\n".join([f"frame {keyframe}: mesh of {faces} faces", *(f"warning: {w}" for w in warnings)])
        case KeyframePassedOver(keyframe, why):
            return f"warning: frame {keyframe} has no mesh, the animation goes over it: {why}"
        case CameraFound(keyframe, overlap):
            return f"frame {keyframe}: camera found, mask overlap {overlap:.3f}"
        case MeshRegistered(keyframe, overlap, _):
            return f"frame {keyframe}: registered, mask overlap {overlap:.3f}"
        case PosesMended(mended, poses) if mended:
            return f"torn places mended in {mended} of {poses} poses"
    return ""


def _summary(finished: Finished) -> list[str]:
    """The verdict first, then where everything lies."""
    judged = finished.report.get("verdict")
    lines = [judged["says"]] if judged else []
    lines += [f"{name:9} {path}" for name, path in finished.files.items()]
    overlap, psnr = (finished.report.get(key, {}) for key in ("iou", "psnr"))
    if "mean" in overlap and "mean" in psnr:
        lines.append(f"mask overlap {overlap['mean']:.3f}, PSNR {psnr['mean']:.1f} dB, over all frames that show it")
    if "topology" in finished.report:
        lines.append(_soundness(finished.report))
    return lines


def _soundness(report: Mapping[str, Any]) -> str:
    """What the mesh is, and how much of it the video shows, in one line."""
    shape = report["topology"]
    pieces = "one piece" if shape["components"] == 1 else f"{shape['components']} pieces"
    tight = "watertight" if shape["watertight"] else f"{shape['open_edges']} open edges"
    words = [f"{shape['triangles']} triangles, {pieces}, {tight}", "" if shape["manifold"] else "not manifold"]
    shares = {
        "unseen_surface": "of the surface never seen",
        "torn_faces": "of the faces torn",
        "crumpled_faces": "crumpled",
    }
    words += [f"{report[key]:.0%} {what}" for key, what in shares.items() if key in report]
    return ", ".join(filter(None, words))
