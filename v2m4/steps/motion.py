"""The motion step: the anchor's mesh follows the whole clip, before keyframes take their poses from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from v2m4.artefacts import keyframes_of, masked_clip, posed_mesh, save_arrays
from v2m4.events import Event, StageRun
from v2m4.recipe import Recipe
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.stages.registration.video import VideoTracker
from v2m4.stages.registration.video_tracks import track_video
from v2m4.workbench import Workbench

MOTION = "motion.npz"


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Follow the video; first some of the mesh's points, if there is a point tracker."""
    follower: VideoTracker = bench.video_tracker(run)
    if bench.tracker is not None:
        anchor = keyframes_of(run)[1]
        settings = run.recipe.settings.registration.video.tracks
        follower.tracks = yield from track_video(
            posed_mesh(run, anchor), masked_clip(run), anchor, bench.tracker, settings, run.rng(step)
        )
    shapes = yield from follower.follow_clip()
    indices = keyframes_of(run)[0]
    save_arrays(run.place(step) / MOTION, indices=np.array(indices), vertices=shapes[list(indices)])


def recall(run: Run, step: Step) -> Iterator[Event]:
    """Nothing to show before keyframes have their poses."""
    yield from ()


def _wanted(recipe: Recipe) -> bool:
    return not recipe.mesh_per_keyframe


SPEC = StageSpec(
    name="motion",
    title="following the motion",
    per="run",
    reads=("settings.registration", "settings.tracks"),
    ports=("tracks",),
    work=work,
    recall=recall,
    prior_s=15.0,
    gpu_s=90,
    on_gpu=lambda recipe: "tracks" in recipe.names,  # all else is done on the CPU
    wanted=_wanted,
)
