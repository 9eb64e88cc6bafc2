"""The whole page: its regions laid out, and which event does what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import gradio as gr

from v2m4.doctor import real_3d_hint
from v2m4.errors import V2M4Error
from v2m4.host import on_public_host
from v2m4.settings import Settings
from v2m4.ui import panels
from v2m4.ui.api import add_endpoints
from v2m4.ui.controls import PRESETS, advanced, changes_of, plug_choices, preset_values, settings_of
from v2m4.ui.limits import Limits, check_length, check_video
from v2m4.ui.run_view import Showing, replay, shipped, update
from v2m4.ui.runner import do_run, recalled
from v2m4.ui.store import Store

ASSETS = Path(__file__).parents[2] / "assets"
DEFAULT_EXAMPLE = "dinosaur"
_PAUSE_S = 0.3
_SHOW_LINK = """(id) => { const u = new URL(window.location); if (id) u.searchParams.set('run', id);
 else u.searchParams.delete('run'); window.history.replaceState({}, '', u); }"""
Outputs = tuple[Any, ...]


def build_page(limits: Limits | None = None, store: Store | None = None, preset: str = "fast") -> gr.Blocks:
    """The page, ready to be launched."""
    limits = limits or Limits.from_environment()
    store = store or Store(keep_hours=limits.keep_hours)
    page = Page(limits, store)
    with gr.Blocks(
        title="v2m4: a moving object from one video", delete_cache=(1800, round(3600 * limits.keep_hours))
    ) as demo:
        gr.HTML(
            "<h1>v2m4</h1><p>One video of a moving object becomes an animated, textured 3D mesh.</p>",
            elem_id="heading",
        )
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                inputs = source_region(limits, preset)
                buttons = button_region()
                recent = gr.HTML("", elem_id="recent")
            with gr.Column(scale=7, min_width=320):
                outputs = result_region()
        examples = example_region()
        run_box = gr.Textbox(visible="hidden", label="Run", elem_id="run-id")
        prepared = gr.State("")
        remembered = gr.BrowserState([], storage_key="v2m4-runs")
        page.wire(inputs, buttons, outputs, examples, run_box, prepared, remembered, recent, demo)
        add_endpoints(limits, store, inputs["all"])
    demo.queue(max_size=limits.waiting_runs)
    return demo


def source_region(limits: Limits, preset: str) -> dict[str, Any]:
    """Left: the video, which part of it, its keyframes with masks, and the settings."""
    video = gr.Video(label="Video of one moving object", sources=["upload"], height=260, elem_id="video", buttons=[])
    gr.Markdown(limits.sentence(), elem_classes="limit")
    strip = gr.HTML(
        panels.strip_note("The keyframes and the cut-out object appear here after the upload."), elem_id="strip"
    )
    with gr.Row():
        start = gr.Number(0, label="From (s)", minimum=0, min_width=90)
        end = gr.Number(0, label="To (s), 0: end", minimum=0, min_width=90)
        step = gr.Number(1, label="Every n-th frame", precision=0, minimum=1, min_width=90)
        stride = gr.Number(0, label="Keyframe gap, 0: auto", precision=0, minimum=0, min_width=90)
    chosen = gr.Radio(PRESETS, value=preset, label="Preset")
    with gr.Row():
        generator = gr.Dropdown(plug_choices("generator"), value="auto", label="Generator", min_width=140)
        stereo = gr.Dropdown(plug_choices("stereo"), value="auto", label="Stereo", min_width=140)
        seed = gr.Number(42, label="Seed", precision=0, min_width=80)
    hint = real_3d_hint()
    if hint and not on_public_host():  # visitors cannot install anything
        gr.Markdown(hint, elem_classes="limit")
    with gr.Accordion("Animate a mesh of your own", open=False):
        template = gr.File(label="Mesh (GLB, OBJ, PLY), optional", file_types=[".glb", ".obj", ".ply"], height=110)
    changes, fine = advanced(Settings.of("fast" if preset == "fast" else "draft"))
    every = [video, chosen, generator, stereo, seed, start, end, step, stride, template, changes]
    return {"all": every, "video": video, "strip": strip, "preset": chosen, "changes": changes, "fine": fine,
            "cut": [start, end, step, stride, chosen]}  # fmt: skip


def button_region() -> dict[str, gr.Button]:
    """Left: what starts, stops and continues a run."""
    with gr.Row():
        start = gr.Button("Reconstruct", variant="primary", elem_id="start", scale=2)
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop", min_width=80)
        go_on = gr.Button("Continue", interactive=False, elem_id="continue", min_width=80)
    return {"start": start, "stop": stop, "go_on": go_on}


def result_region() -> list[Any]:
    """Right: progress, the model, the camera search, the keyframes; then video, report and downloads."""
    empty = Showing()
    status = gr.HTML(panels.status(empty), elem_id="status", label="Status")
    model = gr.Model3D(label="3D model", height=430, elem_id="model", interactive=False, camera_position=(90, 80, None))
    with gr.Row(elem_id="downloads"):
        files = [
            gr.DownloadButton(text, interactive=False, size="sm", min_width=90, elem_id=f"download-{key}")
            for key, text in (
                ("glb", "GLB"),
                ("preview", "Video"),
                ("zip", "Everything (zip)"),
                ("settings", "Settings"),
            )
        ]
    search = gr.HTML(panels.search(empty), elem_id="search")
    film = gr.HTML(panels.film(empty), elem_id="film")
    with gr.Row(equal_height=True):
        with gr.Column(min_width=300):
            preview = gr.Video(
                label="Input | re-render", height=330, elem_id="preview", interactive=False, loop=True, autoplay=True
            )
        with gr.Column(min_width=300):
            report = gr.HTML(panels.report(empty), elem_id="report")
    return [status, model, *files, search, film, preview, report]


def example_region() -> dict[str, gr.Button]:
    """Below: the clips we ship, each with its finished result."""
    gr.Markdown("### Examples\nOne click shows the finished result; “Reconstruct” then makes it anew.")
    with gr.Row(elem_id="examples"):
        return {
            path.stem: gr.Button(
                path.stem.capitalize(), icon=str(path.with_suffix(".jpg")), elem_classes="example", elem_id=f"example-{path.stem}",  # noqa: E501
                min_width=200,
            )
            for path in sorted((ASSETS / "examples").glob("*.mp4"))
        }  # fmt: skip


class Page:
    """The page's event handlers, over one store of runs."""

    def __init__(self, limits: Limits, store: Store) -> None:
        self.limits, self.store = limits, store
        self._sessions: dict[str, str] = {}

    def wire(
        self, inputs: dict[str, Any], buttons: dict[str, gr.Button], outputs: list[Any], examples: dict[str, gr.Button],
        run_box: gr.Textbox, prepared: gr.State, remembered: gr.BrowserState, recent: gr.HTML, demo: gr.Blocks,
    ) -> None:  # fmt: skip
        """Connect everything. The queue's events are the run and the preview; the rest answers at once."""
        private: dict[str, Any] = {"api_visibility": "private"}
        quick = private | {"queue": False, "show_progress": "hidden"}
        every, right = inputs["all"], [*outputs, *buttons.values()]
        working = private | {
            "show_progress": "minimal", "show_progress_on": [outputs[0]], "concurrency_id": "runs",
            "concurrency_limit": self.limits.concurrent_runs,
        }  # fmt: skip

        look = private | {"show_progress": "hidden", "concurrency_id": "looks", "concurrency_limit": 2}
        targets = [inputs["strip"], prepared]
        inputs["video"].upload(self.look, every, targets, **look)
        for part in inputs["cut"]:
            part.input(self.look, every, targets, trigger_mode="always_last", **look)
        inputs["video"].clear(lambda: (panels.strip_note("Choose a video."), ""), None, targets, **quick)
        inputs["preset"].change(
            lambda p: ["{}", *preset_values(p)], inputs["preset"], [inputs["changes"], *inputs["fine"]], **quick
        )
        gr.on(
            [c.input for c in inputs["fine"]],
            changes_of,
            [inputs["preset"], *inputs["fine"]],
            inputs["changes"],
            **quick,
        )

        begun = buttons["start"].click(
            self.begin, [*every, prepared], [run_box, prepared, *right], validator=self.validate, **quick
        )
        begun.success(self.work, run_box, right, **working)
        resumed = buttons["go_on"].click(self.resume, run_box, right, **quick)
        resumed.success(self.work, run_box, right, **working)
        buttons["stop"].click(self.stop, run_box, [buttons["stop"]], **quick)

        run_box.change(None, run_box, None, js=_SHOW_LINK, **private)
        run_box.change(self.remember, [run_box, remembered], [remembered, recent], **quick)
        for name, button in examples.items():
            button.click(
                lambda name=name: self.example(name),
                None,
                [inputs["video"], inputs["strip"], prepared, run_box, *right],
                **quick,
            )
        demo.load(self.open, remembered, [run_box, inputs["strip"], recent, *right], **quick)
        demo.unload(self.leave)

    def validate(self, *values: Any) -> list[Any]:
        """A verdict per input, before anything is queued: the sentence stands at the component it concerns."""
        verdicts = [gr.validate(True, "") for _ in values]
        try:
            facts = check_video(values[0], self.limits)
            try:
                settings = settings_of(*values[1:11])
            except V2M4Error as error:
                verdicts[10] = gr.validate(False, str(error))
                return verdicts
            check_length(facts, settings.video, self.limits)
        except V2M4Error as error:
            verdicts[0] = gr.validate(False, str(error))
        return verdicts

    def look(self, video: str | None, *rest: Any) -> Iterator[tuple[Any, Any]]:
        """After an upload: the keyframes with their masks, made in a run's folder that the run itself goes on with."""
        if not video:
            yield panels.strip_note("Choose a video."), ""
            return
        try:
            facts = check_video(video, self.limits)
            settings = settings_of(*rest)
            check_length(facts, settings.video, self.limits)
            yield panels.strip_note("Reading the video …"), gr.skip()
            ticket = self.store.create(Path(video), settings)
        except V2M4Error as error:
            yield panels.strip_note(str(error), problem=True), ""
            return
        showing = Showing(name=ticket.source.stem, run=ticket.id, state="working")
        with closing(do_run(self.store, ticket, until="keyframes")) as events:  # type: ignore[type-var]
            for event in events:
                if update(showing, event, ticket) and showing.frames and showing.state == "working":
                    yield panels.strip(showing), ticket.id
        if showing.state == "failed":
            yield panels.strip_note(showing.message, problem=True), ""

    def begin(
        self, video: str, preset: str, generator: str, stereo: str, seed: float, start_s: float, end_s: float,
        frame_step: float, stride: float, template: str | None, changes: str, prepared: str, request: gr.Request,
    ) -> Outputs:  # fmt: skip
        """Make the run's folder (or take the one the preview made) and say that it starts."""
        rest = (preset, generator, stereo, seed, start_s, end_s, frame_step, stride, template, changes)
        settings = settings_of(*rest)
        ticket = None
        if prepared:
            try:
                found = self.store.find(prepared)
                if self.store.busy(prepared):
                    found.run().request_stop()
                elif not (found.folder / "animation.glb").exists() and found.source.name == Path(video).name:
                    ticket = self.store.change(found, settings)
            except V2M4Error:
                ticket = None
        ticket = ticket or self.store.create(Path(video), settings)
        return ticket.id, "", *self._starting(ticket.id, request)

    def resume(self, run: str, request: gr.Request) -> Outputs:
        """Go on with a stopped run."""
        try:
            ticket = self.store.find(run)
            if self.store.busy(run):
                raise V2M4Error("This run is still working in another window. Wait for it, or stop it there.")
        except V2M4Error as error:
            raise gr.Error(str(error), title="Cannot continue", print_exception=False) from error
        return self._starting(ticket.id, request)

    def _starting(self, run: str, request: gr.Request) -> Outputs:
        ticket = self.store.find(run)
        ticket.run().clear_stop()
        self._sessions[str(request.session_hash)] = run
        return render(replay(ticket, recalled(ticket)), None)

    def work(self, run: str) -> Iterator[Outputs]:
        """The run itself, as it appears."""
        ticket = self.store.find(run)
        showing, shown, last = Showing(name=ticket.source.stem, run=run, state="working"), Showing(), 0.0
        with closing(do_run(self.store, ticket)) as events:  # type: ignore[type-var]
            for event in events:
                milestone = update(showing, event, ticket)
                if milestone or time.monotonic() - last > _PAUSE_S:
                    yield render(showing, shown)
                    last, shown = time.monotonic(), snapshot(showing)

    def stop(self, run: str) -> Any:
        """Ask the run to stop after its current iteration."""
        if run:
            self.store.find(run).run().request_stop()
        return gr.Button(interactive=False)

    def leave(self, request: gr.Request) -> None:
        """A closed tab frees the machine; the run's link and “Continue” bring it back."""
        run = self._sessions.pop(str(request.session_hash), "")
        if run and self.store.busy(run):
            self.store.find(run).run().request_stop()

    def example(self, name: str) -> Outputs:
        """A shipped clip with its finished result."""
        showing = self._shipped(name)
        strip = panels.strip(showing) if showing.frames else panels.strip_note("Press “Reconstruct”.")
        return str(ASSETS / "examples" / f"{name}.mp4"), strip, "", "", *render(showing, None)

    def open(self, remembered: list[Any], request: gr.Request) -> Outputs:
        """What a fresh page shows: the run of its link, or an example's result."""
        ident = dict(request.query_params).get("run", "")
        recent = recent_runs(remembered, self.store)
        if not ident:
            return "", gr.skip(), recent, *render(self._shipped(DEFAULT_EXAMPLE), None)
        try:
            ticket = self.store.find(ident)
            showing = replay(ticket, recalled(ticket))
        except V2M4Error as error:
            return "", gr.skip(), recent, *render(Showing(state="failed", message=str(error)), None)
        if showing.state != "finished":
            showing.state = "stopped"
            showing.message = "This run is not finished. “Continue” goes on from here."
        return ident, panels.strip(showing), recent, *render(showing, None)

    def remember(self, run: str, remembered: list[Any]) -> tuple[list[Any], str]:
        """Keep the run among the browser's last ones."""
        known = [entry for entry in remembered or [] if entry["run"] != run]
        if run:
            with suppress(V2M4Error):
                known = [{"run": run, "name": self.store.find(run).source.stem}, *known][:8]
        return known, recent_runs(known, self.store)

    def _shipped(self, name: str) -> Showing:
        folder = ASSETS / "results" / name
        if not (folder / "showing.json").exists():
            return Showing(name=name)
        return shipped(folder)


