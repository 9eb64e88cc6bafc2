"""The animated GLB: base mesh, one morph target per keyframe, and weights that fade from each to the next.

A LINEAR animation of the weights, with a single 1 per key, *is* the linear interpolation of section 4.5: exact at every
time, at a fifth of the size of one file per frame.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import v2m4
from v2m4.animation import Animation
from v2m4.color import srgb_to_linear
from v2m4.errors import V2M4Error
from v2m4.export.container import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GltfDocument
from v2m4.export.placement import Placement
from v2m4.files import write_atomically
from v2m4.geometry.mesh import Mesh, vertex_normals
from v2m4.settings import ExportSettings

Axes = Literal["camera", "z_up"]
EncodedPicture: TypeAlias = tuple[bytes, str]
"""A picture file's bytes and its MIME type."""
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP_TO_EDGE = 9729, 9987, 33071  # glTF 2.0, sampler
_INT16_MAX, _INT8_MAX, _UINT16_MAX = 32767, 127, 65535  # of normalised integers
_ROUGHNESS = 0.9  # nearly matt: the video's light is in the texture already
_GREY = 0.6  # linear, of a mesh without colours: the renderer's grey
_JPEG_QUALITY = 92  # hard to tell from the original, at a fraction of a PNG


@dataclass(frozen=True)
class _Corners:
    """Vertices as glTF wants them: one per pair of a position and a texture coordinate.

    source: (N,) which of the mesh's vertices each is. faces: (F,3) into them. uv: (N,2) or None.
    """

    source: NDArray[np.int64]
    faces: NDArray[np.int64]
    uv: NDArray[np.float32] | None


def write_glb(
    path: Path,
    animation: Animation,
    settings: ExportSettings,
    provenance: dict[str, Any],
    picture: EncodedPicture | None = None,
) -> None:
    """Write ``animation`` as a glTF 2.0 binary file, whole or not at all.

    The base mesh is the first keyframe. ``provenance`` (plain JSON values) goes to ``asset.extras``. ``picture``: the
    texture, where that was encoded before. Positions are those of `Placement.of(animation.vertices)`: y up, about unit
    size, centred. Raises V2M4Error if there is no face or a vertex is not finite.
    """
    write_atomically(path, animated_glb(animation, settings, provenance, picture))


def write_still(path: Path, mesh: Mesh, *, axes: Axes = "camera", settings: ExportSettings | None = None) -> None:
    """Write one mesh as a GLB, centred and about unit size.

    ``axes``: ``camera`` for meshes in camera space (x right, y down, z forward), ``z_up`` for canonical ones.
    """
    write_atomically(path, still_glb(mesh, path.stem, settings or ExportSettings(), axes=axes))


def animated_glb(
    animation: Animation, settings: ExportSettings, provenance: dict[str, Any], picture: EncodedPicture | None = None
) -> bytes:
    """The bytes `write_glb` writes."""
    world = Placement.of(animation.vertices).to_world(animation.vertices)
    return _glb(animation.mesh, world, animation.times, animation.name, settings, provenance, picture)


def still_glb(
    mesh: Mesh, name: str, settings: ExportSettings, *, axes: Axes = "camera", placement: Placement | None = None
) -> bytes:
    """The bytes `write_still` writes; ``placement`` overrides the mesh's own (several stills in one world)."""
    vertices = mesh.vertices.detach().cpu()
    if axes == "z_up":  # to camera space: a level camera that looks along +y
        vertices = torch.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], dim=-1)
    world = (placement or Placement.of(vertices[None])).to_world(vertices[None])
    return _glb(mesh, world, (0.0,), name, settings, {})


