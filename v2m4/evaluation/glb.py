"""Reading an animated GLB back, and posing it at any time.

Covers what a morph animation needs: scenes of nodes that stand still, triangle primitives, morph targets, weights
animated by LINEAR or STEP samplers, quantised accessors, embedded base colour textures. Skins, moving nodes, sparse
accessors and several parts are refused with a sentence.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from v2m4.color import linear_to_srgb
from v2m4.errors import V2M4Error
from v2m4.export.container import COMPONENT_TYPES, ELEMENT_TYPES, split_glb
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rotations import rotation_from_quaternion

_DTYPES = {number: np.dtype(name) for name, number in COMPONENT_TYPES.items()}
_WIDTHS = {name: width for width, name in ELEMENT_TYPES.items()}
_TRIANGLES = 4


@dataclass(frozen=True)
class MorphModel:
    """A mesh in its file's world (y up) that moves through weights of morph targets.

    mesh: the base; one vertex per position and texture coordinate, as glTF has them. targets: (M,V,3) differences.
    times: (K,) seconds of the keys; weights: (K,M). Both empty when nothing moves. step: no blending between keys.
    """

    mesh: Mesh
    targets: Tensor
    times: NDArray[np.float64]
    weights: NDArray[np.float64]
    step: bool = False
    document: dict[str, Any] | None = None

    def weights_at(self, time: float) -> NDArray[np.float64]:
        """(M,) weights at ``time`` in seconds; the ends hold."""
        if not len(self.times):
            return np.zeros(len(self.targets))
        if self.step:
            return self.weights[max(int(np.searchsorted(self.times, time, side="right")) - 1, 0)]
        return np.array([np.interp(time, self.times, column) for column in self.weights.T])

    def at(self, time: float) -> Tensor:
        """(V,3) positions at ``time`` in seconds."""
        weights = torch.from_numpy(self.weights_at(time)).to(self.targets)
        used = weights.nonzero()[:, 0]
        return self.mesh.vertices + torch.tensordot(weights[used], self.targets[used], dims=1)


def read_glb(path: Path) -> MorphModel:
    """Read a GLB written by v2m4 or any other of the kind the module's docstring names. Raises V2M4Error."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise V2M4Error(f"Cannot read {path}: {error.strerror}.") from error
    try:
        document, binary = split_glb(data)
    except ValueError as error:
        raise V2M4Error(f"{path} is not a GLB file: {error}.") from error
    reader = _Reader(document, binary, path)
    try:
        return reader.model()
    except (KeyError, IndexError, TypeError) as error:
        raise V2M4Error(
            f"{path} is damaged: its description refers to something it does not hold ({error})."
        ) from error


