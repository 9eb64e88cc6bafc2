"""A run's folder: what is finished, and the artefacts of every stage and keyframe.

    OUTPUT/
      animation.glb  animation.camera.json  preview.mp4  settings.json  report.json
      work/
        run.json                     the manifest: settings, source, finished steps
        frames/  masked/             the clip as read, and with its object cut out
        keyframes/00005/             mesh.npz, camera.json, view_*.png, refined.npz, registered.npz, ...
        textured.npz

A step is finished when the manifest holds its fingerprint: the source's, and the settings of its stage and of those
before it. So a killed run goes on where it stopped, and changing a late setting repeats only what depends on it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

import v2m4
from v2m4.errors import V2M4Error
from v2m4.events import Stage
from v2m4.files import replacing, write_atomically
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.settings import Settings

STAGES: tuple[Stage, ...] = get_args(Stage)
_SHARED = ("seed", "device", "commercial_use")
_INPUTS: Mapping[Stage, tuple[str, ...]] = {
    "video": ("video",),
    "matting": ("matting",),
    "keyframes": ("keyframes",),
    "generation": ("generator", *_SHARED),
    "camera": ("camera", "stereo", "perceptual"),
    "refinement": ("refinement",),
    "registration": ("registration",),
    "texture": ("texture",),
    "export": ("export", "preset"),
}


@dataclass(frozen=True)
class Step:
    """One bounded piece of work: a stage, of one keyframe where the stage works on keyframes.

    ``after`` is the keyframe that registration starts from.
    """

    stage: Stage
    keyframe: int | None = None
    after: int | None = None

    @property
    def name(self) -> str:
        """Its key in the manifest."""
        return self.stage if self.keyframe is None else f"{self.stage}-{self.keyframe:05d}"


class Run:
    """The folder of one run, and the only thing that steps share."""

    def __init__(self, folder: Path, source: Path, settings: Settings) -> None:
        """Open ``folder`` for turning ``source`` into an animation; finished work found there is kept."""
        self.folder = folder
        self.work = folder / "work"
        self.source = source
        self.settings = settings
        self._prints = _fingerprints(source, settings)
        try:
            self.work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise V2M4Error(f"Cannot use the folder {folder}: {error.strerror}. Choose another with -o.") from error
        self._finished = {
            name: entry
            for name, entry in _read_finished(self.work / "run.json").items()
            if entry["fingerprint"] == self._prints[name.split("-")[0]]
        }
        self._write_manifest()

    @classmethod
    def read(cls, folder: Path, settings: Settings) -> Run:
        """A run only to be looked at: its source need not exist any more."""
        run = cls.__new__(cls)
        run.folder, run.work, run.source, run.settings = folder, folder / "work", Path(), settings
        run._finished = _read_finished(run.work / "run.json")
        run._prints = {}
        return run

    @property
    def resumed(self) -> bool:
        """Whether the folder already held finished steps of this very run."""
        return bool(self._finished)

    def done(self, step: Step) -> bool:
        """Whether the step is finished."""
        return step.name in self._finished

    def seconds(self, stage: Stage) -> list[float]:
        """How long each finished step of the stage took."""
        return [e["seconds"] for name, e in self._finished.items() if name.split("-")[0] == stage]

    def finish(self, step: Step, seconds: float) -> None:
        """Enter the step into the manifest."""
        self._finished[step.name] = {"fingerprint": self._prints[step.stage], "seconds": round(seconds, 3)}
        self._write_manifest()

    def rng(self, step: Step) -> torch.Generator:
        """The step's own random numbers: the same whether or not the steps before it were resumed."""
        digest = hashlib.sha256(f"{self.settings.seed}/{step.name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))

    def request_stop(self) -> None:
        """Ask whoever works on this run, in whichever process, to stop after the current iteration."""
        (self.work / "stop").touch()

    def clear_stop(self) -> None:
        """Forget an earlier request to stop."""
        (self.work / "stop").unlink(missing_ok=True)

    def stop_requested(self) -> bool:
        """Whether somebody asked to stop."""
        return (self.work / "stop").exists()

    def keyframe(self, index: int) -> Path:
        """The folder of a keyframe's artefacts."""
        folder = self.work / "keyframes" / f"{index:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear_work(self) -> None:
        """Delete the intermediate artefacts; the results stay."""
        shutil.rmtree(self.work, ignore_errors=True)

    def _write_manifest(self) -> None:
        data = {
            "version": v2m4.__version__,
            "source": self.source.name,
            "settings": json.loads(self.settings.to_json()),
            "finished": self._finished,
        }
        write_atomically(self.work / "run.json", json.dumps(data, indent=1).encode())


def _read_finished(manifest: Path) -> dict[str, dict[str, Any]]:
    """The finished steps a manifest lists; none if it is absent or damaged."""
    try:
        return json.loads(manifest.read_text())["finished"]
    except (OSError, json.JSONDecodeError, KeyError):
        return {}


def _fingerprints(source: Path, settings: Settings) -> dict[str, str]:
    """The fingerprint of every stage: a chain over the source and the settings so far."""
    chain = hashlib.sha256(f"{v2m4.__version__}/{_source_identity(source)}".encode())
    prints: dict[str, str] = {}
    for stage in STAGES:
        for name in _INPUTS[stage]:
            value = getattr(settings, name)
            plain = vars(value) if dataclasses.is_dataclass(value) else value
            chain.update(json.dumps({name: plain}, default=str, sort_keys=True).encode())
        if stage == "generation" and settings.generator.template is not None:
            chain.update(_source_identity(settings.generator.template).encode())
        prints[stage] = chain.hexdigest()[:16]
    return prints


def _source_identity(path: Path) -> str:
    """A digest of the file's bytes, or of a folder's names and sizes."""
    if path.is_dir():
        listing = sorted((p.name, p.stat().st_size) for p in path.iterdir() if p.is_file())
        return hashlib.sha256(repr(listing).encode()).hexdigest()
    if not path.is_file():
        return "absent"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_mesh(path: Path, mesh: Mesh) -> None:
    """Write a mesh as ``.npz``."""
    arrays = {k: v.detach().cpu().numpy() for k, v in vars(mesh).items() if isinstance(v, Tensor)}
    save_arrays(path, **arrays)


def load_mesh(path: Path) -> Mesh:
    """Read a mesh that `save_mesh` wrote."""
    return Mesh(**{k: torch.from_numpy(v) for k, v in load_arrays(path).items()})


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays as ``.npz``, whole or not at all."""
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return {k: data[k] for k in data.files}


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as ``.safetensors``."""
    with replacing(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `save_tensors` wrote."""
    return load_file(path)


def save_camera(path: Path, camera: Camera, **facts: float | str) -> None:
    """Write a camera and facts about how it was found as JSON."""
    data = {"world_to_camera": camera.world_to_camera.tolist(), "fov_deg": camera.fov_deg, **facts}
    write_atomically(path, json.dumps(data, indent=1).encode())


def load_camera(path: Path) -> tuple[Camera, dict[str, Any]]:
    """Read a camera that `save_camera` wrote, and the facts beside it."""
    data = json.loads(path.read_text())
    camera = Camera(torch.tensor(data.pop("world_to_camera"), dtype=torch.float32), data.pop("fov_deg"))
    return camera, data


def save_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Write (H,W,3|4) uint8 as PNG."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG", compress_level=1)
