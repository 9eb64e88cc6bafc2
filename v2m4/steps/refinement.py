"""The refinement step: the look of a keyframe's mesh, where its generator allows that."""

from __future__ import annotations

from collections.abc import Iterator

from v2m4.artefacts import load_camera, load_mesh, load_tensors, masked_clip, save_mesh, save_warnings
from v2m4.errors import NoSurfaceError
from v2m4.events import Event, MeshRefined, StageRun
from v2m4.export.glb import write_still
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.stages.refinement import Resumable, refine_appearance
from v2m4.workbench import Workbench


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Refine the mesh under its camera."""
    index, place, generator = step.frame, run.place(step), bench.generator
    assert isinstance(generator, Resumable), f"{run.recipe.names['generator']} is declared refinable but is not"
    camera, _ = load_camera(run.place(Step("camera", index)) / "camera.json")
    made = run.place(Step("generation", index))
    try:
        mesh = yield from refine_appearance(
            generator,
            load_tensors(made / "extras.safetensors"),
            masked_clip(run).frame(index),
            camera.to(bench.device),
            run.recipe.settings.refinement,
            keyframe=index,
            device=bench.device,
            distances=bench.image_distances,
        )
    except NoSurfaceError:
        mesh = load_mesh(made / "mesh.npz")
        save_warnings(place, (f"Frame {index}: refinement lost the surface, so the mesh stays as it was made.",))
    save_mesh(place / "mesh.npz", mesh.to("cpu"))
    write_still(place / "mesh.glb", mesh.to("cpu"), axes="z_up")


def recall(run: Run, step: Step) -> Iterator[Event]:
    """Where a viewer finds the refined mesh."""
    yield MeshRefined(step.frame, run.place(step) / "mesh.glb")


SPEC = StageSpec(
    name="refinement",
    title="refining the look",
    per="mesh",
    reads=("settings.refinement", "refines"),
    ports=("generator", "perceptual/dreamsim", "perceptual/lpips"),
    work=work,
    recall=recall,
    prior_s=10.0,
    gpu_s=20,
    warm_gpu_s=3.6,
    wanted=lambda recipe: recipe.refines,
)
