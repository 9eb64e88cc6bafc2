"""The video step: the clip is decoded into the run's folder."""

from __future__ import annotations

from collections.abc import Iterator

from v2m4.artefacts import load_warnings, read_clip, save_warnings
from v2m4.events import Event, FramesReady, StageRun
from v2m4.keyframes import refuse_anchor
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.video import load_video
from v2m4.workbench import Workbench


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Decode the run's source."""
    place, lacks = run.place(step), list[str]()
    clip = yield from load_video(run.source, place, run.recipe.settings.video, lacks.append)
    save_warnings(place, tuple(lacks))
    refuse_anchor(run.recipe.settings.keyframes, len(clip))


def recall(run: Run, step: Step) -> Iterator[Event]:
    """How many frames there are, and what was wrong with them."""
    clip = read_clip(run)
    yield FramesReady(len(clip), clip.source_size, clip.duration, load_warnings(run.place(step)))


SPEC = StageSpec(
    name="video",
    title="reading the video",
    per="run",
    reads=("settings.video",),
    work=work,
    recall=recall,
    prior_s=1.0,
)
