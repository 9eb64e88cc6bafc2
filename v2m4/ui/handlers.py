"""What the page's events do. Each answers at once with something visible; the work itself is the workers'."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import gradio as gr

from v2m4.errors import V2M4Error
from v2m4.settings import Settings, VideoSettings
from v2m4.ui import panels
from v2m4.ui.controls import Asked, InputError, Place
from v2m4.ui.limits import Limits, check_length, check_upload, early_look, thinned, too_large
from v2m4.ui.mishaps import explained
from v2m4.ui.pictures import publish
from v2m4.ui.playable import playable
from v2m4.ui.quality import quality
from v2m4.ui.run_view import RunView, at_rest, shipped
from v2m4.ui.store import RunRecord, Store
from v2m4.ui.turns import Turns
from v2m4.ui.viewer import viewer, viewer_facts
from v2m4.ui.words import page_words
from v2m4.ui.workers import LOOK, Workers

PANELS = ("status", "viewer", "downloads", "quality", "gallery", "search", "before", "mask")
PLACES = ("video", "start", "settings", "part", "mesh", "changes")
_FOLDED = tuple(place for place in PLACES if place not in ("video", "start"))
_NOTES = len(PLACES) + len(_FOLDED)
_EXAMPLE = "example-"
_DEFAULT_EXAMPLE = "dinosaur"
_KEPT_RUNS = 8
TICK_S = 0.6
_IDLE_TICK_S = 3.0
Outputs = tuple[Any, ...]
Rest = ParamSpec("Rest")
Handler = Callable[Concatenate["Page", gr.Request, Rest], Outputs]


def last_word(handler: Handler[Rest]) -> Handler[Rest]:
    """A handler whose answer leaves the notes alone if the same page asked something else meanwhile: what an input is
    told after a press must not take back what the press was told."""

    @wraps(handler)
    def answer(page: Page, request: gr.Request, *rest: Rest.args, **named: Rest.kwargs) -> Outputs:
        tab = str(request.session_hash)
        turn = page.turns.take(tab)
        run, *others = handler(page, request, *rest, **named)
        if not page.turns.is_last(tab, turn):
            others[:_NOTES] = (gr.skip(),) * _NOTES
        return run, *others

    return answer


class Page:
    """The page's event handlers, over one store of runs and its workers."""

    def __init__(self, limits: Limits, store: Store, workers: Workers, assets: Path) -> None:
        self.limits, self.store, self.workers, self.assets = limits, store, workers, assets
        self.turns = Turns()

    # What a handler answers: the run's reference, a note per place, folds to open, what changed on the right.

    @last_word
    def look(self, request: gr.Request, video: str | None, *asked: Any) -> Outputs:
        """After an upload: a new run, worked on as far as its masks and keyframes."""
        try:
            settings, notes = checked(video, Asked(*asked), self.limits)
            assert video is not None
            record = self.store.create(Path(video), settings)
            self.workers.submit(record, visitor_of(request), LOOK, notes)
        except Exception as error:
            return self._refused("", error)
        return self._showing(record.id)

    @last_word
    def look_again(self, request: gr.Request, video: str | None, run: str, *asked: Any) -> Outputs:
        """After a change to what the masks and keyframes depend on: look again, in the same run if it is not begun."""
        if not video:
            return (gr.skip(),) * _ANSWERS
        try:
            settings, notes = checked(video, Asked(*asked), self.limits)
            record = self._run_of(run, video, settings)
            self.workers.submit(record, visitor_of(request), LOOK, notes)
        except Exception as error:
            return self._refused(gr.skip(), error)
        return self._showing(record.id)

    @last_word
    def begin(self, request: gr.Request, video: str | None, run: str, *asked: Any) -> Outputs:
        """Start the whole run, in the folder that the look at its masks made if that is still right.

        Pressed again while that very run is under way, it only shows it.
        """
        try:
            settings, notes = checked(video, Asked(*asked), self.limits)
            assert video is not None
            if not self._under_way(run, video, settings):
                record = self._run_of(run, video, settings)
                run = record.id
                self.workers.submit(record, visitor_of(request), None, notes)
        except Exception as error:
            return self._refused(gr.skip(), error)
        return self._showing(run)

    def resume(self, run: str, request: gr.Request) -> Outputs:
        """Go on with a run that was stopped or failed."""
        try:
            self.workers.submit(self.store.find(run), visitor_of(request), None)
        except Exception as error:
            return self._refused(gr.skip(), error)
        return self._showing(run)

    def stop(self, run: str) -> Any:
        """Ask the run to stop after its current iteration."""
        if self.store.exists(run):
            self.workers.stop(run)
        return gr.Button("Stopping …", interactive=False)

    def tick(self, run: str, seen: dict[str, Any]) -> Outputs:
        """What changed since this tab looked last."""
        try:
            view = self._view(run)
        except Exception as error:
            view = RunView(state="failed", message=str(explained(error, f"looking at run {run}")))
        return self._render(view, seen or {})

    def look_at_series(self, request: gr.Request, series: str, *asked: Any) -> Outputs:
        """After an upload of an animated picture or a zip of pictures: as `look`, with a video made of it."""
        try:
            with placed("video"):
                path = check_upload(series, self.limits)
                most = VideoSettings(max_frames=self.limits.frames, max_source_side=self.limits.side)
                video = str(playable(path, path.parent, most))
        except Exception as error:
            return gr.skip(), *self._refused("", error)
        return video, *self.look(request, video, *asked)

    def clear(self) -> Outputs:
        """The video was taken away."""
        return "", *notes_of(), *self._render(RunView(), {})

    def too_large(self, event: gr.EventData) -> Outputs:
        """A file was chosen, of which the browser tells name and size: what is too large is not sent, so say that it
        stays behind, for longer than the framework's own message does."""
        name, size = str((event._data or {}).get("name", "")), float((event._data or {}).get("size", 0))
        sentence = too_large(name, size, self.limits)
        return notes_of("video", sentence) if sentence else (gr.skip(),) * _NOTES

    def example(self, name: str) -> Outputs:
        """A shipped clip with its finished result."""
        clip = str(self.assets / "examples" / f"{name}.mp4")
        return clip, f"{_EXAMPLE}{name}", *notes_of(), *self._render(self._shipped(name), {})

    def open(self, remembered: list[Any], request: gr.Request) -> Outputs:
        """What a fresh page shows: the run of its link with its video and settings, or an example's result."""
        query = dict(request.query_params)
        ref = query.get("view", "") or query.get("run", "")
        recent, blank = self._recent(remembered), (gr.skip(),) * _ASKED
        if not ref:
            # Whoever was quick has uploaded already: the run and the timer that follows it are left alone.
            first = self._shipped(_DEFAULT_EXAMPLE)
            first.message = f"Made from the clip “{first.name}” alone. Now a video of yours, or one of the examples?"
            *shown, _timer = self._render(first, {})
            return gr.skip(), *blank, recent, gr.skip(), gr.skip(), *notes_of(), *shown, gr.skip()
        try:
            view, record = self._view(ref), self._record(ref)
        except Exception as error:
            view = RunView(state="failed", message=str(explained(error, f"opening {ref}")))
            return gr.skip(), *blank, recent, gr.skip(), "", *notes_of(), *self._render(view, {})
        video, asked = publish(record.source), astuple(Asked.of(record.asked))
        work = gr.Column(visible=not view.read_only)
        return video, *asked, recent, work, ref, *notes_of(), *self._render(view, {})

    def remember(self, run: str, remembered: list[Any]) -> tuple[Any, str]:
        """Keep the run among the browser's last ones."""
        known = [ident for ident in _idents(remembered) if ident != run and self.store.exists(ident)]
        if self.store.exists(run) and self.store.find(run).begun:
            known = [run, *known][:_KEPT_RUNS]
        return known, self._recent(known)

    def forget(self, remembered: list[Any], event: gr.EventData) -> tuple[Any, str]:
        """Delete one of the browser's runs with all its files; one that works is stopped first."""
        run = str((event._data or {}).get("run", ""))
        with suppress(V2M4Error):
            if run in _idents(remembered) and self.workers.stopped(run):
                self.store.delete(run)
        return self.remember("", remembered)

    def simple_viewer(self, seen: dict[str, Any]) -> Any:
        """The model that is shown, in the framework's own viewer."""
        return gr.Model3D(value=(seen or {}).get("model"), visible=True)

    def _run_of(self, run: str, video: str, settings: Settings) -> RunRecord:
        """The run on show with these settings, if it is of this video and only its masks were looked at; else a new
        one."""
        record = self.store.find(run) if self.store.exists(run) else None
        if record is None or record.begun or record.source.name != Path(video).name:
            return self.store.create(Path(video), settings)
        if record.wants(settings):
            return record
        self.workers.stopped(record.id)
        return self.store.change(record, settings)

    def _under_way(self, run: str, video: str, settings: Settings) -> bool:
        """Whether the run on show is this very one, begun and waited for or worked on."""
        if not self.store.exists(run):
            return False
        record, view = self.store.find(run), self.workers.view(run)
        busy = view is not None and view.state in ("waiting", "working")
        return busy and record.begun and record.source.name == Path(video).name and record.wants(settings)

    def _record(self, ref: str) -> RunRecord:
        return self.store.find_shared(ref) if ref.startswith("view-") else self.store.find(ref)

    def _view(self, ref: str) -> RunView:
        """What a link shows, the owner's or one for others; or an example, or nothing."""
        if not ref or ref.startswith(_EXAMPLE):
            return self._shipped(ref.removeprefix(_EXAMPLE))
        record = self._record(ref)
        view = self.workers.view(record.id) or at_rest(record)
        if ref != record.id:
            view.run, view.read_only = ref, True
        return view

    def _timer(self, view: RunView, busy: bool) -> gr.Timer:
        """How soon to look again: often while it works, seldom while another tab might start it, else never."""
        return gr.Timer(TICK_S if busy else _IDLE_TICK_S, active=bool(view.run) and not view.done)

    def _showing(self, run: str) -> Outputs:
        return run, *notes_of(), *self._render(self._view(run), {})

    def _refused(self, run: Any, error: Exception) -> Outputs:
        place: Place | str = error.place if isinstance(error, InputError) else "start"
        return run, *notes_of(place, page_words(str(explained(error, "answering the page")))), *(gr.skip(),) * _SHOWN

    def _shipped(self, name: str) -> RunView:
        folders = {path.parent.name: path.parent for path in (self.assets / "results").glob("*/view.json")}
        return shipped(folders[name]) if name in folders else RunView()

    def _recent(self, remembered: list[Any]) -> str:
        entries = []
        for ident in _idents(remembered):
            with suppress(V2M4Error):
                record = self.store.find(ident)
                picture = publish(record.thumbnail) if record.thumbnail.exists() else ""
                started = time.strftime("%d %b, %H:%M", time.localtime(record.source.stat().st_mtime))
                entries.append({"run": ident, "name": record.source.stem, "picture": picture, "started": started})
        return panels.recent_runs(entries)

    def _render(self, view: RunView, seen: dict[str, Any]) -> Outputs:
        """Values for what is seen, the panels, the buttons and the timer; what ``seen`` has already is skipped."""
        ready = view.state in ("ready", "stopped") and view.anchor >= 0 and not view.read_only and bool(view.run)
        record = self.store.find(view.run) if view.run and not view.read_only and self.store.exists(view.run) else None
        points = record.asked.matting.points if record else ""
        values = {
            "status": panels.status(view),
            "viewer": viewer(view),
            "downloads": panels.downloads(view),
            "quality": quality(view) if view.done else "",
            "gallery": panels.keyframe_gallery(view),
            "search": panels.search(view),
            "before": panels.beforehand(view, record.recipe) if ready and record else "",
            "mask": panels.mask_preview(view, points),
        }
        now = {name: hash(value) for name, value in values.items()} | {"model": viewer_facts(view) and view.model}
        busy = view.state in ("waiting", "working")
        look = busy and record is not None and not record.begun
        buttons = (
            gr.Button(interactive=not busy or look),
            gr.Button("Stop", visible=busy and not look and not view.read_only, interactive=True),
            gr.Button(visible=view.state in ("stopped", "failed") and record is not None and record.begun),
        )
        state = f"{view.state} {look}"
        same = seen.get("state") == state
        now["state"] = state
        return (
            now,
            *(gr.skip() if seen.get(name) == now[name] else values[name] for name in PANELS),
            *((gr.skip(),) * len(buttons) if same else buttons),
            gr.skip() if same else self._timer(view, busy),
        )