def _glb(
    mesh: Mesh,
    poses: Tensor,
    times: tuple[float, ...],
    name: str,
    settings: ExportSettings,
    extras: dict[str, Any],
    picture: EncodedPicture | None = None,
) -> bytes:
    """``poses``: (K,V,3) in the file's world. One pose makes a still."""
    poses = poses.detach().cpu().float()
    if not bool(torch.isfinite(poses).all()):
        raise V2M4Error(f"The mesh of “{name}” has vertices that are not finite numbers, so it cannot be written.")
    if not len(mesh.faces):
        raise V2M4Error(f"The mesh of “{name}” has no faces, so it cannot be written.")
    faces = mesh.faces.cpu()
    corners = _split_corners(mesh)
    normals = _unit_normals(poses if settings.morph_normals else poses[:1], faces)
    document = GltfDocument(f"v2m4 {v2m4.__version__}")
    if extras:
        document.json["asset"]["extras"] = extras

    node: dict[str, Any] = {"name": name, "mesh": 0}
    positions: NDArray[Any] = poses.numpy()
    directions: NDArray[Any] = normals
    if settings.quantise:
        grid = _Grid.around(poses.numpy())
        document.json["extensionsUsed"] = ["KHR_mesh_quantization"]
        document.json["extensionsRequired"] = ["KHR_mesh_quantization"]
        node["translation"], node["scale"] = list(grid.centre), [grid.size] * 3
        positions, directions = grid.snap(positions), _to_int8(normals)

    attributes = {
        "POSITION": _attribute(document, positions[0][corners.source], normalised=settings.quantise, bounds=True),
        "NORMAL": _attribute(document, directions[0][corners.source], normalised=settings.quantise),
    }
    attributes |= _appearance(document, mesh, corners, settings, picture)
    primitive: dict[str, Any] = {
        "attributes": attributes,
        "indices": document.accessor(_smallest_indices(corners.faces), target=ELEMENT_ARRAY_BUFFER),
        "material": 0,
    }
    shape: dict[str, Any] = {"name": name, "primitives": [primitive]}
    if len(times) > 1:
        primitive["targets"] = _morph_targets(document, positions, directions, corners, settings)
        shape["weights"] = [0.0] * len(times)
        shape["extras"] = {"targetNames": [f"keyframe {i:03d}" for i in range(len(times))]}
        document.json["animations"] = [_weights_animation(document, times, name)]
    document.json |= {"scene": 0, "scenes": [{"name": name, "nodes": [0]}], "nodes": [node], "meshes": [shape]}
    return document.to_bytes()


def _split_corners(mesh: Mesh) -> _Corners:
    faces = mesh.faces.cpu().numpy()
    if mesh.uv is None or mesh.uv_faces is None:
        source, inverse = np.unique(faces, return_inverse=True)
        return _Corners(source, inverse.reshape(-1, 3), None)
    pairs = np.stack([faces.reshape(-1), mesh.uv_faces.cpu().numpy().reshape(-1)], axis=1)
    corners, inverse = np.unique(pairs, axis=0, return_inverse=True)
    uv = mesh.uv.detach().cpu().numpy().astype(np.float32)[corners[:, 1]]
    return _Corners(corners[:, 0], inverse.reshape(-1, 3), uv)


def _unit_normals(poses: Tensor, faces: Tensor) -> NDArray[np.float32]:
    """(K,V,3) normals of unit length; up where faces without area leave none."""
    normals = vertex_normals(poses.double(), faces)
    normals[normals.norm(dim=-1) < 0.5] = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    return normals.float().numpy()


def _attribute(document: GltfDocument, values: NDArray[Any], *, normalised: bool = False, bounds: bool = False) -> int:
    return document.accessor(values, target=ARRAY_BUFFER, normalised=normalised, bounds=bounds)


def _smallest_indices(faces: NDArray[np.int64]) -> NDArray[Any]:
    """Indices as glTF stores them; the largest 16-bit value is reserved for restarting primitives."""
    return faces.reshape(-1).astype(np.uint16 if faces.max() < _UINT16_MAX else np.uint32)


def _morph_targets(
    document: GltfDocument,
    positions: NDArray[Any],
    directions: NDArray[Any],
    corners: _Corners,
    settings: ExportSettings,
) -> list[dict[str, int]]:
    """One target per keyframe: differences from the base. The base keyframe's own is all zeros and takes no room."""
    zero = document.zeros(len(corners.source), 3)
    targets: list[dict[str, int]] = []
    for k in range(len(positions)):
        target = {"POSITION": zero}
        if k > 0:
            delta = (positions[k] - positions[0])[corners.source]
            target["POSITION"] = _attribute(document, delta, normalised=settings.quantise, bounds=True)
        if settings.morph_normals:
            target["NORMAL"] = zero
            if k > 0:
                turn = _normal_difference(directions[k], directions[0])[corners.source]
                target["NORMAL"] = _attribute(document, turn, normalised=settings.quantise)
        targets.append(target)
    return targets


def _normal_difference(normals: NDArray[Any], base: NDArray[Any]) -> NDArray[Any]:
    """Differences in the base's own type; those of 8 bits end at ±1 (a normal that turns by more than 60 degrees)."""
    if base.dtype == np.int8:
        return np.clip(normals.astype(np.int16) - base, -_INT8_MAX, _INT8_MAX).astype(np.int8)
    return normals - base


def _weights_animation(document: GltfDocument, times: tuple[float, ...], name: str) -> dict[str, Any]:
    keys = np.asarray(times, np.float32)
    if (np.diff(keys) <= 0).any():
        raise V2M4Error(f"Two keyframes of “{name}” have the same time; check the video's timestamps.")
    sampler = {
        "input": document.accessor(keys, bounds=True),
        "output": document.accessor(np.eye(len(times), dtype=np.float32).reshape(-1)),
        "interpolation": "LINEAR",
    }
    channel = {"sampler": 0, "target": {"node": 0, "path": "weights"}}
    return {"name": name, "samplers": [sampler], "channels": [channel]}


