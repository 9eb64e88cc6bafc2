"""The page's own HTML: progress, keyframe strip, camera search, quality report. Pure functions of what is shown."""

from __future__ import annotations

from html import escape
from typing import Any

from v2m4.ui.pictures import url
from v2m4.ui.run_view import Showing

TITLES = {
    "video": "Reading the video",
    "matting": "Cutting out the object",
    "keyframes": "Choosing keyframes",
    "generation": "Making a mesh",
    "camera": "Finding the camera",
    "refinement": "Refining the look",
    "registration": "Following the motion",
    "texture": "Painting the texture",
    "export": "Writing the results",
}
PHASES = {"sampling": "Sampling", "stereo": "Stereo", "swarm": "Swarm", "descent": "Descent"}


def status(showing: Showing) -> str:
    """The progress bar with stage, keyframe, time left, and the run's link."""
    progress, state = showing.progress, showing.state
    fraction = 1.0 if state in ("finished", "example") else progress.fraction if progress else 0.0
    if state == "working":
        title, detail = _stage(showing) if progress else ("Starting", "The first pictures come within seconds.")
    else:
        words = {"finished": "Done", "stopped": "Stopped", "failed": "That did not work", "example": "Example"}
        title, detail = words.get(state, "Ready"), showing.message or "Choose a video, or click an example below."
    role = ' role="alert"' if state == "failed" else ' aria-live="polite"'
    link = (
        f'<a class="run-link" href="?run={showing.run}" title="Opens this run again, also after the browser was closed">'  # noqa: E501
        "Link to this run</a>"
        if showing.run
        else ""
    )
    percent = round(100 * fraction)
    return (
        f'<div class="status {state}"><div class="status-line"><strong>{escape(title)}</strong>'
        f'<span class="percent">{f"{percent} %" if state in ("working", "stopped") else ""}</span>{link}</div>'
        f'<div class="bar" role="progressbar" aria-label="Progress of the run" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}"><div style="width:{percent}%"></div></div>'
        f'<div class="detail"{role}>{escape(detail)}</div></div>'
    )


def _stage(showing: Showing) -> tuple[str, str]:
    progress = showing.progress
    assert progress is not None
    words = []
    if progress.keyframe in progress.keyframes and progress.keyframe is not None:
        done = len(showing.fits) if progress.stage == "registration" else progress.keyframes.index(progress.keyframe)
        words.append(f"keyframe {min(done + 1, len(progress.keyframes))} of {len(progress.keyframes)}")
    if progress.note:
        words.append(progress.note)
    if progress.seconds_left is not None:
        words.append(_left(progress.seconds_left))
    return TITLES[progress.stage], ", ".join(words) or " "


def _left(seconds: float) -> str:
    return f"about {max(1, round(seconds))} s left" if seconds < 90 else f"about {round(seconds / 60)} min left"


def strip(showing: Showing) -> str:
    """The keyframes that will be used, with the object's outline drawn on them."""
    cards = "".join(
        _picture(
            showing.frames[i],
            f"Frame {i} with the outline of the object",
            _time(showing, i),
            anchor=i == showing.anchor,
        )
        for i in showing.keyframes
        if i in showing.frames
    )
    count = len(showing.keyframes)
    masked = showing.anchor >= 0
    head = f"{count} keyframes; the outline shows what counts as the object." if masked else "Frames of the clip …"
    notes = "".join(f'<p class="warning" role="status">{escape(w)}</p>' for w in showing.warnings)
    legend = '<p class="legend">The marked frame is the anchor: its mesh is the one that moves.</p>' if masked else ""
    return f'<div class="strip"><p>{head}</p><div class="pictures small">{cards}</div>{legend}{notes}</div>'


def strip_note(text: str, problem: bool = False) -> str:
    """A sentence where the strip would be."""
    kind = ' class="problem" role="alert"' if problem else ""
    return f'<div class="strip"><p{kind}>{escape(text)}</p></div>'


def search(showing: Showing) -> str:
    """The views of the camera search beside their reference frame, newest keyframe first."""
    rows = []
    for index in reversed(list(showing.views)):
        cells = _picture(showing.frames.get(index), f"Reference frame {index}", f"Frame {index}")
        for phase, label in PHASES.items():
            path, overlap = showing.views[index].get(phase, (None, 0.0))
            over = (
                showing.state in ("finished", "example") or index in showing.fits or "descent" in showing.views[index]
            )
            words = f"{label} {100 * overlap:.0f} %" if path else f"{label}: {'not needed' if over else '…'}"
            cells += _picture(path, f"View of frame {index} after {label.lower()}", words)
        rows.append(f'<div class="pictures five">{cells}</div>')
    empty = "".join(_picture(None, "", label) for label in ("Frame", *PHASES.values()))
    body = "".join(rows) or f'<div class="pictures five">{empty}</div>'
    return f'<section class="panel search"><h3>Camera search</h3><div class="rows">{body}</div></section>'


