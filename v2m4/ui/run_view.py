"""What the page shows of a run: built up from its events, read from its folder, or from a result we ship."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from v2m4.animation import Animation
from v2m4.artefacts import keyframes_of, masked_clip, moving_vertices, posed_mesh, read_clip, registered_vertices
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
    MeshSketched,
    Notice,
    PosesMended,
    PoseView,
    RunProgress,
)
from v2m4.export.glb import write_glb
from v2m4.export.placement import camera_description
from v2m4.files import write_atomically
from v2m4.run import Step
from v2m4.settings import ExportSettings
from v2m4.ui.bundle import bundle
from v2m4.ui.pictures import masked_picture, publish, thumbnail
from v2m4.ui.runner import Failed, Stopped, recalled, standing
from v2m4.ui.store import RunRecord
from v2m4.ui.words import page_words

State = Literal["empty", "ready", "waiting", "working", "stopped", "failed", "finished", "example"]
_PARTS = 6
_STILLS: dict[type[Event], str] = {
    MeshSketched: "A first mesh, of frame {} alone",
    MeshGenerated: "The mesh of frame {}",
    MeshRefined: "The refined mesh of frame {}",
}


@dataclass
class RunView:
    """The facts on show. Pictures and files are paths that the browser may fetch.

    run: the reference of its link, the owner's or (``shared``) that for others. fraction: of the whole run, never
    falling. place, wait_s: in the queue, from 1, and the seconds until its turn. content: (width, height) of the clip's
    picture in its square, as shares of the side. outlined: frames that show their outline while the mask is made.
    notes: what the visitor should know beforehand. sketches: what was followed so far, on the way to the fits;
    poses: (V,3) of either.
    """

    name: str = ""
    run: str = ""
    link: str = ""
    read_only: bool = False
    state: State = "empty"
    progress: RunProgress | None = None
    fraction: float = 0.0
    place: int = 0
    wait_s: float | None = None
    message: str = ""
    notes: tuple[str, ...] = ()
    keyframes: tuple[int, ...] = ()
    anchor: int = -1
    times: tuple[float, ...] = ()
    duration: float = 0.0
    content: tuple[float, float] = (1.0, 1.0)
    method: str = ""
    frames: dict[int, str] = field(default_factory=dict)
    outlined: tuple[int, ...] = ()
    views: dict[int, dict[str, tuple[str, float]]] = field(default_factory=dict)
    sketches: dict[int, tuple[str, float]] = field(default_factory=dict)
    fits: dict[int, tuple[str, float]] = field(default_factory=dict)
    poses: dict[int, Tensor] = field(default_factory=dict, repr=False)
    model: str | None = None
    model_label: str = ""
    warnings: tuple[str, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(record: RunRecord, **facts: Any) -> RunView:
        """The view of a run before anything is known of it."""
        name = "".join(c for c in record.source.stem if c.isprintable())  # nothing that turns other words around
        return RunView(name=name or "clip", run=record.id, link=record.shared, **facts)

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.state in ("finished", "example")

    def copy(self) -> RunView:
        """A copy that later events do not change."""
        views = {k: dict(v) for k, v in self.views.items()}
        return replace(self, frames=dict(self.frames), views=views, sketches=dict(self.sketches), fits=dict(self.fits))


def update(view: RunView, event: Event, record: RunRecord, *, grow: bool = True) -> bool:
    """Take in an event; True if it brought something to look at rather than mere progress.

    grow: also write the animation so far, now and then.
    """
    match event:
        case RunProgress():
            view.progress, view.fraction = event, max(view.fraction, event.fraction)
            return event.stage == "matting" and _mask_next(view, record)
        case Notice(sentence):
            view.notes = tuple(dict.fromkeys((*view.notes, sentence)))
        case FramesReady(frames, _, _, warnings):
            view.notes = tuple(dict.fromkeys((*view.notes, *warnings)))
            _show_few(view, _clip_of(view, record), frames)
        case ForegroundReady(method, warnings):
            view.method, view.warnings = method, tuple(map(page_words, warnings))
        case KeyframesChosen(indices, anchor, images):
            clip = _clip_of(view, record)
            view.keyframes, view.anchor = indices, anchor
            view.frames = {i: masked_picture(clip.path(i), image) for i, image in zip(indices, images, strict=True)}
            if not record.thumbnail.exists():
                record.thumbnail.write_bytes(Path(thumbnail(images[indices.index(anchor)], 128)).read_bytes())
        case CameraView(keyframe, phase, image, _, overlap):
            view.views.setdefault(keyframe, {})[phase] = (thumbnail(image), overlap)
        case MeshSketched(keyframe, path) | MeshGenerated(keyframe, _, path) | MeshRefined(keyframe, path):
            view.model, view.model_label = publish(path), _STILLS[type(event)].format(keyframe)
        case PoseView(keyframe, image, overlap, vertices):
            view.sketches[keyframe] = (thumbnail(image), overlap)
            if grow:
                _grow(view, record, keyframe, torch.from_numpy(vertices), len(view.sketches))
        case MeshRegistered(keyframe, overlap, preview):
            if preview is not None:
                view.fits[keyframe] = (thumbnail(preview), overlap)
            if grow:
                _grow(view, record, keyframe, registered_vertices(record.look(), keyframe), len(view.fits))
        case PosesMended() if grow:
            view.model, view.model_label = publish(growing_animation(record)), "The animation before its texture"
        case Finished(files, report):
            view.state, view.report, view.fraction = "finished", report, 1.0
            view.files = downloads(record, files)
            view.model, view.model_label = view.files["glb"], "The animation"
        case Stopped():
            view.state = "stopped"
            view.message = "Stopped. What is finished is kept; “Continue” goes on from here."
        case Failed(sentence):
            view.state, view.message = "failed", page_words(sentence)
    return True


def _show_few(view: RunView, clip: Clip, frames: int) -> None:
    """Some of the clip's frames, spread over it, until the keyframes are known."""
    few = sorted({round(i * (frames - 1) / 5) for i in range(6)})
    view.keyframes, view.anchor = tuple(few), -1
    view.frames, view.outlined = {i: thumbnail(clip.path(i)) for i in few}, ()