@dataclass(frozen=True)
class _Grid:
    """The grid positions snap to when quantised: world = centre + size * q / 32767, q 16-bit.

    One size for the three axes, so that normals need no correction; large enough for the positions and for their
    differences from the base, which may be longer.
    """

    centre: tuple[float, float, float]
    size: float

    @staticmethod
    def around(poses: NDArray[np.float32]) -> _Grid:
        low, high = poses.min(axis=(0, 1)).astype(np.float64), poses.max(axis=(0, 1)).astype(np.float64)
        centre = (low + high) / 2
        reach = max(float(np.abs(poses - centre).max()), float(np.abs(poses - poses[:1]).max()), 1e-9)
        x, y, z = centre.tolist()
        # Two steps of room: a difference of two rounded numbers may exceed the rounded difference by one.
        return _Grid((x, y, z), reach * _INT16_MAX / (_INT16_MAX - 2))

    def snap(self, poses: NDArray[np.float32]) -> NDArray[np.int16]:
        scaled = (poses - np.asarray(self.centre)) * (_INT16_MAX / self.size)
        return np.round(scaled).astype(np.int16)


def _to_int8(normals: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.round(normals * _INT8_MAX).astype(np.int8)


def _appearance(
    document: GltfDocument, mesh: Mesh, corners: _Corners, settings: ExportSettings, picture: EncodedPicture | None
) -> dict[str, int]:
    """Add the material; return the vertex attributes it needs. A colour of the video holds its light already, so that
    the material is unlit unless the settings say ``lit``; a mesh without any is lit."""
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": _ROUGHNESS}
    attributes: dict[str, int] = {}
    if mesh.texture is not None and corners.uv is not None:
        data, mime = picture or encode_texture(mesh.texture, settings.texture_format)
        document.json |= {
            "images": [{"name": "texture", "bufferView": document.view(data), "mimeType": mime}],
            "samplers": [
                {
                    "magFilter": _LINEAR,
                    "minFilter": _LINEAR_MIPMAP_LINEAR,
                    "wrapS": _CLAMP_TO_EDGE,
                    "wrapT": _CLAMP_TO_EDGE,
                }
            ],
            "textures": [{"sampler": 0, "source": 0}],
        }
        surface["baseColorTexture"] = {"index": 0}
        uv = corners.uv
        if settings.quantise and uv.min() >= 0 and uv.max() <= 1:
            uv16 = np.round(uv * np.float64(_UINT16_MAX)).astype(np.uint16)
            attributes["TEXCOORD_0"] = _attribute(document, uv16, normalised=True)
        else:
            attributes["TEXCOORD_0"] = _attribute(document, uv)
    elif mesh.colors is not None:
        # glTF's vertex colours are linear, its textures are not.
        srgb = mesh.colors.detach().cpu().numpy().clip(0, 1).astype(np.float64)
        colours = srgb_to_linear(srgb)[corners.source]
        attributes["COLOR_0"] = _attribute(
            document, np.round(colours * np.float64(_UINT16_MAX)).astype(np.uint16), normalised=True
        )
    else:
        surface["baseColorFactor"] = [_GREY, _GREY, _GREY, 1.0]
    material: dict[str, Any] = {
        "name": "surface",
        "pbrMetallicRoughness": surface,
        "doubleSided": not is_closed(mesh.faces),
    }
    if attributes and settings.material != "lit":
        material["extensions"] = {"KHR_materials_unlit": {}}
        document.json.setdefault("extensionsUsed", []).append("KHR_materials_unlit")
    document.json["materials"] = [material]
    return attributes


def is_closed(faces: Tensor) -> bool:
    """Whether the surface (F,3) has no border: every directed edge occurs once, and once the other way."""
    f = faces.cpu().numpy().astype(np.int64)
    edges = np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]])
    size = int(f.max()) + 1
    forward, count = np.unique(edges[:, 0] * size + edges[:, 1], return_counts=True)
    backward = np.unique(edges[:, 1] * size + edges[:, 0])
    return bool((count == 1).all() and np.array_equal(forward, backward))


def encode_texture(texture: Tensor, texture_format: str) -> EncodedPicture:
    """(H,W,3) in [0,1] as the bytes of a ``png`` or ``jpeg`` file, and its MIME type."""
    pixels = (texture.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    stream = io.BytesIO()
    if texture_format == "jpeg":
        Image.fromarray(pixels).save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        return stream.getvalue(), "image/jpeg"
    Image.fromarray(pixels).save(stream, "PNG", compress_level=6)
    return stream.getvalue(), "image/png"