class _Reader:
    def __init__(self, document: dict[str, Any], binary: bytes, path: Path) -> None:
        self.json, self.binary, self.path = document, binary, path

    def accessor(self, index: int) -> NDArray[Any]:
        entry = self.json["accessors"][index]
        if "sparse" in entry:
            raise V2M4Error(f"{self.path} uses sparse accessors, which cannot be evaluated. Re-export it without them.")
        dtype, width, count = _DTYPES[entry["componentType"]], _WIDTHS[entry["type"]], entry["count"]
        if "bufferView" not in entry:
            return np.zeros((count, width), dtype)
        view = self.json["bufferViews"][entry["bufferView"]]
        start = view.get("byteOffset", 0) + entry.get("byteOffset", 0)
        stride = view.get("byteStride", dtype.itemsize * width)
        if start + stride * (count - 1) + dtype.itemsize * width > len(self.binary):
            raise V2M4Error(f"{self.path} is cut short: its data ends before its description says.")
        raw = np.ndarray((count, width), dtype, self.binary, start, (stride, dtype.itemsize))
        if entry.get("normalized", False):
            return np.maximum(raw / np.float64(np.iinfo(dtype).max), -1.0)
        return raw.copy()

    def model(self) -> MorphModel:
        nodes = self.json.get("nodes", [])
        animation = self._weights()
        parts: list[tuple[int, dict[str, Any], NDArray[np.float64]]] = []
        for index, transform in self._walk():
            if "skin" in nodes[index]:
                raise V2M4Error(f"{self.path} is animated by a skeleton; only morph targets can be evaluated.")
            if "mesh" in nodes[index]:
                shape = self.json["meshes"][nodes[index]["mesh"]]
                parts += [(index, primitive, transform) for primitive in shape["primitives"]]
        if not parts:
            raise V2M4Error(f"{self.path} holds no mesh.")
        if len(parts) > 1:
            raise V2M4Error(f"{self.path} holds {len(parts)} separate parts; join them into one mesh first.")
        index, primitive, transform = parts[0]
        mesh, targets = self._primitive(primitive, transform)
        if index in animation:
            times, weights, step = animation[index]
            return MorphModel(mesh, targets, times, weights, step, self.json)
        rest = nodes[index].get("weights", self.json["meshes"][nodes[index]["mesh"]].get("weights"))
        values = np.zeros((0, len(targets))) if rest is None else np.asarray([rest], np.float64)
        return MorphModel(mesh, targets, np.zeros(len(values)), values, document=self.json)

    def _walk(self) -> list[tuple[int, NDArray[np.float64]]]:
        nodes, out = self.json.get("nodes", []), []
        scenes = self.json.get("scenes", [{"nodes": list(range(len(nodes)))}])
        stack = [(i, np.eye(4)) for i in scenes[self.json.get("scene", 0)].get("nodes", [])]
        while stack:
            index, parent = stack.pop()
            transform = parent @ _local_transform(nodes[index])
            out.append((index, transform))
            stack += [(child, transform) for child in nodes[index].get("children", [])]
        return out

    def _primitive(self, primitive: dict[str, Any], transform: NDArray[np.float64]) -> tuple[Mesh, Tensor]:
        if primitive.get("mode", _TRIANGLES) != _TRIANGLES:
            raise V2M4Error(f"{self.path} holds something other than triangles.")
        attributes, linear = primitive["attributes"], transform[:3, :3]
        base = self.accessor(attributes["POSITION"]) @ linear.T + transform[:3, 3]
        if "indices" in primitive:
            faces = self.accessor(primitive["indices"]).reshape(-1, 3).astype(np.int64)
        else:
            faces = np.arange(len(base)).reshape(-1, 3)
        if np.linalg.det(linear) < 0:
            faces = faces[:, ::-1].copy()
        targets = [
            self.accessor(target["POSITION"]) @ linear.T if "POSITION" in target else np.zeros_like(base)
            for target in primitive.get("targets", [])
        ]
        uv, texture, colors = self._appearance(primitive, len(base))
        mesh = Mesh(
            torch.from_numpy(base).float(), torch.from_numpy(faces), uv, torch.from_numpy(faces), texture, colors
        )
        return mesh, torch.from_numpy(np.stack(targets)).float() if targets else torch.zeros(0, len(base), 3)

    def _appearance(self, primitive: dict[str, Any], count: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """uv (V,2), texture (H,W,3) and colours (V,3, sRGB); None for what the primitive lacks."""
        material = self.json["materials"][primitive["material"]] if "material" in primitive else {}
        surface, attributes = material.get("pbrMetallicRoughness", {}), primitive["attributes"]
        info = surface.get("baseColorTexture")
        if info is not None and "TEXCOORD_0" in attributes:
            image = self.json["images"][self.json["textures"][info["index"]]["source"]]
            view = self.json["bufferViews"][image["bufferView"]]
            start = view.get("byteOffset", 0)
            with Image.open(io.BytesIO(self.binary[start : start + view["byteLength"]])) as picture:
                pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
            uv = torch.from_numpy(np.asarray(self.accessor(attributes["TEXCOORD_0"]), np.float32))
            return uv, torch.from_numpy(pixels), None
        factor = np.asarray(surface.get("baseColorFactor", [1.0, 1.0, 1.0, 1.0]))[:3]
        linear = self.accessor(attributes["COLOR_0"])[:, :3] if "COLOR_0" in attributes else np.ones((count, 3))
        return None, None, torch.from_numpy(linear_to_srgb((linear * factor).clip(0, 1))).float()

    def _weights(self) -> dict[int, tuple[NDArray[np.float64], NDArray[np.float64], bool]]:
        """Times (K,), weights (K,M) and whether they step, for every node the first animation moves."""
        out = {}
        for animation in self.json.get("animations", [])[:1]:
            for channel in animation["channels"]:
                if channel["target"]["path"] != "weights":
                    raise V2M4Error(f"{self.path} moves whole nodes; only morph targets can be evaluated.")
                sampler = animation["samplers"][channel["sampler"]]
                mode = sampler.get("interpolation", "LINEAR")
                if mode == "CUBICSPLINE":
                    raise V2M4Error(f"{self.path} uses cubic interpolation, which cannot be evaluated.")
                times = self.accessor(sampler["input"])[:, 0].astype(np.float64)
                values = self.accessor(sampler["output"]).astype(np.float64).reshape(len(times), -1)
                out[channel["target"]["node"]] = (times, values, mode == "STEP")
        return out


def _local_transform(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.asarray(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", [0.0, 0.0, 0.0, 1.0])
    rotation = rotation_from_quaternion(torch.tensor([w, x, y, z], dtype=torch.float64)).numpy()
    out = np.eye(4)
    out[:3, :3] = rotation * np.asarray(node.get("scale", [1.0, 1.0, 1.0]))
    out[:3, 3] = node.get("translation", [0.0, 0.0, 0.0])
    return out
