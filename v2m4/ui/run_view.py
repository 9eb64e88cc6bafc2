"""What the right side of the page shows: built up from a run's events, or read from a finished result we ship."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from v2m4.clip import Clip
from v2m4.events import (
    CameraView,
    Event,
    Finished,
    ForegroundReady,
    FramesReady,
    KeyframesChosen,
    MeshGenerated,
    MeshRefined,
    MeshRegistered,
    RunProgress,
)
from v2m4.ui.pictures import masked_thumbnail, publish, thumbnail
from v2m4.ui.runner import Failed, Stopped
from v2m4.ui.store import Ticket

State = Literal["empty", "working", "stopped", "failed", "finished", "example"]
_PARTS = 4


@dataclass
class Showing:
    """The facts on show. Pictures and files are paths that the browser may fetch."""

    name: str = ""
    run: str = ""
    state: State = "empty"
    progress: RunProgress | None = None
    message: str = ""
    keyframes: tuple[int, ...] = ()
    anchor: int = -1
    times: tuple[float, ...] = ()
    frames: dict[int, str] = field(default_factory=dict)
    views: dict[int, dict[str, tuple[str, float]]] = field(default_factory=dict)
    fits: dict[int, tuple[str, float]] = field(default_factory=dict)
    model: str | None = None
    model_label: str = "3D model"
    warnings: tuple[str, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def update(showing: Showing, event: Event, ticket: Ticket) -> bool:
    """Take in an event; True if it brought something to look at rather than mere progress."""
    work = ticket.folder / "work"
    match event:
        case RunProgress():
            showing.progress = event
            return False
        case FramesReady(frames):
            clip = Clip.load(work / "frames")
            showing.times = clip.times
            few = sorted({round(i * (frames - 1) / 5) for i in range(6)})
            showing.keyframes = tuple(few)
            showing.frames = {i: thumbnail(clip.path(i)) for i in few}
        case ForegroundReady(_, warnings):
            showing.warnings = warnings
        case KeyframesChosen(indices, anchor, images):
            clip = Clip.load(work / "frames")
            showing.times, showing.keyframes, showing.anchor = clip.times, indices, anchor
            showing.frames = {
                i: masked_thumbnail(clip.path(i), image) for i, image in zip(indices, images, strict=True)
            }
        case CameraView(keyframe, phase, image, _, overlap):
            showing.views.setdefault(keyframe, {})[phase] = (thumbnail(image), overlap)
        case MeshGenerated(keyframe, _, path):
            showing.model, showing.model_label = publish(path), f"Mesh of frame {keyframe}"
        case MeshRefined(keyframe, path):
            showing.model, showing.model_label = publish(path), f"Refined mesh of frame {keyframe}"
        case MeshRegistered(keyframe, overlap, preview):
            if preview is not None:
                showing.fits[keyframe] = (thumbnail(preview), overlap)
            if _worth_a_look(showing):
                grown = growing_animation(ticket, sorted(showing.fits))
                showing.model, showing.model_label = publish(grown), f"Animation so far: {len(showing.fits)} keyframes"
        case Finished(files, report):
            showing.state, showing.report = "finished", report
            showing.message = "Finished."
            showing.files = downloads(ticket, files)
            showing.model, showing.model_label = showing.files["glb"], "The animation"
        case Stopped():
            showing.state = "stopped"
            showing.message = "Stopped. What is finished is kept; “Continue” goes on from here."
        case Failed(sentence):
            showing.state, showing.message = "failed", sentence
    return True


def _worth_a_look(showing: Showing) -> bool:
    """After each quarter of the keyframes: often enough to see it grow, seldom enough not to disturb."""
    step = max(2, -(-len(showing.keyframes) // _PARTS))
    return len(showing.fits) % step == 0 and len(showing.fits) < len(showing.keyframes)


def growing_animation(ticket: Ticket, indices: list[int]) -> Path:
    """The animation over the keyframes registered so far, in the look of the first mesh."""
    import torch

    from v2m4.animation import Animation
    from v2m4.export.glb import write_glb
    from v2m4.settings import ExportSettings
    from v2m4.steps import keyframes_of, masked_clip, posed_mesh, registered_vertices

    run = ticket.run()
    clip = masked_clip(run)
    poses = torch.stack([registered_vertices(run, i) for i in indices])
    mesh = posed_mesh(run, keyframes_of(run)[1]).with_vertices(poses[0])
    times = tuple(clip.times[i] - clip.times[indices[0]] for i in indices)
    animation = Animation(poses, times, mesh, times[-1] + 1e-3, clip.name, tuple(indices))
    path = run.work / "growing.glb"
    write_glb(path, animation, ExportSettings(quantise=True, texture_format="jpeg"), {"generator": "v2m4"})
    return path


def downloads(ticket: Ticket, files: dict[str, Path]) -> dict[str, str]:
    """The results under names made from the clip's, with a zip of everything; returns paths to fetch."""
    from v2m4.ui.bundle import bundle

    return {name: publish(path) for name, path in bundle(ticket.folder, files, ticket.source.stem).items()}


def shipped(folder: Path) -> Showing:
    """A finished result that lies in ``folder`` as `scripts.make_results` left it."""
    from v2m4.ui.bundle import bundle

    data = json.loads((folder / "showing.json").read_text())
    pictures = folder / "pictures"
    results = {"glb": "animation.glb", "preview": "preview.mp4", "settings": "settings.json", "report": "report.json"}
    files = {key: folder / name for key, name in results.items()}
    published = {key: publish(path) for key, path in bundle(folder, files, folder.name, writable=False).items()}
    return Showing(
        name=folder.name,
        state="example",
        keyframes=tuple(data["keyframes"]),
        anchor=data["anchor"],
        times=tuple(data["times"]),
        frames={int(k): publish(pictures / v) for k, v in data["frames"].items()},
        views={int(k): {p: (publish(pictures / f), o) for p, (f, o) in v.items()} for k, v in data["views"].items()},
        fits={int(k): (publish(pictures / f), o) for k, (f, o) in data["fits"].items()},
        model=published["glb"],
        model_label="The animation",
        report=json.loads(files["report"].read_text()),
        files=published,
        message=f"A finished example: {folder.name}. Choose a video of your own, or press “Reconstruct” to make this one.",  # noqa: E501
    )


def replay(ticket: Ticket, events: Iterator[Event]) -> Showing:
    """What a run shows after ``events``."""
    showing = Showing(name=ticket.source.stem, run=ticket.id, state="working")
    for event in events:
        update(showing, event, ticket)
    return showing
