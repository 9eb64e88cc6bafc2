"""The camera step: which camera shows a keyframe's mesh as the frame does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
from PIL import Image

from v2m4.artefacts import keyframes_of, load_camera, load_mesh, masked_clip, save_camera, save_picture
from v2m4.events import CameraFound, CameraView, Event, StageRun, tap
from v2m4.files import write_atomically
from v2m4.geometry.camera import Camera
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.stages.camera.search import search_camera
from v2m4.workbench import Workbench


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Search for the camera, keeping the best view after each phase."""
    index, place = step.frame, run.place(step)
    made = run.place(Step("generation", index))
    views: dict[str, dict[str, float]] = {}

    def keep(event: Event) -> None:
        if isinstance(event, CameraView):
            save_picture(place / f"view_{event.phase}.png", event.image)
            views[event.phase] = {"score": event.score, "overlap": event.overlap}

    known = made / "camera.json"
    search = search_camera(
        load_mesh(made / "mesh.npz"),
        masked_clip(run).frame(index),
        run.recipe.settings.camera,
        perceptual=bench.perceptual,
        stereo=bench.stereo,
        rng=run.rng(step),
        keyframe=index,
        start=load_camera(known)[0] if known.exists() else _camera_before(run, index),
        device=bench.device,
    )
    found = yield from tap(search, keep)
    write_atomically(place / "views.json", json.dumps(views, indent=1).encode())
    save_camera(place / "camera.json", found.camera, score=found.score, overlap=found.overlap)


def _camera_before(run: Run, index: int) -> Camera | None:
    """The camera of the keyframe before, which sees nearly the same pose."""
    earlier = [i for i in keyframes_of(run)[0] if i < index and run.done(Step("camera", i))]
    if not earlier or not run.recipe.settings.camera.warm_start:
        return None
    return load_camera(run.place(Step("camera", earlier[-1])) / "camera.json")[0]


def recall(run: Run, step: Step) -> Iterator[Event]:
    """The best view after each phase, and how well the mesh covers the object at the end."""
    place = run.place(step)
    for phase, facts in json.loads((place / "views.json").read_text()).items():
        with Image.open(place / f"view_{phase}.png") as image:
            yield CameraView(step.frame, phase, np.asarray(image), facts["score"], facts["overlap"])
    yield CameraFound(step.frame, load_camera(place / "camera.json")[1]["overlap"])


SPEC = StageSpec(
    name="camera",
    title="finding the camera",
    per="mesh",
    reads=("settings.camera", "plugs"),
    rooms=("stages/camera", "stereo", "perceptual"),
    work=work,
    recall=recall,
    prior_s=2.0,
    gpu_s=25,
)
