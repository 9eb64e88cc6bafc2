"""What steps leave in a run's folder: how each kind of artefact is written and read, and the ones that stages share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor

from v2m4.animation import Animation
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.files import reading, replacing, write_atomically
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rig import Rig
from v2m4.run import Run, Step

WARNINGS = "warnings.json"
MESHLESS = "meshless.json"
MENDED = "mended.npz"
RIG = "rig.npz"


def keyframes_of(run: Run) -> tuple[tuple[int, ...], int]:
    """The keyframes' frame indices, ascending, and the anchor: the one from whose mesh all others are registered.

    Those for which no mesh could be made are left out: the animation goes over them from neighbour to neighbour.
    Raises V2M4Error if that leaves none.
    """
    absent = meshless(run)
    kept = [index for index in visiting_order(*chosen_keyframes(run)) if index not in absent]
    if not kept:
        told = " ".join(f"Frame {index}: {why}" for index, why in absent.items())
        raise V2M4Error(f"No keyframe got a mesh. {told}")
    return tuple(sorted(kept)), kept[0]


def visiting_order(indices: tuple[int, ...], anchor: int) -> list[int]:
    """Keyframes from the anchor onwards, then backwards from it."""
    return [anchor, *(i for i in indices if i > anchor), *(i for i in reversed(indices) if i < anchor)]


def meshless(run: Run) -> dict[int, str]:
    """The keyframes for which no mesh could be made so far, and why."""
    found = {}
    for index in chosen_keyframes(run)[0]:
        step = Step("generation", index)
        path = run.place(step) / MESHLESS
        if run.done(step) and path.exists():
            with reading(path):
                found[index] = str(json.loads(path.read_text())["why"])
    return found


def save_meshless(place: Path, why: str) -> None:
    """Note in a keyframe's place why it has no mesh."""
    write_atomically(place / MESHLESS, json.dumps({"why": why}).encode())


def chosen_keyframes(run: Run) -> tuple[tuple[int, ...], int]:
    """All keyframes' frame indices, ascending, and the one chosen as anchor."""
    path = run.place(Step("keyframes")) / "keyframes.json"
    with reading(path):
        data = json.loads(path.read_text())
        return tuple(map(int, data["indices"])), int(data["anchor"])


@dataclass(frozen=True)
class MattingFacts:
    """How the object was cut out: by which method, sentences about what looks wrong, and frames without an object."""

    method: str
    warnings: tuple[str, ...]
    empty: tuple[int, ...]


def save_matting(place: Path, facts: MattingFacts) -> None:
    """Write what the matting step found out into its place."""
    write_atomically(place / "matting.json", json.dumps(asdict(facts), indent=1).encode())


def matting_of(run: Run) -> MattingFacts:
    """What the matting step found out."""
    path = run.place(Step("matting")) / "matting.json"
    with reading(path):
        data = json.loads(path.read_text())
        return MattingFacts(data["method"], tuple(data["warnings"]), tuple(data["empty"]))


def read_clip(run: Run) -> Clip:
    """The clip as it was read."""
    return Clip.load(run.place(Step("video")))


def masked_clip(run: Run) -> Clip:
    """The clip with its object cut out."""
    return Clip.load(run.place(Step("matting")) / "masked")


def posed_mesh(run: Run, index: int) -> Mesh:
    """The mesh of a keyframe, refined if it was, in camera space."""
    made, refined = run.place(Step("generation", index)) / "mesh.npz", run.place(Step("refinement", index)) / "mesh.npz"
    camera, _ = load_camera(run.place(Step("camera", index)) / "camera.json")
    return load_mesh(refined if run.recipe.refines else made).transformed(camera.world_to_camera)


def posed_rig(run: Run, index: int) -> Rig | None:
    """The skeleton and skin that a keyframe's mesh was brought with, in camera space; None if it was made without."""
    path = run.place(Step("generation", index)) / RIG
    if not path.exists():
        return None
    camera, _ = load_camera(run.place(Step("camera", index)) / "camera.json")
    return Rig(**load_arrays(path)).transformed(camera.world_to_camera.double().numpy())


