"""How good a result is: a verdict in words, a plot per measure whose frames can be clicked, and what ran."""

from __future__ import annotations

from html import escape
from typing import Any

from v2m4.plugs import PORTS
from v2m4.ui.run_view import RunView
from v2m4.ui.words import page_words


def quality(view: RunView) -> str:
    """The report: overlap and colour per frame, what was uncertain, which plugs ran under which licence."""
    facts = view.report
    if not facts:
        return ""
    times, keyframes = list(view.times), set(facts.get("keyframes", ()))
    plots = plot(
        facts["iou"], "Outline", "overlap of the model's outline with the object's", times, keyframes, 100, " %"
    )
    plots += plot(
        facts["psnr"], "Colour", "likeness of the colours (PSNR; above 20 dB is close)", times, keyframes, 1, " dB"
    )
    size = (
        f"{facts['frames']} frames, {len(keyframes)} keyframes, {facts['vertices']:,} points, {facts['faces']:,} "
        f"triangles; {sum(facts['seconds'].values()):.0f} s of work."
    )
    return (
        f'<section class="panel quality" aria-label="Quality"><h2>Quality</h2>{_verdict(view)}'
        f'<div class="plots">{plots}</div><h3>What is uncertain</h3>{_uncertain(facts)}'
        f"<details><summary>What ran, and under which licence</summary>{plugs_table(facts['plugs'])}"
        f"<p>{size}</p></details>"
        "</section>"
    )


def weakest_frames(facts: dict[str, Any]) -> list[int]:
    """The frames that the report's verdict points at."""
    found: list[int] = facts.get("verdict", {}).get("weakest_frames", [])
    return found


def stretches(indices: list[int]) -> list[tuple[int, int]]:
    """Runs of consecutive indices as (first, last)."""
    found: list[tuple[int, int]] = []
    for i in indices:
        if found and i == found[-1][1] + 1:
            found[-1] = (found[-1][0], i)
        else:
            found.append((i, i))
    return found


def _verdict(view: RunView) -> str:
    """The report's own sentence, then the frames it names, to be clicked."""
    judged = view.report.get("verdict")
    if judged is None:  # a run of an earlier version
        return ""
    buttons = "".join(
        f'<button type="button" class="jump" data-time="{view.times[a]:.4f}">'
        f"Show {f'frame {a}' if a == b else f'frames {a}–{b}'}</button>"
        for a, b in stretches(weakest_frames(view.report))
        if a < len(view.times)
    )
    return f'<p class="verdict {judged["level"]}">{verdict_words(view.report)} {buttons}</p>'


def verdict_words(facts: dict[str, Any]) -> str:
    """The report's verdict in the page's words, its first words strong; "" where there is none."""
    level, colon, rest = page_words(facts.get("verdict", {}).get("says", "")).partition(":")
    return f"<strong>{escape(level.capitalize())}{colon}</strong>{escape(rest)}" if level else ""


def _uncertain(facts: dict[str, Any]) -> str:
    sentences = [*facts.get("warnings", ()), "Sides that the camera never saw are guessed from the sides it saw."]
    return "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in sentences) + "</ul>"


def plugs_table(names: dict[str, str]) -> str:
    """Which plug fills which part, under which licence."""
    rows = ""
    for port, name in names.items():
        plug = PORTS[port][name]
        use = f" <strong>{escape(plug.restriction)}</strong>" if plug.restriction else ""
        rows += (
            f'<tr><th scope="row">{escape(_PORT_WORDS.get(port, port))}</th><td>{escape(name)}</td>'
            f"<td>{escape(plug.licence)}{use}</td></tr>"
        )
    head = '<thead class="unseen"><tr><th>Part</th><th>Plug</th><th>Licence</th></tr></thead>'
    return f"<table>{head}<tbody>{rows}</tbody></table>"


_PORT_WORDS = {"generator": "Mesh", "stereo": "Depth and camera", "perceptual": "Likeness", "matting": "Mask"}


def plot(
    measure: dict[str, Any], title: str, note: str, times: list[float], keyframes: set[int], scale: float, unit: str
) -> str:
    """A line plot of a measure per frame as SVG; keyframes get a dot, and a click on a frame shows it."""
    values = [v * scale for v in measure["per_frame"]]
    low, high = min(values), max(values)
    low, high = (low - 0.5, high + 0.5) if high - low < 1 else (low, high)
    width, height, edge = 300.0, 84.0, 6.0
    step = (width - 2 * edge) / max(1, len(values) - 1)
    points = [(edge + i * step, edge + (high - v) / (high - low) * (height - 2 * edge)) for i, v in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>' for i, (x, y) in enumerate(points) if i in keyframes)
    hits = "".join(
        f'<rect x="{x - step / 2:.1f}" y="0" width="{step:.2f}" height="{height:g}" data-time="{times[i]:.4f}">'
        f"<title>Frame {i}: {values[i]:.1f}{unit}</title></rect>"
        for i, (x, _) in enumerate(points)
        if i < len(times)
    )
    mean, worst = measure["mean"] * scale, measure["worst"] * scale
    label = f"{title} per frame: mean {mean:.1f}{unit}, worst {worst:.1f}{unit} at frame {measure['worst_frame']}"
    return (
        f'<figure class="plot"><figcaption><strong>{title}</strong> {mean:.1f}{unit}, at worst {worst:.1f}{unit}'
        f'<span class="quiet">{escape(note)}</span></figcaption>'
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f'<line class="cursor" data-edge="{edge:g}" data-step="{step:.4f}" x1="{edge:g}" x2="{edge:g}" y1="0" '
        f'y2="{height:g}"/><polyline points="{line}"/>{dots}<g class="hits">{hits}</g></svg>'
        f'<div class="axis"><span>frame 0</span><span>{low:.0f}–{high:.0f}{unit}</span>'
        f"<span>frame {len(values) - 1}</span></div></figure>"
    )