def _mask_next(view: RunView, record: RunRecord) -> bool:
    """Show the outline on one more of the frames on show, if its mask is written by now; whether there was one."""
    run = record.look()
    for index in view.keyframes:
        masked = run.place(Step("matting")) / "masked" / f"{index:05d}.png"
        if index not in view.outlined and masked.is_file():
            view.frames[index] = masked_picture(read_clip(run).path(index), masked)
            view.outlined = (*view.outlined, index)
            return True
    return False


def _clip_of(view: RunView, record: RunRecord) -> Clip:
    """The clip, whose facts are noted."""
    clip = read_clip(record.look())
    left, top, right, bottom = clip.content_box()
    view.times, view.duration = clip.times, clip.duration
    view.content = (right - left) / clip.side, (bottom - top) / clip.side
    return clip


def _grow(view: RunView, record: RunRecord, keyframe: int, vertices: Tensor, known: int) -> None:
    """Take in a keyframe's pose, of which ``known`` are known by now. After each part of them, often enough to see it
    grow and seldom enough not to disturb, the animation so far is shown."""
    view.poses[keyframe] = vertices
    if known % max(2, -(-len(view.keyframes) // _PARTS)) == 0 and known < len(view.keyframes):
        view.model = publish(growing_animation(record, view.poses))
        view.model_label = f"The animation so far: {len(view.poses)} keyframes"


def growing_animation(record: RunRecord, found: dict[int, Tensor] | None = None) -> Path:
    """The animation in the look of the first mesh: over the keyframes' poses (V,3) ``found`` so far, or (None) over all
    of them with their torn places mended."""
    run = record.look()
    clip = masked_clip(run)
    indices = list(keyframes_of(run)[0]) if found is None else sorted(found)
    poses = moving_vertices(run) if found is None else torch.stack([found[i] for i in indices])
    mesh = posed_mesh(run, keyframes_of(run)[1]).with_vertices(poses[0])
    times = tuple(clip.times[i] - clip.times[indices[0]] for i in indices)
    animation = Animation(poses, times, mesh, times[-1] + 1e-3, clip.name, tuple(indices))
    path = run.work / "growing.glb"
    extras = {"generator": "v2m4", "camera": camera_description(animation, clip)}
    write_glb(path, animation, ExportSettings(quantise=True, texture_format="jpeg"), extras)
    return path


def downloads(record: RunRecord, files: dict[str, Path]) -> dict[str, str]:
    """The results under names made from the clip's, with a zip of everything; returns paths to fetch."""
    return {name: publish(path) for name, path in bundle(record.folder, files, record.source.stem).items()}


def shipped(folder: Path) -> RunView:
    """A finished result that lies in ``folder`` as `scripts.make_results` left it."""
    data = json.loads((folder / "view.json").read_text())
    pictures = folder / "pictures"
    results = {"glb": "animation.glb", "preview": "preview.mp4", "settings": "settings.json", "report": "report.json"}
    files = {key: folder / name for key, name in results.items()}
    published = {key: publish(path) for key, path in bundle(folder, files, folder.name, writable=False).items()}
    return RunView(
        name=folder.name,
        state="example",
        fraction=1.0,
        keyframes=tuple(data["keyframes"]),
        anchor=data["anchor"],
        times=tuple(data["times"]),
        duration=data["duration"],
        content=tuple(data["content"]),
        method=data["method"],
        frames={int(k): publish(pictures / v) for k, v in data["frames"].items()},
        views={int(k): {p: (publish(pictures / f), o) for p, (f, o) in v.items()} for k, v in data["views"].items()},
        fits={int(k): (publish(pictures / f), o) for k, (f, o) in data["fits"].items()},
        model=published["glb"],
        model_label="The animation",
        report=json.loads(files["report"].read_text()),
        files=published,
    )


def replay(record: RunRecord, events: Iterator[Event]) -> RunView:
    """What a run shows after ``events``."""
    view = RunView.of(record, state="working")
    for event in events:
        update(view, event, record, grow=False)
    return view


def note_end(record: RunRecord, state: State | Literal[""], message: str) -> None:
    """Keep for later visitors why a run ended before its end; "" for nothing to tell."""
    write_atomically(record.folder / "ended.json", json.dumps({"state": state, "message": message}).encode())


def at_rest(record: RunRecord) -> RunView:
    """What a run shows that nobody works on: everything finished, the true fraction, and why it ended."""
    view = replay(record, recalled(record))
    if view.state == "finished":
        return view
    view.progress = standing(record)
    view.fraction = view.progress.fraction if view.progress else 0.0
    ended = record.folder / "ended.json"
    told: dict[str, Any] = json.loads(ended.read_text()) if ended.exists() else {"state": ""}
    if told["state"]:
        view.state, view.message = told["state"], told["message"]
    elif record.begun:
        view.state = "stopped"
        view.message = (
            "The server was started anew while this run was under way. What is finished is kept; “Continue” goes on "
            "from here."
        )
    else:
        view.state = "ready"
    return view
