"""The page's own HTML: progress, mask preview, keyframes, camera search, downloads. Pure functions of what is shown."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from v2m4.recipe import Recipe
from v2m4.steps import STAGES
from v2m4.ui.pictures import url
from v2m4.ui.quality import plugs_table, verdict_words
from v2m4.ui.run_view import RunView
from v2m4.ui.runner import gpu_seconds

TITLES = {spec.name: spec.title.capitalize() for spec in STAGES}
PHASES = {
    "sampling": "From all sides",
    "stereo": "By depth",
    "swarm": "Closer",
    "descent": "Exactly",
}
DOWNLOADS = {
    "glb": ("Model (GLB)", ".glb"),
    "preview": ("Video, side by side", ".preview.mp4"),
    "zip": ("Everything (zip)", ".zip"),
    "settings": ("Settings", ".settings.json"),
}
_TITLES = {
    "ready": "Ready",
    "waiting": "Waiting for its turn",
    "finished": "Done",
    "stopped": "Stopped",
    "failed": "That did not work",
    "example": "A finished example",
}


def status(view: RunView) -> str:
    """The progress bar with stage, keyframe, time left, and the run's links."""
    if view.state == "working":
        title, detail = _stage(view) if view.progress else ("Starting", "The first pictures come within seconds.")
    else:
        title, detail = _TITLES.get(view.state, "Ready"), _detail(view)
    verdict = f"{verdict_words(view.report)}<br>" if view.state == "finished" else ""
    percent = int(100 * view.fraction)
    barred = view.state in ("working", "stopped", "failed", "waiting") and (
        view.fraction > 0 or view.state == "working"
    )
    bar = (
        f'<div class="bar" role="progressbar" aria-label="Progress of the run" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}"><div style="width:{percent}%"></div></div>'
    )
    return (
        f'<div class="status {view.state}{" own" if view.run else ""}" data-fraction="{view.fraction:.4f}">'
        '<div class="status-line">'
        f'<strong>{escape(title)}</strong><span class="percent">{f"{percent} %" if barred else ""}</span>{_links(view)}'
        f"</div>{bar if barred else ''}"
        f'<div class="detail"{" role=alert" if view.state == "failed" else ""}>{verdict}{escape(detail)}</div></div>'
    )


def _detail(view: RunView) -> str:
    match view.state:
        case "waiting":
            wait = f", {_duration(view.wait_s)} until its turn" if view.wait_s else ""
            return f"Place {view.place} in the queue{wait}. You may close the page and come back by its link."
        case "finished":
            return f"{view.name} is an animated model now: play it, turn it, take it along."
        case "example":
            return view.message or f"This is what came of the clip “{view.name}”. “Reconstruct” makes it anew."
        case "ready":
            return view.message or (
                "All is built on the orange outline: click a picture to mend it. If it is right, press “Reconstruct”."
            )
        case "empty":
            return view.message or "Choose a video, or click an example."
    return view.message


def _links(view: RunView) -> str:
    if not view.run or view.state == "ready":
        return ""
    own = "" if view.read_only else (
        f'<button type="button" class="link" data-copy="?run={view.run}" '
        'title="Opens this run again, also after the browser was closed. Whoever has it can change the run.">'
        "Copy my link</button>"
    )  # fmt: skip
    others = (
        f'<button type="button" class="link" data-copy="?view={view.link}" title="For others: they can look and '
        'download, but change nothing.">Copy link to show</button>'
        if view.done
        else ""
    )
    return f'<span class="links">{own}{others}</span>'


def _stage(view: RunView) -> tuple[str, str]:
    progress = view.progress
    assert progress is not None
    words = []
    if progress.keyframe is not None and progress.keyframes:
        words.append(f"keyframe {min(len(view.fits) + 1, len(progress.keyframes))} of {len(progress.keyframes)}")
    if progress.note:
        words.append(progress.note)
    if progress.seconds_left is not None:
        words.append(f"{_duration(progress.seconds_left)} left")
    return TITLES[progress.stage], ", ".join(words) or " "


def _duration(seconds: float) -> str:
    return f"about {max(1, round(seconds))} s" if seconds < 90 else f"about {round(seconds / 60)} min"


def mask_preview(view: RunView, points: str = "") -> str:
    """The keyframes with the object's outline, which can be mended by clicks (``static/mask.js``)."""
    if view.state == "example":
        return ""
    if view.state == "failed" and view.run and not view.frames:
        return mask_note(view.message, problem=True)
    if not view.frames:
        return mask_note("Reading the video …") if view.state in ("waiting", "working") else ""
    masked = view.anchor >= 0
    facts = {
        "frames": [
            {"index": i, "time": _time(view, i), "src": url(view.frames[i])} for i in view.keyframes if i in view.frames
        ],
        "anchor": view.anchor,
        "points": points,
        "editable": masked
        and not view.read_only
        and view.state in ("ready", "working", "stopped", "finished", "waiting"),
    }
    head = (
        f"{len(view.keyframes)} keyframes; the outline shows what counts as the object."
        if masked
        else "Looking for the object; its outline appears frame by frame …"
    )
    notes = "".join(f'<p class="warning" role="status">{escape(w)}</p>' for w in (*view.notes, *view.warnings))
    data = escape(json.dumps(facts), quote=True)
    return f'<div class="mask"><p>{head}</p><v2m4-mask data-mask="{data}"></v2m4-mask>{notes}</div>'


def mask_note(text: str, problem: bool = False) -> str:
    """A sentence where the masks would be."""
    return f'<div class="mask">{note(text) if problem else f"<p>{escape(text)}</p>"}</div>'


def note(sentence: str) -> str:
    """A sentence about what is wrong, for beside the input it concerns; "" for none."""
    return f'<p class="problem" role="alert">{escape(sentence)}</p>' if sentence else ""


