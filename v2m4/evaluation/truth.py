"""Sequences whose geometry is known: what a reconstruction is measured against."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.evaluation.glb import read_glb
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh, face_normals

_INT16_MAX = 32767  # of the positions as they are stored
_NO_CAMERA = {"w2c": np.eye(4), "K": np.eye(3), "size": np.ones(2, np.int64)}


@dataclass(frozen=True)
class Truth:
    """vertices: (T,V,3) of ``mesh`` at ``times`` (seconds), in a y-up world.

    world_to_camera: (4,4) with OpenCV axes. intrinsics: (3,3) in pixels. size: (width, height) of the picture.
    """

    vertices: Tensor
    times: NDArray[np.float64]
    mesh: Mesh
    world_to_camera: Tensor
    intrinsics: NDArray[np.float64]
    size: tuple[int, int]

    @property
    def camera(self) -> Camera:
        """The camera over the picture padded to a square (centred), as the pipeline sees it."""
        focal = float(self.intrinsics[0, 0]) / max(self.size)
        return Camera(self.world_to_camera, float(np.degrees(2 * np.arctan(0.5 / focal))))

    def in_camera_space(self) -> Tensor:
        """(T,V,3) the vertices as the camera sees them."""
        return self.camera.to_camera(self.vertices)


def save_truth(path: Path, truth: Truth, jpeg_quality: int = 85) -> None:
    """Write compactly: positions as 16-bit integers, the texture as JPEG."""
    v = truth.vertices.double().numpy()
    centre = (v.min((0, 1)) + v.max((0, 1))) / 2
    scale = np.abs(v - centre).max() / _INT16_MAX
    steps = np.round((v - centre) / scale).astype(np.int16)
    mesh, texture = truth.mesh, np.zeros(0, np.uint8)
    if mesh.texture is not None:
        stream = io.BytesIO()
        Image.fromarray((mesh.texture.clamp(0, 1) * 255).round().byte().numpy()).save(
            stream, "JPEG", quality=jpeg_quality
        )
        texture = np.frombuffer(stream.getvalue(), np.uint8)
    np.savez_compressed(
        path,
        first=steps[0],
        steps=np.diff(steps.astype(np.int32), axis=0).astype(np.int16),
        scale=scale,
        centre=centre,
        faces=mesh.faces.numpy().astype(np.uint16),
        uv=np.zeros((0, 2), np.float16) if mesh.uv is None else np.round(mesh.uv.numpy() * 65535).astype(np.uint16),
        uv_faces=np.zeros((0, 3), np.uint16) if mesh.uv_faces is None else mesh.uv_faces.numpy().astype(np.uint16),
        texture=texture,
        times=truth.times,
        w2c=truth.world_to_camera.double().numpy(),
        K=truth.intrinsics,
        size=np.asarray(truth.size),
    )


def load_truth(path: Path) -> Truth:
    """Read what `save_truth` wrote, or an NPZ with ``vertices`` (T,V,3), faces, times, w2c, K, size and maybe uv."""
    return _from_arrays(_arrays(path), path)


def read_truth(path: Path, times: Sequence[float]) -> Truth:
    """What `load_truth` reads, or an animated GLB, posed at ``times`` in seconds. Raises V2M4Error.

    An NPZ without times has a pose for each of ``times``; without a camera it will do where surfaces are compared.
    """
    if path.suffix.lower() != ".glb":
        data = _arrays(path)
        count = len(data["vertices"]) if "vertices" in data else 0
        if count and "times" not in data and count != len(times):
            raise V2M4Error(
                f"{path} holds {count} poses and no times, but the video has {len(times)} frames. Add the array times, "
                "in seconds."
            )
        return _from_arrays({"times": np.asarray(times, np.float64)} | _NO_CAMERA | data, path)
    model = read_glb(path)
    poses = torch.stack([model.at(time) for time in times])
    return Truth(poses, np.asarray(times, np.float64), model.mesh, torch.eye(4), np.eye(3), (1, 1))


def first_mesh(path: Path) -> Mesh:
    """The first pose of what `read_truth` reads. Raises V2M4Error."""
    if path.suffix.lower() == ".glb":
        return read_truth(path, [0.0]).mesh
    data = _arrays(path)
    return _from_arrays({"times": np.arange(float(len(data.get("vertices", ()))))} | _NO_CAMERA | data, path).mesh


def _arrays(path: Path) -> dict[str, NDArray]:
    if not path.exists():
        raise V2M4Error(f"There is no file {path}. Check --truth.")
    try:
        data = np.load(path)
        if not isinstance(data, np.lib.npyio.NpzFile):
            raise V2M4Error(_no_truth(path, "it is a single array"))
        with data:
            return {k: data[k] for k in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise V2M4Error(_no_truth(path, "it is no NPZ")) from error


def _no_truth(path: Path, why: str) -> str:
    return (
        f"{path} is not a sequence with known geometry: {why}. Give an animated GLB, or an NPZ with vertices (T,V,3), "
        "faces (F,3) and times."
    )


def _from_arrays(data: dict[str, NDArray], path: Path) -> Truth:
    try:
        truth = _assembled(data)
    except KeyError as error:
        raise V2M4Error(_no_truth(path, f"it lacks {error}")) from error
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise V2M4Error(_no_truth(path, str(error))) from error
    poses, faces = truth.vertices, truth.mesh.faces
    if poses.ndim != 3 or poses.shape[2] != 3 or faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
        raise V2M4Error(_no_truth(path, f"its vertices are {tuple(poses.shape)} and its faces {tuple(faces.shape)}"))
    if not bool(torch.isfinite(poses).all()) or int(faces.min()) < 0 or int(faces.max()) >= poses.shape[1]:
        raise V2M4Error(_no_truth(path, "its vertices are not finite or its faces name vertices that are not there"))
    if truth.times.shape != (len(poses),):
        raise V2M4Error(_no_truth(path, f"{len(poses)} poses need as many times, but it has {truth.times.size}"))
    if not np.isfinite(truth.times).all() or (np.diff(truth.times) <= 0).any():
        raise V2M4Error(_no_truth(path, "its times are not finite numbers that ascend"))
    if not bool(face_normals(poses[0], faces, normalise=False).any()):
        raise V2M4Error(_no_truth(path, "its first pose has no area"))
    return truth


def _assembled(data: dict[str, NDArray]) -> Truth:
    uv = uv_faces = texture = colors = None
    faces = torch.from_numpy(data["faces"].astype(np.int64))
    if "steps" in data:
        steps = np.concatenate([data["first"][None].astype(np.int64), data["steps"]]).cumsum(0)
        vertices = steps * float(data["scale"]) + data["centre"]
        if len(data["uv"]):
            uv = torch.from_numpy(data["uv"].astype(np.float32) / 65535)
            uv_faces = torch.from_numpy(data["uv_faces"].astype(np.int64))
        if len(data["texture"]):
            with Image.open(io.BytesIO(data["texture"].tobytes())) as image:
                texture = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255)
    else:
        vertices = data["vertices"]
        if "colors" in data:
            colors = torch.from_numpy(data["colors"][:, :3].astype(np.float32) / 255)
    poses = torch.from_numpy(np.asarray(vertices, np.float32))
    mesh = Mesh(poses[0], faces, uv, uv_faces, texture, colors)
    width, height = (int(n) for n in data["size"])
    w2c = torch.from_numpy(data["w2c"]).float()
    return Truth(poses, np.asarray(data["times"], np.float64), mesh, w2c, data["K"].astype(np.float64), (width, height))