_ASKED = len(astuple(Asked()))
_SHOWN = 1 + len(PANELS) + 3 + 1
_ANSWERS = 1 + _NOTES + _SHOWN


def checked(video: str | None, asked: Asked, limits: Limits) -> tuple[Settings, tuple[str, ...]]:
    """The settings asked for, thinned out to what may be read, and what to say about that. Raises InputError."""
    with placed("video"):
        path = check_upload(video, limits)
    settings = asked.settings()
    with placed("video"):
        facts = early_look(path, settings.video, limits)
    with placed("part"):
        check_length(facts, settings.video, limits)
    settings, sentence = thinned(facts, settings, limits)
    return settings, (sentence,) if sentence else ()


@contextmanager
def placed(place: Place) -> Iterator[None]:
    """What goes wrong within this is about the input at ``place``."""
    try:
        yield
    except V2M4Error as error:
        raise InputError(place, str(error)) from error


def notes_of(place: str = "", sentence: str = "") -> Outputs:
    """A value for every note, of which one may hold a sentence, and for every fold, which then opens."""
    notes = tuple(panels.note(sentence if p == place else "") for p in PLACES)
    return *notes, *(gr.Accordion(open=True) if p == place else gr.skip() for p in _FOLDED)


def visitor_of(request: gr.Request | None) -> str:
    """Who asks, as far as can be told: the first address of the proxies' chain, else the connection's own.

    A courtesy between visitors, no guard: whoever wants can send another address. The limits of runs at once, of the
    queue and of a run's time hold for all together.
    """
    if request is None:
        return ""
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    return forwarded or (request.client.host if request.client else "")


def _idents(remembered: list[Any] | None) -> list[str]:
    """The runs that a browser remembers; what it sends may be anything."""
    return [entry for entry in remembered or [] if isinstance(entry, str)]
