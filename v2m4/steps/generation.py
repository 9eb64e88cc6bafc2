"""The generation step: one mesh from a keyframe's picture."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from v2m4.artefacts import (
    RIG,
    keyframes_of,
    load_arrays,
    load_warnings,
    masked_clip,
    meshless,
    save_arrays,
    save_camera,
    save_mesh,
    save_meshless,
    save_tensors,
    save_warnings,
)
from v2m4.errors import NoSurfaceError
from v2m4.events import Event, KeyframePassedOver, MeshGenerated, MeshSketched, Progress, StageRun, mapped
from v2m4.export.glb import write_still
from v2m4.generators import Generated, Generator, LooksAround, complaint
from v2m4.geometry.mesh import Mesh
from v2m4.registry import Plug
from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec
from v2m4.workbench import Workbench

_LEAST_FACES = 4


def work(run: Run, step: Step, bench: Workbench) -> StageRun[None]:
    """Make the mesh; with it, a camera if the generator knows one, and what refinement needs."""
    index = step.frame
    yield Progress("generation", 0.0, index)
    place, rng = run.place(step), run.rng(step)
    plug, generator, clip = run.recipe.plugs_of("generator")[0], bench.generator, masked_clip(run)

    def sketched(sketch: Generated) -> Event:
        write_still(place / "sketch.glb", _sound(sketch, plug), axes="z_up")
        return MeshSketched(index, place / "sketch.glb")

    try:
        with plug.answering():
            if isinstance(generator, LooksAround):
                beside = generator.beside(clip, index, keyframes_of(run)[0], rng, bench.device)
                made = yield from mapped(beside, sketched)
            else:
                made = generator(clip.frame(index), rng, bench.device)
        mesh = _sound(made, plug)
    except NoSurfaceError as error:
        if not run.recipe.mesh_per_keyframe:
            raise
        save_meshless(place, str(error))
        return
    mesh = shaken(mesh, run.recipe.settings.generator.noise, rng)
    save_mesh(place / "mesh.npz", mesh)
    if made.camera is not None:
        save_camera(place / "camera.json", made.camera)
    if made.extras:
        save_tensors(place / "extras.safetensors", made.extras)
    if made.rig is not None:
        save_arrays(place / RIG, **vars(made.rig))
    save_warnings(place, made.warnings)
    write_still(place / "mesh.glb", mesh, axes="z_up")


def shaken(mesh: Mesh, noise: float, rng: torch.Generator) -> Mesh:
    """The mesh with Gaussian noise of standard deviation ``noise`` times its box's diagonal on every vertex."""
    if noise == 0:
        return mesh
    diagonal = (mesh.vertices.amax(0) - mesh.vertices.amin(0)).norm()
    return mesh.with_vertices(mesh.vertices + noise * diagonal * torch.randn(mesh.vertices.shape, generator=rng))


def _sound(made: Generated, plug: Plug[Generator]) -> Mesh:
    """The mesh that the plug made, on the CPU. Raises V2M4Error for an answer that is none, NoSurfaceError for a mesh
    that nothing can be done with."""
    wrong = complaint(made)
    if wrong:
        raise plug.failed(wrong)
    mesh = made.mesh.to("cpu")
    extent = mesh.vertices.amax(0) - mesh.vertices.amin(0) if len(mesh.vertices) else torch.zeros(3)
    if len(mesh.faces) == 0 or len(mesh.vertices) == 0:
        wrong = "is empty"
    elif not bool(torch.isfinite(mesh.vertices).all()):
        wrong = "has vertices that are not finite numbers"
    elif int((extent > 0).sum()) < 2:
        wrong = "is a line or a point"
    elif (number := len(mesh.faces.sort(1).values.unique(dim=0))) < _LEAST_FACES:
        wrong = f"has {number} different faces, and {_LEAST_FACES} are the least that can be moved"
    elif number < len(mesh.faces) // 2:
        raise plug.failed(f"made {len(mesh.faces)} faces of which {len(mesh.faces) - number} are others again")
    else:
        return mesh
    raise NoSurfaceError(f"The mesh that the generator made {wrong}. Try another seed or another generator.")


def recall(run: Run, step: Step) -> Iterator[Event]:
    """How large the mesh is, and where a viewer finds it; or why there is none."""
    place = run.place(step)
    if step.frame in (absent := meshless(run)):
        yield KeyframePassedOver(step.frame, absent[step.frame])
        return
    faces = len(load_arrays(place / "mesh.npz")["faces"])
    yield MeshGenerated(step.frame, faces, place / "mesh.glb", load_warnings(place))


SPEC = StageSpec(
    name="generation",
    title="making a mesh",
    per="mesh",
    reads=("settings.generator", "settings.seed", "settings.device", "plugs.generator", "mesh_per_keyframe"),
    ports=("generator",),
    work=work,
    recall=recall,
    prior_s=1.5,
    gpu_s=20,
    warm_gpu_s=1.3,
)
