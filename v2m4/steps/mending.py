"""The mending step: poses of the followed mesh without torn places."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import torch

from v2m4.artefacts import MENDED, keyframes_of, masked_clip, posed_mesh, registered_vertices, save_arrays
from v2m4.events import Event, PosesMended, StageRun
from v2m4.files import reading, write_atomically
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.stages.mending.poses import mend_poses
from v2m4.stages.registration.correspondences import contrasting_background
from v2m4.stages.registration.surface_fit import SurfaceFit
from v2m4.workbench import Workbench

FACTS = "mended.json"


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Mend the poses of all keyframes; note in how many there was anything to mend."""
    place = run.place(step)
    indices, anchor = keyframes_of(run)
    poses = torch.stack([registered_vertices(run, index) for index in indices])  # (K,V,3)
    faces, rest = posed_mesh(run, anchor).faces, poses[indices.index(anchor)]
    following, settings, clip = run.recipe.following, run.recipe.mending, masked_clip(run)
    surface = SurfaceFit(
        rest.double().numpy(),
        faces.numpy(),
        clip,
        anchor,
        replace(following.fit, size=settings.fit_size),
        following.correspondences,
        background=contrasting_background(clip.frame(anchor)),
    )
    mended = yield from mend_poses(
        poses.double().numpy(), faces.numpy(), rest.double().numpy(), indices, surface.outline, settings
    )
    vertices = torch.from_numpy(mended).float()
    save_arrays(place / MENDED, vertices=vertices.numpy())
    changed = int((vertices != poses).any(dim=2).any(dim=1).sum())
    write_atomically(place / FACTS, json.dumps({"mended": changed, "poses": len(poses)}).encode())


def recall(run: Run, step: Step) -> Iterator[Event]:
    """In how many poses anything was mended."""
    path = run.place(step) / FACTS
    with reading(path):
        facts = json.loads(path.read_text())
    yield PosesMended(int(facts["mended"]), int(facts["poses"]))


SPEC = StageSpec(
    name="mending",
    title="mending torn places",
    per="run",
    reads=("settings.mending", "mending"),
    work=work,
    recall=recall,
    prior_s=2.0,
    wanted=lambda recipe: recipe.mends,
)
