"""The whole page: its regions laid out, and which event does what. The handlers stand in `handlers`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from v2m4.doctor import real_3d_hint
from v2m4.host import on_public_host
from v2m4.ui import panels
from v2m4.ui.advanced import SHOW, advanced, settings_route
from v2m4.ui.api import add_endpoints
from v2m4.ui.controls import TEMPLATES, plug_choices, preset_choices, preset_info
from v2m4.ui.handlers import PANELS, PLACES, TICK_S, Page
from v2m4.ui.limits import Limits
from v2m4.ui.playable import SERIES
from v2m4.ui.run_view import RunView
from v2m4.ui.store import Store
from v2m4.ui.theme import CSS, theme
from v2m4.ui.viewer import HEAD, static_route, viewer
from v2m4.ui.workers import Workers

ASSETS = Path(__file__).parents[2] / "assets"
WARMED_BY = ASSETS / "examples" / "octopus.mp4"  # of the shipped clips the one that takes the longest way
_HEADING = """<h1>v2m4</h1><p>One video of a moving object becomes an animated, textured 3D model.</p>
<ol><li>Give a video</li><li>See its outline</li><li>Reconstruct</li><li>Play it, turn it, take it along</li></ol>"""
_SHOW_LINK = """(id) => { const u = new URL(window.location);
 if (id.startsWith('view-')) return;
 if (id && !id.startsWith('example-')) {
 u.searchParams.set('run', id); u.searchParams.delete('view'); } else u.searchParams.delete('run');
 window.history.replaceState({}, '', u); }"""
_SHOW_PROGRESS = """() => { let tries = 15, stays = 0; const show = () => {
 const told = document.querySelector('.note .problem') || document.querySelector('#status');
 const box = told.getBoundingClientRect();
 const seen = box.height > 0 && box.top > -1 && (told.id ? box.top < innerHeight / 2 : box.bottom <= innerHeight);
 stays = seen ? stays + 1 : 0;
 if (!seen) told.scrollIntoView({behavior: 'smooth', block: told.id ? 'start' : 'center'});
 if (stays < 2 && (tries -= 1)) setTimeout(show, 200); };
 setTimeout(show, 50); }"""
# Once is not enough: on a busy machine the answer is put in later, and what moves on the page ends a smooth scroll.
_SHOW_RESULT = "() => setTimeout(() => document.querySelector('#status').scrollIntoView({behavior: 'smooth'}), 50)"
_TELL = "element.addEventListener('{event}', (e) => trigger('{name}', e.detail));"
_MENDED = "(changes) => window.v2m4Mended(changes)"
_FORGET = """element.addEventListener('click', (e) => { const b = e.target.closest('[data-delete]');
 if (b && window.confirm('Delete this run and all its files?')) trigger('forget', {run: b.dataset.delete}); });"""


@dataclass(frozen=True)
class Parts:
    """The page's components that events read or write. asked: the inputs in the order of `controls.Asked`."""

    video: gr.Video
    series: gr.UploadButton
    asked: list[Any]
    notes: dict[str, gr.HTML]
    folds: dict[str, gr.Accordion]
    buttons: dict[str, gr.Button]
    panels: dict[str, gr.HTML]
    examples: dict[str, gr.Button]
    recent: gr.HTML
    work: gr.Column
    other: tuple[gr.Button, gr.Model3D]
    run: gr.Textbox
    seen: gr.State
    timer: gr.Timer
    remembered: gr.BrowserState


def launch_options(limits: Limits) -> dict[str, Any]:
    """What `Blocks.launch` needs for this page, wherever it is served."""
    return {
        "theme": theme(),
        "css_paths": [CSS],
        "head": HEAD,
        "app_kwargs": {"routes": [static_route(), settings_route()]},
        "ssr_mode": False,
        "mcp_server": True,
        "show_error": False,
        "max_file_size": f"{limits.megabytes}mb",
        "footer_links": ["api", "settings"],
    }


def build_page(limits: Limits | None = None, store: Store | None = None, preset: str = "fast") -> gr.Blocks:
    """The page, ready to be launched with `launch_options`."""
    limits = limits or Limits.from_environment()
    store = store or Store(keep_hours=limits.keep_hours)
    workers = Workers(store, limits)
    page = Page(limits, store, workers, ASSETS)
    with gr.Blocks(
        title="v2m4: a moving object from one video", delete_cache=(1800, round(3600 * limits.keep_hours))
    ) as demo:
        gr.HTML(_HEADING, elem_id="heading")
        parts = layout(limits, preset)
        wire(page, parts, demo)
        add_endpoints(limits, store, workers)
    demo.queue(max_size=limits.waiting_runs)
    return demo


