"""The motion step: the anchor's mesh follows the whole clip, before keyframes take their poses from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from v2m4.artefacts import keyframes_of, masked_clip, posed_mesh, save_arrays
from v2m4.events import Event, PoseView, ShapeFollowed, StageRun, mapped, scaled
from v2m4.recipe import Recipe
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.stages.registration.video import VideoTracker
from v2m4.stages.registration.video_tracks import track_video
from v2m4.steps.pose_pictures import pose_picture
from v2m4.workbench import Workbench

MOTION = "motion.npz"
VIEW_SIZE = 192  # side of the pictures that show what is found on the way, at most


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Follow the video; first some of the mesh's points, if there is a point tracker. What is found of keyframes is
    shown; then their surface is fitted."""
    indices, anchor = keyframes_of(run)
    mesh, clip = posed_mesh(run, anchor), masked_clip(run)
    follower: VideoTracker = bench.video_tracker(run)
    if bench.tracker is not None:
        settings = run.recipe.settings.registration.video.tracks
        follower.tracks = yield from track_video(mesh, clip, anchor, bench.tracker, settings, run.rng(step))

    def seen(event: Event) -> Event:
        if not isinstance(event, ShapeFollowed):
            return event
        vertices = event.vertices.astype(np.float32)
        posed = mesh.with_vertices(torch.from_numpy(vertices))
        return PoseView(event.frame, *pose_picture(posed, clip, event.frame, VIEW_SIZE), vertices)

    shapes = yield from mapped(scaled(follower.follow_clip(indices), 0.0, 0.75), seen)
    fitted = yield from scaled(follower.settled(shapes, indices), 0.75, 1.0)
    save_arrays(run.place(step) / MOTION, indices=np.array(indices), vertices=fitted)


def recall(run: Run, step: Step) -> Iterator[Event]:
    """Nothing: what was shown on the way is less than the keyframes' poses that come of it."""
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
    prior_s=12.0,
    gpu_s=90,
    warm_gpu_s=90,
    on_gpu=lambda recipe: "tracks" in recipe.names,  # all else is done on the CPU
    wanted=_wanted,
)