def registered_vertices(run: Run, index: int) -> Tensor:
    """(V,3) camera-space vertices of the animation at a keyframe."""
    path = run.place(Step("registration", index)) / "registered.npz"
    with reading(path):
        return torch.from_numpy(load_arrays(path)["vertices"])


def moving_vertices(run: Run) -> Tensor:
    """(K,V,3) camera-space vertices of the animation at its keyframes, mended if they were."""
    if run.recipe.mends:
        path = run.place(Step("mending")) / MENDED
        with reading(path):
            return torch.from_numpy(load_arrays(path)["vertices"])
    return torch.stack([registered_vertices(run, index) for index in keyframes_of(run)[0]])


def animation_of(run: Run) -> Animation:
    """The finished animation."""
    indices, _ = keyframes_of(run)
    clip = masked_clip(run)
    poses = moving_vertices(run)
    mesh = load_mesh(run.place(Step("texture")) / "mesh.npz").with_vertices(poses[0])
    return Animation(poses, tuple(clip.times[i] for i in indices), mesh, clip.duration, clip.name, indices)


def finished_run(folder: Path) -> tuple[Animation, Clip]:
    """The animation and the masked clip of a finished run. Raises V2M4Error if it is not one."""
    run = Run.read(folder)
    run.forget_damaged()
    if not run.done(Step("texture")):
        raise V2M4Error(
            f"The run in {folder} is not finished, or something of it is gone. Give its `v2m4 reconstruct` command "
            "again."
        )
    return animation_of(run), masked_clip(run)


def save_mesh(path: Path, mesh: Mesh) -> None:
    """Write a mesh as ``.npz``."""
    arrays = {k: v.detach().cpu().numpy() for k, v in vars(mesh).items() if isinstance(v, Tensor)}
    save_arrays(path, **arrays)


def load_mesh(path: Path) -> Mesh:
    """Read a mesh that `save_mesh` wrote."""
    with reading(path):
        return Mesh(**{k: torch.from_numpy(v) for k, v in load_arrays(path).items()})


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays as ``.npz``, whole or not at all."""
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote."""
    with reading(path), np.load(path, allow_pickle=False) as data:
        return {k: data[k] for k in data.files}


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as ``.safetensors``."""
    # In memory first: the library's own writing does not raise OSError on a full disk.
    write_atomically(path, save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `save_tensors` wrote."""
    with reading(path):
        return load_file(path)


def save_camera(path: Path, camera: Camera, **facts: float | str) -> None:
    """Write a camera and facts about how it was found as JSON."""
    data = {"world_to_camera": camera.world_to_camera.tolist(), "fov_deg": camera.fov_deg, **facts}
    write_atomically(path, json.dumps(data, indent=1).encode())


def load_camera(path: Path) -> tuple[Camera, dict[str, Any]]:
    """Read a camera that `save_camera` wrote, and the facts beside it."""
    with reading(path):
        data = json.loads(path.read_text())
        camera = Camera(torch.tensor(data.pop("world_to_camera"), dtype=torch.float32), data.pop("fov_deg"))
        return camera, data


def save_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H,W,3|4) uint8 as PNG."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG", compress_level=1)


def load_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture that `save_picture` wrote."""
    with reading(path), Image.open(path) as image:
        return np.asarray(image)


def save_warnings(place: Path, warnings: tuple[str, ...]) -> None:
    """Write the sentences that a step has for the user into its place; nothing if there are none."""
    if warnings:
        write_atomically(place / WARNINGS, json.dumps(list(warnings)).encode())


def load_warnings(place: Path) -> tuple[str, ...]:
    """What `save_warnings` wrote into a step's place."""
    path = place / WARNINGS
    with reading(path):
        return tuple(json.loads(path.read_text())) if path.exists() else ()