def layout(limits: Limits, preset: str) -> Parts:
    """Left the work, in its order; right what comes of it. On a phone one below the other."""
    notes: dict[str, gr.HTML] = {}

    def note(place: str) -> None:
        tells = _TELL.format(event="v2m4-large", name="large") if place == "video" else None
        notes[place] = gr.HTML("", elem_id=f"note-{place}", elem_classes="note", js_on_load=tells)

    right: dict[str, gr.HTML] = {}
    with gr.Row(elem_id="layout"):
        # 1. The work: the video, what to do with it, examples, the mask, the settings, earlier runs.
        with gr.Column(scale=4, min_width=300, elem_id="work") as work:
            video = gr.Video(
                label="Video of one moving object", sources=["upload"], height=210, elem_id="video", buttons=[]
            )
            note("video")
            with gr.Row(elem_id="buttons"):
                buttons = {
                    "start": gr.Button("Reconstruct", variant="primary", elem_id="start", scale=2),
                    "stop": gr.Button("Stop", variant="stop", visible=False, elem_id="stop", min_width=90),
                    "go_on": gr.Button("Continue", visible=False, elem_id="continue", min_width=90),
                }
            note("start")
            right["before"] = gr.HTML("", elem_id="before")
            gr.HTML("Or see what comes of one of these:", elem_id="try")
            examples = example_row()
            with gr.Row(elem_id="limits"):
                gr.Markdown(limits.sentence(), elem_classes="limit")
                series = gr.UploadButton(
                    "GIF, or zip of pictures",
                    file_types=list(SERIES),
                    size="sm",
                    scale=0,
                    min_width=150,
                    elem_id="series",
                )
            right["mask"] = gr.HTML(
                "", elem_id="mask", js_on_load=_TELL.format(event="v2m4-mend", name="mend"), padding=False
            )
            front, folds = settings_region(preset, note)
            recent = gr.HTML("", elem_id="recent", js_on_load=_FORGET)
        # 2. What comes of it.
        with gr.Column(scale=7, min_width=300, elem_id="result"):
            empty = RunView()
            right["status"] = gr.HTML(panels.status(empty), elem_id="status")
            right["viewer"] = gr.HTML(viewer(empty), elem_id="viewer")
            for name in ("downloads", "quality", "gallery", "search"):
                right[name] = gr.HTML("", elem_id=name)
            with gr.Accordion("The model does not show?", open=False, elem_id="other"):
                other = gr.Button("Open it in a simpler viewer", size="sm")
                # Hidden, not absent: while its own script is still being fetched it would lose what it is given.
                model = gr.Model3D(visible="hidden", label="3D model", interactive=False, height=400)
    # 3. What is not seen.
    run = gr.Textbox(visible="hidden", label="Run", elem_id="run-id")
    return Parts(
        video, series, front, notes, folds, buttons, right, examples, recent, work, (other, model), run,
        gr.State({}), gr.Timer(TICK_S, active=False), gr.BrowserState([], storage_key="v2m4-runs"),
    )  # fmt: skip


def example_row() -> dict[str, gr.Button]:
    """The clips we ship, each with its finished result."""
    with gr.Row(elem_id="examples"):
        return {
            path.stem: gr.Button(
                path.stem.capitalize(),
                icon=str(path.with_suffix(".jpg")),
                elem_classes="example-clip",
                elem_id=f"example-{path.stem}",
                min_width=80,
            )
            for path in sorted((ASSETS / "examples").glob("*.mp4"))
        }


