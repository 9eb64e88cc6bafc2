"""The registration step: the anchor's topology, brought to a keyframe's pose."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import torch

from v2m4.artefacts import (
    keyframes_of,
    load_arrays,
    masked_clip,
    posed_mesh,
    registered_vertices,
    save_arrays,
    save_picture,
)
from v2m4.events import Event, MeshRegistered, StageRun
from v2m4.files import reading, write_atomically
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.stages.registration.meshes import PointTracks, register_meshes
from v2m4.stages.registration.surface_tracks import SurfaceTracks, begin_tracks, follow_tracks
from v2m4.steps.motion import MOTION
from v2m4.steps.pose_pictures import pose_picture
from v2m4.workbench import Workbench

TRACKS = "tracks.npz"
VIEW_SIZE = 384  # side of the picture that shows a registered pose, at most


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Register by the recipe's way; keep the pose, and how it looks from the video's camera."""
    index, place = step.frame, run.place(step)
    topology = posed_mesh(run, keyframes_of(run)[1])
    if not run.recipe.mesh_per_keyframe:
        followed = load_arrays(run.place(Step("motion")) / MOTION)
        vertices = torch.from_numpy(followed["vertices"][followed["indices"].tolist().index(index)]).float()
    elif step.after is None:
        vertices = topology.vertices
        yield from _track(run, step, bench)
    else:
        tracks = yield from _track(run, step, bench)
        vertices = yield from register_meshes(
            registered_vertices(run, step.after),
            topology,
            posed_mesh(run, index),
            run.recipe.settings.registration.meshes,
            rng=run.rng(step),
            keyframe=index,
            device=bench.device,
            tracks=tracks,
        )
    vertices = vertices.cpu()
    save_arrays(place / "registered.npz", vertices=vertices.numpy())
    picture, overlap = pose_picture(topology.with_vertices(vertices), masked_clip(run), index, VIEW_SIZE)
    save_picture(place / "registered.png", picture)
    write_atomically(place / "registered.json", json.dumps({"overlap": overlap}).encode())


def _track(run: Run, step: Step, bench: Workbench) -> StageRun[list[PointTracks]]:
    """Follow points of the anchor's mesh over renderings of the meshes up to this keyframe's, if there is a tracker."""
    if bench.tracker is None:
        return []
    settings = run.recipe.settings.registration.meshes.tracks
    if step.after is None:
        here = begin_tracks(posed_mesh(run, step.frame), settings, rng=run.rng(step), device=bench.device)
    else:
        indices, anchor = keyframes_of(run)
        low, high = sorted((anchor, step.frame))
        way = sorted((i for i in indices if low <= i <= high), reverse=step.frame < anchor)  # from the anchor to here
        window = way[-settings.history - 1 :]
        before = load_arrays(run.place(Step("registration", window[0])) / TRACKS)
        tensors = {name: torch.from_numpy(array) for name, array in before.items() if name != "size"}
        start = SurfaceTracks(**tensors, size=int(before["size"]))
        meshes = [posed_mesh(run, index) for index in window]
        here = yield from follow_tracks(start, meshes, bench.tracker, device=bench.device)
    save_arrays(run.place(step) / TRACKS, **{name: np.asarray(value) for name, value in vars(here).items()})
    return here.for_registration(bench.device)


def recall(run: Run, step: Step) -> Iterator[Event]:
    """How well the registered pose covers the object, and a picture of it."""
    place = run.place(step)
    with reading(place / "registered.json"):
        overlap = float(json.loads((place / "registered.json").read_text())["overlap"])
    yield MeshRegistered(step.frame, overlap, place / "registered.png")


SPEC = StageSpec(
    name="registration",
    title="posing keyframes",
    per="keyframe",
    reads=("settings.registration", "settings.tracks"),
    ports=("tracks",),
    work=work,
    recall=recall,
    prior_s=0.3,
    gpu_s=15,
    warm_gpu_s=4,
    on_gpu=lambda recipe: recipe.mesh_per_keyframe,
)
