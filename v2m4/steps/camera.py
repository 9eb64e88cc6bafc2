"""The camera step: which camera shows a keyframe's mesh as the frame does."""

from __future__ import annotations

import json
from collections.abc import Iterator

from v2m4.artefacts import load_camera, load_mesh, load_picture, masked_clip, save_camera, save_picture
from v2m4.events import CameraFound, CameraView, Event, StageRun, tap
from v2m4.files import reading, write_atomically
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
        start=load_camera(known)[0] if known.exists() else _camera_before(run, step),
        device=bench.device,
    )
    found = yield from tap(search, keep)
    write_atomically(place / "views.json", json.dumps(views, indent=1).encode())
    save_camera(place / "camera.json", found.camera, score=found.score, overlap=found.overlap)


def _camera_before(run: Run, step: Step) -> Camera | None:
    """The camera of the keyframe before, which sees nearly the same pose; None on the way back from the anchor."""
    before = step.after
    if before is None or before > step.frame or not run.recipe.settings.camera.warm_start:
        return None
    return load_camera(run.place(Step("camera", before)) / "camera.json")[0]


def recall(run: Run, step: Step) -> Iterator[Event]:
    """The best view after each phase, and how well the mesh covers the object at the end."""
    place = run.place(step)
    with reading(place / "views.json"):
        views = json.loads((place / "views.json").read_text())
        shown = [(phase, float(facts["score"]), float(facts["overlap"])) for phase, facts in views.items()]
    for phase, score, overlap in shown:
        yield CameraView(step.frame, phase, load_picture(place / f"view_{phase}.png"), score, overlap)
    with reading(place / "camera.json"):
        overlap = float(load_camera(place / "camera.json")[1]["overlap"])
    yield CameraFound(step.frame, overlap)


SPEC = StageSpec(
    name="camera",
    title="finding the camera",
    per="mesh",
    reads=("settings.camera", "plugs"),
    ports=("perceptual", "stereo"),
    work=work,
    recall=recall,
    prior_s=0.5,
    gpu_s=10,
    warm_gpu_s=3.2,
)
