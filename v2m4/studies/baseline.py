"""The paper's naive baseline: a mesh of its own for every frame, as the generator makes it, and nothing else.

No camera is searched, nothing is refined or registered, no texture is shared. Each mesh is seen by the camera that its
generator names or, where it names none, from the front of its canonical pose: yaw and pitch 0, two units away.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

import v2m4
from v2m4.artefacts import keyframes_of, load_camera, load_mesh, load_warnings, masked_clip, matting_of, read_clip
from v2m4.evaluation.report import compare
from v2m4.evaluation.scores import Shown
from v2m4.evaluation.soundness import topology
from v2m4.evaluation.verdict import verdict
from v2m4.events import Event, Finished, RunStarted, StageRun
from v2m4.export.glb import still_glb
from v2m4.export.placement import Placement
from v2m4.export.preview import PreviewWriter
from v2m4.files import digest_of, write_atomically
from v2m4.geometry.camera import FOV_DEG, Camera, orbit_extrinsics
from v2m4.geometry.mesh import Mesh
from v2m4.ownership import RESULTS
from v2m4.pipeline import advance, execute, provided
from v2m4.run import Run, Step
from v2m4.settings import Settings, changed
from v2m4.stage_spec import StageSpec
from v2m4.steps import STAGES
from v2m4.workbench import Workbench

NAME = "baseline"
_RADIUS = 2.0


def baseline(video: str | Path, settings: Settings, output: str | Path) -> Iterator[Event]:
    """A mesh per frame into ``output/frames``; yields events, the last of them `Finished`, as `reconstruct` does."""
    folder, source = Path(output), Path(video)
    run = yield from provided(folder, source, naive(settings), BASELINE_STAGES)
    bench = Workbench(run.recipe)
    with run.hold():
        run.clear_stop()
        yield RunStarted(run.folder, run.resumed)
        yield from advance(run, lambda run, step: execute(run, step, bench, BASELINE_STAGES), BASELINE_STAGES)


def naive(settings: Settings) -> Settings:
    """The settings with a mesh for every frame and everything else of the method off."""
    return changed(
        settings,
        {
            "keyframes.mode": "fixed",
            "keyframes.stride": 1,
            "keyframes.min_stride": 1,
            "keyframes.anchor": None,
            "registration.method": "meshes",
            "registration.meshes.tracks.enabled": False,
            "camera.stereo.enabled": False,
            "refinement.enabled": False,
        },
    )


@dataclass(frozen=True)
class Flipbook:
    """The meshes of a baseline run in the space of the camera, read one at a time."""

    run: Run
    times: tuple[float, ...]

    @property
    def vertices(self) -> torch.Tensor:
        """(1,V,3) the first frame's: where an orbit has its middle."""
        return self._mesh(0).vertices[None]

    def mesh_at(self, time: float) -> Mesh:
        """The mesh of the frame that is shown at ``time``."""
        return self._mesh(max((k for k, t in enumerate(self.times) if t <= time + 1e-9), default=0))

    def _mesh(self, index: int) -> Mesh:
        place = self.run.place(Step("generation", index))
        camera = Camera(canonical_front())
        if (place / "camera.json").exists():
            camera, _ = load_camera(place / "camera.json")
        return load_mesh(place / "mesh.npz").transformed(camera.world_to_camera)


def canonical_front() -> torch.Tensor:
    """(4,4) the camera in front of a mesh in its canonical pose."""
    zero = torch.zeros(())
    return orbit_extrinsics(zero, zero, torch.tensor(_RADIUS), torch.zeros(3))


def is_baseline(run: Run) -> bool:
    """Whether a run is a finished baseline."""
    return run.done(Step(NAME))


def shown_baseline(run: Run) -> Shown:
    """A finished baseline, for measuring."""
    clip = masked_clip(run)
    book = Flipbook(run, clip.times)
    return Shown(
        run.folder.resolve().name, book.mesh_at, Camera.identity(FOV_DEG), clip, tracked=False, source=read_clip(run)
    )


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Write every frame's mesh, measure them against the video, and report."""
    settings, folder, clip = run.recipe.settings, run.place(step), masked_clip(run)
    book = Flipbook(run, clip.times)
    placement = Placement.of(book.vertices)
    for index, time in enumerate(clip.times):
        data = still_glb(book.mesh_at(time), f"{clip.name} {index:05d}", settings.export, placement=placement)
        write_atomically(folder / RESULTS["frames"] / f"mesh_{index:05d}.glb", data)
    with ExitStack() as stack:
        watch = None
        if settings.export.preview:  # shows the pictures that are measured
            preview = PreviewWriter(folder / RESULTS["preview"], read_clip(run), settings.export.preview_size)
            watch = stack.enter_context(preview).add
        measured = yield from compare(book.mesh_at, Camera.identity(FOV_DEG), clip, watch=watch)
    matting = matting_of(run)
    of_meshes = [w for index in keyframes_of(run)[0] for w in load_warnings(run.place(Step("generation", index)))]
    first = book.mesh_at(0.0)
    report = {
        "verdict": verdict(
            measured["iou"]["per_frame"],
            matting.empty,
            matting.warnings,
            settings.export.verdict,
            psnr=measured["psnr"]["per_frame"],
        ),
        "version": v2m4.__version__,
        "baseline": "a mesh per frame; no camera search, no refinement, no registration",
        "clip": clip.name,
        "frames": len(clip),
        "times": list(clip.times),
        "duration": clip.duration,
        "keyframes": list(keyframes_of(run)[0]),
        "topology": topology(len(first.vertices), first.faces),
        "plugs": run.recipe.names | {"matting": matting.method},
        "licences": run.recipe.licences(matting.method),
        "weights": run.recipe.weights,
        "warnings": [*load_warnings(run.place(Step("video"))), *matting.warnings, *dict.fromkeys(of_meshes)],
        "seconds": run.times(),
    }
    write_atomically(folder / RESULTS["settings"], settings.to_json().encode())
    files = {name: digest_of(folder / name) for name in RESULTS.values() if (folder / name).exists()}
    report |= {"files": files} | measured
    write_atomically(folder / RESULTS["report"], json.dumps(report, indent=1).encode())
    run.publish(folder)


def recall(run: Run, step: Step) -> Iterator[Event]:
    """The files that were written, and the report."""
    names = ("frames", "preview", "report", "settings")
    files = {name: run.folder / RESULTS[name] for name in names if (run.folder / RESULTS[name]).exists()}
    yield Finished(files, json.loads((run.folder / RESULTS["report"]).read_text()))


SPEC = StageSpec(
    name=NAME,
    title="writing every frame's mesh",
    per="run",
    reads=("written_settings",),
    work=work,
    recall=recall,
    prior_s=5.0,
)
BASELINE_STAGES = (*(spec for spec in STAGES if spec.name in ("video", "matting", "keyframes", "generation")), SPEC)
