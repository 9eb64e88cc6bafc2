"""Named endpoints for programs and agents: the same workers as the page's, with plain values in and out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from v2m4.doctor import describe
from v2m4.plugs import PORTS
from v2m4.settings import Settings
from v2m4.ui.controls import TEMPLATES, Asked
from v2m4.ui.handlers import checked, visitor_of
from v2m4.ui.limits import Limits
from v2m4.ui.mishaps import explained
from v2m4.ui.panels import TITLES
from v2m4.ui.run_view import RunView, at_rest
from v2m4.ui.store import RunRecord, Store
from v2m4.ui.uploads import accept_own_uploads
from v2m4.ui.words import api_words
from v2m4.ui.workers import LOOK, Workers

_POLL_S = 0.3
Results = tuple[Any, Any, Any, Any, Any]


def add_endpoints(limits: Limits, store: Store, workers: Workers) -> None:
    """Add /reconstruct, /continue_run, /preview_mask, /run_status, /stop_run, /list_plugs and /default_settings to the
    open Blocks."""
    api = Endpoints(limits, store, workers)
    default = Asked()
    with gr.Column(visible=False):
        video = accept_own_uploads(gr.Video(label="Video", sources=["upload"]))
        inputs = [
            video,
            gr.Textbox(default.preset, label="Preset"),
            gr.Textbox(default.generator, label="Generator"),
            gr.Textbox(default.stereo, label="Stereo"),
            gr.Number(default.seed, label="Seed"),
            gr.Number(default.start_s, label="From (s)"),
            gr.Number(default.end_s, label="To (s)"),
            gr.Number(default.frame_step, label="Every n-th frame"),
            gr.Number(default.stride, label="Keyframe gap"),
            accept_own_uploads(gr.File(label="Mesh of your own", file_types=list(TEMPLATES))),
            gr.Textbox(default.method, label="Method of the mask"),
            gr.Textbox(default.changes, label="Changes (JSON)"),
        ]
        run = gr.Textbox(label="Run id")
        status, report = gr.JSON(label="Status"), gr.JSON(label="Report")
        glb, bundle = gr.File(label="Animated GLB"), gr.File(label="Everything as zip")
        preview = gr.Video(label="Input and re-render side by side")
        pictures = gr.Gallery(label="Keyframes with the object's outline")
        plugs, defaults = gr.JSON(label="Plugs"), gr.JSON(label="Settings")
        results = [status, glb, preview, bundle, report]
        # The workers decide who waits; a call only watches, so that many may at once.
        watching: dict[str, Any] = {"concurrency_id": "watching", "concurrency_limit": limits.waiting_runs}
        for name, function, given, returned, options in (
            ("reconstruct", api.reconstruct, inputs, results, watching),
            ("continue_run", api.continue_run, [run], results, watching),
            ("preview_mask", api.preview_mask, inputs, [pictures, status], watching),
            ("run_status", api.run_status, [run], results, {"queue": False}),
            ("stop_run", api.stop_run, [run], [status], {"queue": False}),
            ("list_plugs", api.list_plugs, [], [plugs], {"queue": False}),
            ("default_settings", api.default_settings, [inputs[1]], [defaults], {"queue": False}),
        ):
            gr.Button().click(function, given, returned, api_name=name, **options)


class Endpoints:
    """The endpoints' functions. Their docstrings are what callers and agents read."""

    def __init__(self, limits: Limits, store: Store, workers: Workers) -> None:
        self.limits, self.store, self.workers = limits, store, workers

    async def reconstruct(
        self, request: gr.Request, video: str, preset: str = "fast", generator: str = "auto", stereo: str = "auto",
        seed: float = 42, start_s: float = 0, end_s: float = 0, frame_step: float = 1, stride: float = 0,
        template: str | None = None, matting: str = "auto", changes: str = "{}",
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> AsyncIterator[Results]:  # fmt: skip
        """Turn a video of one moving object into an animated, textured 3D mesh; streams its status.

        Args:
            video: The video (mp4, webm, mov, gif).
            preset: draft (seconds), fast (about a minute on two CPU cores) or paper (needs a GPU).
            generator: The image-to-mesh plug, or auto; /list_plugs names them.
            stereo: The stereo plug, or auto.
            seed: The same seed and settings give the same result.
            start_s: Where to start in the clip, in seconds.
            end_s: Where to end, in seconds; 0 for the clip's end.
            frame_step: Use every n-th frame only.
            stride: At most so many frames between keyframes; 0 for the preset's.
            template: A mesh of your own (GLB, OBJ, PLY) that the video shall animate; empty for none.
            matting: How the object is cut out of the frames: auto, alpha, flat, motion or rembg.
            changes: JSON of further settings that differ from the preset, such as {"texture": {"size": 2048}}.

        Returns:
            The status (run, state, stage, fraction, keyframe, seconds_left, message); at the end also the animated GLB,
            the side-by-side video, a zip of everything, and the quality report.
        """
        asked = Asked(preset, generator, stereo, seed, start_s, end_s, frame_step, stride, template, matting, changes)
        record = self._begin(video, asked, request, None, "Cannot start")
        async for results in self._followed(record, progress):
            yield results

    async def continue_run(
        self, request: gr.Request, run: str, progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> AsyncIterator[Results]:  # fmt: skip
        """Go on with a run that was stopped, that failed, or that a restart of the server interrupted.

        Args:
            run: The id from /reconstruct's status.

        Returns:
            As /reconstruct.
        """
        try:
            record = self.store.find(run)
            self.workers.submit(record, visitor_of(request))
        except Exception as error:
            raise _refusal(error, "Cannot continue") from error
        async for results in self._followed(record, progress):
            yield results

    async def preview_mask(
        self, request: gr.Request, video: str, preset: str = "fast", generator: str = "auto", stereo: str = "auto",
        seed: float = 42, start_s: float = 0, end_s: float = 0, frame_step: float = 1, stride: float = 0,
        template: str | None = None, matting: str = "auto", changes: str = "{}",
    ) -> tuple[Any, Any]:  # fmt: skip
        """Show which keyframes would be used and what counts as the object, before minutes are spent.

        Args:
            video: The video (mp4, webm, mov, gif).
            preset: draft, fast or paper.
            generator: As for /reconstruct.
            stereo: As for /reconstruct.
            seed: As for /reconstruct.
            start_s: Where to start in the clip, in seconds.
            end_s: Where to end, in seconds; 0 for the clip's end.
            frame_step: Use every n-th frame only.
            stride: At most so many frames between keyframes; 0 for the preset's.
            template: As for /reconstruct.
            matting: As for /reconstruct.
            changes: As for /reconstruct. {"matting": {"points": "0 0.5 0.4 +; 12 0.1 0.9 -"}} mends the mask by clicks:
                frame, x and y as shares of the picture, + for what belongs to the object and - for what does not.

        Returns:
            A picture per keyframe with the object's outline drawn, and the status with frame indices and warnings.
        """
        asked = Asked(preset, generator, stereo, seed, start_s, end_s, frame_step, stride, template, matting, changes)
        record = self._begin(video, asked, request, LOOK, "Cannot look at it")
        view = await self._ended(record)
        if view.state == "failed":
            raise gr.Error(view.message, title="Cannot look at it", print_exception=False)
        facts = {
            "run": record.id,
            "keyframes": list(view.keyframes),
            "anchor": view.anchor,
            "warnings": [*view.notes, *view.warnings],
        }
        return [(view.frames[i], f"frame {i}") for i in view.keyframes], facts

    def run_status(self, run: str) -> Results:
        """Where a run stands, and its files once it is finished.

        Args:
            run: The id from /reconstruct's status.
        """
        try:
            return results_of(self.workers.view(run) or at_rest(self.store.find(run)))
        except Exception as error:
            raise _refusal(error, "No such run") from error

    def stop_run(self, run: str) -> dict[str, Any]:
        """Stop a run after its current iteration; what is finished is kept, and /continue_run goes on from there.

        Args:
            run: The id from /reconstruct's status.
        """
        try:
            self.store.find(run)
        except Exception as error:
            raise _refusal(error, "No such run") from error
        self.workers.stop(run)
        return {"run": run, "state": "stopping"}

    def list_plugs(self) -> list[dict[str, Any]]:
        """List what can fill each part of the method here: port, name, licence, whether it is ready, what it lacks."""
        return [describe(plug) for plugs in PORTS.values() for plug in plugs.values()]

    def default_settings(self, preset: str) -> dict[str, Any]:
        """All settings of a preset, as they may be changed in /reconstruct's `changes`.

        Args:
            preset: draft, fast or paper.
        """
        try:
            settings: dict[str, Any] = json.loads(Settings.of(preset).to_json())  # type: ignore[arg-type]
        except Exception as error:
            raise _refusal(error, "No such preset") from error
        return settings

    def _begin(self, video: str, asked: Asked, request: gr.Request, until: str | None, title: str) -> RunRecord:
        try:
            settings, notes = checked(video, asked, self.limits)
            record = self.store.create(Path(video), settings)
            self.workers.submit(record, visitor_of(request), until, notes)
        except Exception as error:
            raise _refusal(error, title) from error
        return record

    async def _followed(self, record: RunRecord, progress: gr.Progress) -> AsyncIterator[Results]:
        """A run's status while it changes, and its results; the run itself goes on when nobody follows."""
        told = -1.0
        while (view := self._view(record)).state in ("waiting", "working"):
            if view.fraction != told or view.state == "waiting":
                told = view.fraction
                stage = TITLES[view.progress.stage] if view.progress else "Waiting for its turn"
                progress((int(100 * told), 100), desc=stage)
                yield status_of(view), None, None, None, None
            await asyncio.sleep(_POLL_S)
        if view.state == "failed":
            raise gr.Error(view.message, title="The run failed", print_exception=False)
        yield results_of(view)

    async def _ended(self, record: RunRecord) -> RunView:
        while (view := self._view(record)).state in ("waiting", "working"):
            await asyncio.sleep(_POLL_S)
        return view

    def _view(self, record: RunRecord) -> RunView:
        return self.workers.view(record.id) or at_rest(record)


def _refusal(error: Exception, title: str) -> gr.Error:
    return gr.Error(api_words(str(explained(error, title))), title=title, print_exception=False)


def status_of(view: RunView) -> dict[str, Any]:
    """The status as plain data."""
    progress = view.progress
    return {
        "run": view.run,
        "state": view.state,
        "stage": progress.stage if progress else "",
        "fraction": round(view.fraction, 4),
        "keyframe": progress.keyframe if progress else None,
        "keyframes": list(view.keyframes) if view.anchor >= 0 else [],
        "registered": sorted(view.fits),
        "seconds_left": progress.seconds_left if progress and view.state == "working" else None,
        "place": view.place if view.state == "waiting" else None,
        "message": view.message,
        "warnings": [*view.notes, *view.warnings],
    }


def results_of(view: RunView) -> Results:
    """Status, GLB, preview, zip and report; the files are None before the end."""
    files = view.files
    return status_of(view), files.get("glb"), files.get("preview"), files.get("zip"), view.report or None