def settings_region(preset: str, note: Any) -> tuple[list[Any], dict[str, gr.Accordion]]:
    """Everything that can be chosen, folded; returns the inputs as `controls.Asked` orders them."""
    folds = {}
    with gr.Accordion("Quality and models", open=False, elem_id="fold-settings") as folds["settings"]:
        chosen = gr.Radio(preset_choices(), value=preset, label="Quality", info=preset_info() or None)
        generator = gr.Dropdown(plug_choices("generator"), value="auto", label="Mesh from", info="What turns a picture into a mesh")  # noqa: E501  # fmt: skip
        stereo = gr.Dropdown(
            plug_choices("stereo"),
            value="auto",
            label="Depth and camera from",
            info="What finds where the camera stood",
        )
        seed = gr.Number(42, label="Seed", precision=0, info="The same seed and settings give the same result.")
        hint = real_3d_hint()
        if hint and not on_public_host():  # visitors cannot install anything
            gr.Markdown(hint, elem_classes="limit")
        note("settings")
    with gr.Accordion("Part of the clip, and the mask", open=False, elem_id="fold-part") as folds["part"]:
        with gr.Row():
            start = gr.Number(0, label="From (s)", min_width=90)
            end = gr.Number(0, label="To (s), 0: end", min_width=90)
        with gr.Row():
            step = gr.Number(1, label="Every n-th frame", precision=0, min_width=90)
            stride = gr.Number(0, label="Keyframe gap, 0: auto", precision=0, min_width=90)
        method = gr.Dropdown(plug_choices("matting"), value="auto", label="Method of the mask", elem_id="method")
        note("part")
    with gr.Accordion("A mesh of your own", open=False, elem_id="fold-mesh") as folds["mesh"]:
        template = gr.File(label="Mesh that the video shall animate (GLB, OBJ, PLY)", file_types=list(TEMPLATES), height=150)  # noqa: E501  # fmt: skip
        note("mesh")
    changes, folds["changes"] = advanced()
    note("changes")
    return [chosen, generator, stereo, seed, start, end, step, stride, template, method, changes], folds


def wire(page: Page, parts: Parts, demo: gr.Blocks) -> None:
    """Connect everything. Every event answers at once: the work is done by the server's workers, and a timer asks."""
    # An event while its like is still being answered comes after it. It is lost otherwise, or, with data of its own
    # ("multiple"), would come with the first one's.
    quick: dict[str, Any] = {
        "api_visibility": "private",
        "queue": False,
        "show_progress": "hidden",
        "trigger_mode": "always_last",
    }
    at_once, in_turn = quick | {"trigger_mode": "multiple"}, quick | {"trigger_mode": "once"}
    inputs = [parts.video, parts.run, *parts.asked]
    shown = [parts.seen, *(parts.panels[name] for name in PANELS), *parts.buttons.values(), parts.timer]
    told = [*(parts.notes[place] for place in PLACES), *(parts.folds[p] for p in PLACES if p in parts.folds)]
    answer = [parts.run, *told, *shown]
    changes, preset = parts.asked[-1], parts.asked[0]

    parts.video.upload(page.look, [parts.video, *parts.asked], answer, **quick)
    series = [parts.video, *answer]
    parts.series.upload(page.look_at_series, [parts.series, *parts.asked], series, **quick)
    parts.video.clear(page.clear, None, answer, **quick)
    parts.notes["video"].large(page.too_large, None, told, **quick)
    for part in (preset, *parts.asked[4:8], parts.asked[9]):
        part.input(page.look_again, inputs, answer, **quick)
    mending = parts.panels["mask"].mend(None, changes, changes, js=_MENDED, api_visibility="private")
    mending.then(page.look_again, inputs, answer, **quick)
    gr.on([preset.change, changes.change, demo.load], None, [preset, changes], None, js=SHOW, api_visibility="private")

    begun = parts.buttons["start"].click(page.begin, inputs, answer, **quick)
    begun.then(None, None, None, js=_SHOW_PROGRESS, **quick)
    parts.buttons["go_on"].click(page.resume, parts.run, answer, **quick)
    parts.buttons["stop"].click(page.stop, parts.run, parts.buttons["stop"], **quick)
    parts.timer.tick(page.tick, [parts.run, parts.seen], shown, **in_turn)

    parts.run.change(None, parts.run, None, js=_SHOW_LINK, api_visibility="private")
    known = [parts.remembered, parts.recent]
    begun.then(page.remember, [parts.run, parts.remembered], known, **quick)
    parts.recent.forget(page.forget, parts.remembered, known, **at_once)
    for name, button in parts.examples.items():
        clicked = button.click(lambda name=name: page.example(name), None, [parts.video, *answer], **quick)
        clicked.then(None, None, None, js=_SHOW_RESULT, **quick)
    parts.other[0].click(page.simple_viewer, parts.seen, parts.other[1], **quick)
    demo.load(page.open, parts.remembered, [parts.video, *parts.asked, parts.recent, parts.work, *answer], **quick)