def recent_runs(remembered: list[Any], store: Store) -> str:
    """Links to the browser's last runs that still exist."""
    alive = [e for e in remembered or [] if (store.root / e["run"] / "ticket.json").exists()]
    if not alive:
        return ""
    from html import escape

    items = "".join(f'<li><a href="?run={escape(e["run"])}">{escape(e["name"])}</a></li>' for e in alive)
    return f"<p>Your runs on this browser</p><ul>{items}</ul>"


def snapshot(showing: Showing) -> Showing:
    """A copy that later events do not change."""
    from dataclasses import replace

    views = {k: dict(v) for k, v in showing.views.items()}
    return replace(showing, frames=dict(showing.frames), views=views, fits=dict(showing.fits))


def render(showing: Showing, shown: Showing | None) -> Outputs:
    """Values for the right side and the buttons; what ``shown`` already has is skipped."""

    def new(*names: str) -> bool:
        return shown is None or any(getattr(showing, n) != getattr(shown, n) for n in names)

    done = showing.state in ("finished", "example")
    pictures = ("frames", "keyframes", "anchor", "state")
    buttons = [
        gr.DownloadButton(value=showing.files.get(key), interactive=key in showing.files)
        for key in ("glb", "preview", "zip", "settings")
    ]
    working = showing.state == "working"
    return (
        panels.status(showing),
        gr.Model3D(value=showing.model, label=showing.model_label) if new("model") else gr.skip(),
        *(buttons if new("files") else [gr.skip()] * 4),
        panels.search(showing) if new("views", *pictures) else gr.skip(),
        panels.film(showing) if new("fits", *pictures) else gr.skip(),
        (showing.files.get("preview") if done else None) if new("files", "state") else gr.skip(),
        panels.report(showing) if new("report") else gr.skip(),
        gr.Button(interactive=not working),
        gr.Button(interactive=working),
        gr.Button(interactive=showing.state in ("stopped", "failed") and bool(showing.run)),
    )
