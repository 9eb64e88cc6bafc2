"""The generation step: one mesh from a keyframe's picture."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from v2m4.artefacts import load_arrays, load_warnings, masked_clip, save_camera, save_mesh, save_tensors, save_warnings
from v2m4.events import Event, MeshGenerated, Progress, StageRun
from v2m4.export.glb import write_still
from v2m4.geometry.mesh import Mesh
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.workbench import Workbench


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Make the mesh; with it, a camera if the generator knows one, and what refinement needs."""
    index = step.frame
    yield Progress("generation", 0.0, index)
    rng = run.rng(step)
    made = bench.generator(masked_clip(run).frame(index), rng, bench.device)
    place, mesh = run.place(step), shaken(made.mesh.to("cpu"), run.recipe.settings.generator.noise, rng)
    save_mesh(place / "mesh.npz", mesh)
    if made.camera is not None:
        save_camera(place / "camera.json", made.camera)
    if made.extras:
        save_tensors(place / "extras.safetensors", made.extras)
    save_warnings(place, made.warnings)
    write_still(place / "mesh.glb", mesh, axes="z_up")


def shaken(mesh: Mesh, noise: float, rng: torch.Generator) -> Mesh:
    """The mesh with Gaussian noise of standard deviation ``noise`` times its box's diagonal on every vertex."""
    if noise == 0:
        return mesh
    diagonal = (mesh.vertices.amax(0) - mesh.vertices.amin(0)).norm()
    return mesh.with_vertices(mesh.vertices + noise * diagonal * torch.randn(mesh.vertices.shape, generator=rng))


def recall(run: Run, step: Step) -> Iterator[Event]:
    """How large the mesh is, and where a viewer finds it."""
    place = run.place(step)
    faces = len(load_arrays(place / "mesh.npz")["faces"])
    yield MeshGenerated(step.frame, faces, place / "mesh.glb", load_warnings(place))


SPEC = StageSpec(
    name="generation",
    title="making a mesh",
    per="mesh",
    reads=("settings.generator", "settings.seed", "settings.device", "plugs.generator", "mesh_per_keyframe"),
    rooms=("generators", "nn", "formats", "geometry", "render", "artefacts"),
    work=work,
    recall=recall,
    prior_s=1.5,
    gpu_s=30,
)
