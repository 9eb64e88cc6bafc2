"""Named endpoints for programs and agents: the same work as the page's, with plain values in and out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr

from v2m4.doctor import describe
from v2m4.errors import V2M4Error
from v2m4.events import Finished, RunProgress
from v2m4.plugs import PORTS
from v2m4.settings import Settings
from v2m4.ui.controls import settings_of
from v2m4.ui.limits import Limits, check_length, check_video
from v2m4.ui.run_view import Showing, replay, update
from v2m4.ui.runner import do_run, recalled
from v2m4.ui.store import Store


def add_endpoints(limits: Limits, store: Store, inputs: list[Any]) -> None:
    """Add /reconstruct, /preview_mask, /run_status, /stop_run, /list_plugs and /default_settings to the open Blocks."""
    api = Endpoints(limits, store)
    with gr.Column(visible=False):
        run = gr.Textbox(label="Run id")
        status, report = gr.JSON(label="Status"), gr.JSON(label="Report")
        glb, bundle = gr.File(label="Animated GLB"), gr.File(label="Everything as zip")
        preview = gr.Video(label="Input and re-render side by side")
        pictures = gr.Gallery(label="Keyframes with the object's outline")
        plugs, defaults = gr.JSON(label="Plugs"), gr.JSON(label="Settings")
        trigger = [gr.Button() for _ in range(6)]
        results = [status, glb, preview, bundle, report]
        shared: dict[str, Any] = {"concurrency_id": "runs", "concurrency_limit": limits.concurrent_runs}
        trigger[0].click(api.reconstruct, inputs, results, api_name="reconstruct", validator=api.validate, **shared)
        trigger[1].click(api.preview_mask, inputs, [pictures, status], api_name="preview_mask", validator=api.validate,
                         concurrency_id="looks", concurrency_limit=2)  # fmt: skip
        trigger[2].click(api.run_status, run, results, api_name="run_status", queue=False)
        trigger[3].click(api.stop_run, run, status, api_name="stop_run", queue=False)
        trigger[4].click(api.list_plugs, None, plugs, api_name="list_plugs", queue=False)
        trigger[5].click(api.default_settings, inputs[1], defaults, api_name="default_settings", queue=False)


class Endpoints:
    """The endpoints' functions. Their docstrings are what callers and agents read."""

    def __init__(self, limits: Limits, store: Store) -> None:
        self.limits, self.store = limits, store

    def validate(self, *values: Any) -> list[Any]:
        """A verdict per input."""
        verdicts = [gr.validate(True, "") for _ in values]
        try:
            facts = check_video(values[0], self.limits)
            check_length(facts, settings_of(*values[1:]).video, self.limits)
        except V2M4Error as error:
            verdicts[0] = gr.validate(False, str(error))
        return verdicts

    def reconstruct(
        self, video: str, preset: str = "fast", generator: str = "auto", stereo: str = "auto", seed: int = 42,
        start_s: float = 0, end_s: float = 0, frame_step: int = 1, stride: int = 0,
        template: str | None = None, changes: str = "{}", progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[tuple[Any, Any, Any, Any, Any]]:  # fmt: skip
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
            changes: JSON of further settings that differ from the preset, such as {"texture": {"size": 2048}}.

        Returns:
            The status (run, state, stage, fraction, keyframe, seconds_left, message); at the end also the animated GLB,
            the side-by-side video, a zip of everything, and the quality report.
        """
        try:
            settings = settings_of(
                preset, generator, stereo, seed, start_s, end_s, frame_step, stride, template, changes
            )
            ticket = self.store.create(Path(video), settings)
        except V2M4Error as error:
            raise gr.Error(str(error), title="Cannot start", print_exception=False) from error
        showing = Showing(name=ticket.source.stem, run=ticket.id, state="working")
        with closing(do_run(self.store, ticket)) as events:  # type: ignore[type-var]
            for event in events:
                update(showing, event, ticket)
                if isinstance(event, RunProgress):
                    progress(event.fraction, desc=event.stage)
                if not isinstance(event, Finished) and showing.state == "working":
                    yield status_of(showing), None, None, None, None
        if showing.state == "failed":
            raise gr.Error(showing.message, title="The run failed", print_exception=False)
        yield results_of(showing)

    def preview_mask(
        self, video: str, preset: str = "fast", generator: str = "auto", stereo: str = "auto", seed: int = 42,
        start_s: float = 0, end_s: float = 0, frame_step: int = 1, stride: int = 0,
        template: str | None = None, changes: str = "{}",
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
            changes: As for /reconstruct, such as {"matting": {"method": "motion"}}.

        Returns:
            A picture per keyframe with the object's outline drawn, and the status with frame indices and warnings.
        """
        try:
            settings = settings_of(
                preset, generator, stereo, seed, start_s, end_s, frame_step, stride, template, changes
            )
            ticket = self.store.create(Path(video), settings)
        except V2M4Error as error:
            raise gr.Error(str(error), title="Cannot look at it", print_exception=False) from error
        showing = replay(ticket, do_run(self.store, ticket, until="keyframes"))
        if showing.state == "failed":
            raise gr.Error(showing.message, title="Cannot look at it", print_exception=False)
        facts = {"keyframes": list(showing.keyframes), "anchor": showing.anchor, "warnings": list(showing.warnings)}
        return [(showing.frames[i], f"frame {i}") for i in showing.keyframes], facts

    def run_status(self, run: str) -> tuple[Any, Any, Any, Any, Any]:
        """Where a run stands, and its files once it is finished.

        Args:
            run: The id from /reconstruct's status.
        """
        try:
            ticket = self.store.find(run)
        except V2M4Error as error:
            raise gr.Error(str(error), title="No such run", print_exception=False) from error
        showing = replay(ticket, recalled(ticket))
        if showing.state == "working" and not self.store.busy(run):
            showing.state = "stopped"
        return results_of(showing)

    def stop_run(self, run: str) -> dict[str, Any]:
        """Stop a run after its current iteration; what is finished is kept.

        Args:
            run: The id from /reconstruct's status.
        """
        try:
            self.store.find(run).run().request_stop()
        except V2M4Error as error:
            raise gr.Error(str(error), title="No such run", print_exception=False) from error
        return {"run": run, "state": "stopping"}

    def list_plugs(self) -> list[dict[str, Any]]:
        """List what can fill each part of the method here: port, name, licence, whether it is ready, what it lacks."""
        return [describe(plug) for plugs in PORTS.values() for plug in plugs.values()]

    def default_settings(self, preset: str) -> dict[str, Any]:
        """All settings of a preset, as they may be changed in /reconstruct's `changes`.

        Args:
            preset: draft, fast or paper.
        """
        import json

        try:
            return json.loads(Settings.of(preset).to_json())  # type: ignore[arg-type]
        except V2M4Error as error:
            raise gr.Error(str(error), title="No such preset", print_exception=False) from error


def status_of(showing: Showing) -> dict[str, Any]:
    """The status as plain data."""
    progress = showing.progress
    return {
        "run": showing.run,
        "state": showing.state,
        "stage": progress.stage if progress else "",
        "fraction": 1.0 if showing.state == "finished" else round(progress.fraction, 4) if progress else 0.0,
        "keyframe": progress.keyframe if progress else None,
        "keyframes": list(showing.keyframes),
        "registered": sorted(showing.fits),
        "seconds_left": progress.seconds_left if progress else None,
        "message": showing.message,
        "warnings": list(showing.warnings),
    }


def results_of(showing: Showing) -> tuple[Any, Any, Any, Any, Any]:
    """Status, GLB, preview, zip and report; the files are None before the end."""
    files = showing.files
    return status_of(showing), files.get("glb"), files.get("preview"), files.get("zip"), showing.report or None