def beforehand(view: RunView, recipe: Recipe) -> str:
    """What a run will do, for how long and with what, before it is started; and what would make it better."""
    progress = view.progress
    steps = len(view.keyframes)
    gpu = gpu_seconds(recipe, steps)
    needs = [f"{_duration(progress.seconds_left)} on this machine" if progress and progress.seconds_left else ""]
    needs.append(f"about {gpu} s of GPU time" if gpu else "no GPU time")
    memory = max([1.0, *(plug.memory_gb for port in recipe.names if (plug := recipe.plug(port)))])
    needs.append(f"{memory:g} GB of memory")
    words = ", ".join(w for w in needs if w)
    advice = "".join(f"<li>{escape(a)}</li>" for a in _advice(view, recipe))
    names = recipe.names | ({"matting": view.method} if view.method else {})
    return (
        f'<div class="before"><p>{words[0].upper()}{words[1:]}.</p><details><summary>What will run, and what would '
        f"make it better</summary>{plugs_table(names)}<ul>{advice}</ul></details></div>"
    )


def _advice(view: RunView, recipe: Recipe) -> list[str]:
    found = []
    if recipe.names["generator"] in ("inflate", "sculpt"):
        found.append(
            "The mesh is made from one outline and a guess at its depth, so its back is a guess too. A mesh of your "
            "own, or a generator on a GPU, knows better."
        )
    if len(view.times) < 16:
        found.append("The clip is short; two or three seconds of motion show more of the object.")
    if view.warnings:
        found.append("Mend the mask where a warning names a frame: all else builds on it.")
    found.append("Best: a still camera, the whole object in the picture, soft light, a background of another colour.")
    return found


def search(view: RunView) -> str:
    """The views of the camera search beside their reference frame, newest keyframe first."""
    rows = []
    for index in reversed(list(view.views)):
        cells = _picture(view.frames.get(index), f"Frame {index}", "Video")
        for phase, label in PHASES.items():
            if phase in view.views[index]:
                path, overlap = view.views[index][phase]
                cells += _picture(path, f"The model, camera {label.lower()}", f"{label}: {100 * overlap:.0f} %")
        rows.append(f'<div class="pictures search-row">{cells}</div>')
    if not rows:
        return ""
    return (
        '<section class="panel search" aria-label="Finding the camera"><h2>Finding the camera</h2><p class="quiet">'
        "From where the object was filmed: the model is laid over the frame until the outlines agree.</p>"
        f'<div class="rows" tabindex="0" role="region" aria-label="Views tried">{"".join(rows)}</div></section>'
    )


def keyframe_gallery(view: RunView) -> str:
    """Each keyframe above the model as fitted to it, filling up as the run goes; a click shows that moment."""
    if view.anchor < 0 or not (view.fits or view.state in ("working", "stopped")):
        return ""
    cells = []
    for i in view.keyframes:
        path, overlap = view.fits.get(i) or view.sketches.get(i) or (None, 0.0)
        below = _picture(path, f"The model at frame {i}", f"{100 * overlap:.0f} %" if path else " ")
        above = _picture(view.frames.get(i), f"Frame {i}", _time(view, i), anchor=i == view.anchor)
        time = f"{view.times[i]:.4f}" if i < len(view.times) else "0"
        inner = f"{above}{below}"
        cells.append(
            f'<button type="button" class="pair" data-time="{time}" title="Show this moment">{inner}</button>'
            if view.done
            else f'<div class="pair">{inner}</div>'
        )
    return (
        '<section class="panel gallery" aria-label="Keyframes"><h2>Keyframes <small>each above the model as fitted to '
        'it, with the overlap of the outlines</small></h2><div class="cells" tabindex="0" role="region" '
        f'aria-label="Keyframes and fitted model">{"".join(cells)}</div></section>'
    )


def downloads(view: RunView) -> str:
    """Links to the results."""
    links = "".join(
        f'<a class="download" id="download-{key}" href="{escape(url(view.files[key]))}" '
        f'download="{escape(view.name + ending)}">{label}</a>'
        for key, (label, ending) in DOWNLOADS.items()
        if key in view.files
    )
    return f'<nav class="downloads" aria-label="Downloads">{links}</nav>' if links else ""


def recent_runs(entries: list[dict[str, Any]]) -> str:
    """The browser's last runs: picture, name, state, and a way to delete each."""
    if not entries:
        return ""
    cards = "".join(
        f'<li><a href="?run={entry["run"]}">'
        + (f'<img src="{escape(url(entry["picture"]))}" alt="" width="56" height="56">' if entry["picture"] else "")
        + f"<span><strong>{escape(entry['name'])}</strong><small>{escape(entry['started'])}</small></span></a>"
        f'<button type="button" data-delete="{entry["run"]}" aria-label="Delete the run of {escape(entry["name"])}" '
        'title="Delete this run and its files">✕</button></li>'
        for entry in entries
    )
    return (
        f'<section class="recent" aria-label="Your runs"><h2>Your runs in this browser</h2><ul>{cards}</ul></section>'
    )


def _time(view: RunView, index: int) -> str:
    return f"{view.times[index]:.2f} s" if index < len(view.times) else f"frame {index}"


def _picture(path: str | None, alt: str, caption: str, anchor: bool = False) -> str:
    image = (
        f'<img src="{escape(url(path))}" alt="{escape(alt)}" width="96" height="96" decoding="async" loading="lazy">'
        if path
        else '<span class="hole" aria-hidden="true"></span>'
    )
    kind = " anchor" if anchor else ""
    return f'<span class="figure{kind}">{image}<span class="caption">{escape(caption)}</span></span>'