def film(showing: Showing) -> str:
    """Each keyframe above the model as registered to it, filling up as the run goes."""
    cells = []
    for i in showing.keyframes if showing.anchor >= 0 else ():
        path, overlap = showing.fits.get(i, (None, 0.0))
        below = _picture(path, f"The model registered to frame {i}", f"{100 * overlap:.0f} %" if path else " ")
        above = _picture(showing.frames.get(i), f"Frame {i}", _time(showing, i), anchor=i == showing.anchor)
        cells.append(f'<div class="pair">{above}{below}</div>')
    if not cells:
        cells = [f'<div class="pair">{_picture(None, "", " ")}{_picture(None, "", " ")}</div>'] * 8
    return (
        '<section class="panel film"><h3>Frames and fitted model <small>with mask overlap</small></h3>'
        f'<div class="cells" tabindex="0" role="region" aria-label="Frames and fitted model">{"".join(cells)}</div></section>'  # noqa: E501
    )


def _time(showing: Showing, index: int) -> str:
    return f"{showing.times[index]:.2f} s" if index < len(showing.times) else f"frame {index}"


def _picture(path: str | None, alt: str, caption: str, anchor: bool = False) -> str:
    image = (
        f'<img src="{escape(url(path))}" alt="{escape(alt)}" width="96" height="96" decoding="async">'
        if path
        else '<span class="hole" aria-hidden="true"></span>'
    )
    return f"<figure{' class=anchor' if anchor else ''}>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def report(showing: Showing) -> str:
    """The quality report: overlap and PSNR per frame, what was uncertain, which plugs ran under which licence."""
    facts = showing.report
    if not facts:
        return '<section class="panel report"><h3>Quality</h3><p class="quiet">Measured when the run is finished.</p></section>'  # noqa: E501
    keyframes = set(facts.get("keyframes", ()))
    plots = plot(facts["iou"], "Mask overlap", "", keyframes, scale=100, unit=" %")
    plots += plot(facts["psnr"], "PSNR", "", keyframes, scale=1, unit=" dB")
    size = (
        f"{facts['frames']} frames, {len(keyframes)} keyframes, {facts['vertices']:,} vertices, {facts['faces']:,} faces; "  # noqa: E501
        f"{sum(facts['seconds'].values()):.0f} s of work."
    )
    return (
        f'<section class="panel report"><h3>Quality</h3><div class="plots">{plots}</div><p>{size}</p>'
        f"<h4>What was uncertain</h4>{_uncertain(facts)}<h4>What ran</h4>{_plugs(facts)}</section>"
    )


def _uncertain(facts: dict[str, Any]) -> str:
    sentences = list(facts.get("warnings", ()))
    if facts["iou"]["worst"] < 0.9:
        worst = facts["iou"]
        sentences.append(
            f"The outline fits worst at frame {worst['worst_frame']} ({100 * worst['worst']:.0f} % overlap)."
        )
    sentences.append("Sides that the camera never saw are guessed from the sides it saw.")
    return "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in sentences) + "</ul>"


def _plugs(facts: dict[str, Any]) -> str:
    from v2m4.plugs import PORTS

    rows = ""
    for port, name in facts["plugs"].items():
        plug = PORTS[port][name]
        use = "" if plug.commercial else " (non-commercial)"
        rows += f"<tr><th scope=row>{escape(port)}</th><td>{escape(name)}</td><td>{escape(plug.licence)}{use}</td></tr>"
    return f'<table><thead class="unseen"><tr><th>Part</th><th>Plug</th><th>Licence</th></tr></thead><tbody>{rows}</tbody></table>'  # noqa: E501


def plot(measure: dict[str, Any], title: str, note: str, marks: set[int], *, scale: float, unit: str) -> str:
    """A small line plot of a measure per frame as SVG; frames in ``marks`` (keyframes) get a dot."""
    values = [v * scale for v in measure["per_frame"]]
    low, high = min(values), max(values)
    low, high = (low - 0.5, high + 0.5) if high - low < 1 else (low, high)
    width, height, edge = 300.0, 84.0, 6.0
    step = (width - 2 * edge) / max(1, len(values) - 1)
    points = [(edge + i * step, edge + (high - v) / (high - low) * (height - 2 * edge)) for i, v in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>' for i, (x, y) in enumerate(points) if i in marks)
    mean, worst = measure["mean"] * scale, measure["worst"] * scale
    label = f"{title} per frame: mean {mean:.1f}{unit}, worst {worst:.1f}{unit} at frame {measure['worst_frame']}"
    return (
        f'<figure class="plot"><figcaption><strong>{title}</strong> mean {mean:.1f}{unit}, worst {worst:.1f}{unit}'
        f'</figcaption><svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f'<polyline points="{line}"/>{dots}</svg><div class="axis"><span>frame 0</span>'
        f"<span>{low:.0f}–{high:.0f}{unit}</span><span>{len(values) - 1}</span></div></figure>"
    )
