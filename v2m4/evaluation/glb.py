"""An animated GLB, posed at any time.

What a morph animation needs: one mesh under nodes that stand still, weights animated by LINEAR or STEP samplers. Skins,
moving nodes and several parts are refused with a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Float64
from v2m4.color import linear_to_srgb, tinted
from v2m4.errors import V2M4Error
from v2m4.formats.gltf.document import Document
from v2m4.formats.gltf.scene import Part, read_scene
from v2m4.geometry.mesh import Mesh


@dataclass(frozen=True)
class MorphModel:
    """A mesh in its file's world (y up) that moves through weights of morph targets.

    mesh: the base; one vertex per position and texture coordinate, as glTF has them. targets: (M,V,3) differences.
    times: (K,) seconds of the keys; weights: (K,M). Both empty when nothing moves. step: no blending between keys.
    """

    mesh: Mesh
    targets: Tensor
    times: Float64
    weights: Float64
    step: bool = False
    document: dict[str, Any] | None = None

    def weights_at(self, time: float) -> Float64:
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
    scene = read_scene(path)
    document = scene.document
    try:
        keys = _weights(document)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise V2M4Error(f"{document.title} is damaged: its animation lacks something ({error}).") from error
    if any(part.skinned for part in scene.parts):
        raise V2M4Error(f"{document.title} is animated by a skeleton; only morph targets can be evaluated.")
    if not scene.parts:
        what = "something other than triangles" if scene.others else "no mesh"
        raise V2M4Error(f"{document.title} holds {what}.")
    if len(scene.parts) > 1:
        raise V2M4Error(f"{document.title} holds {len(scene.parts)} separate parts; join them into one mesh first.")
    part = scene.parts[0]
    mesh, targets = _mesh(part), torch.from_numpy(part.turn(part.targets)).float()
    if part.node in keys:
        times, weights, step = keys[part.node]
        return MorphModel(mesh, targets, times, weights, step, document.json)
    values = np.zeros((0, len(targets))) if part.weights is None else part.weights[None]
    return MorphModel(mesh, targets, np.zeros(len(values)), values, document=document.json)


def _mesh(part: Part) -> Mesh:
    """The part in the scene. Its look is the picture or, without one, colours; V2M4Error if a picture is missing."""
    surface, faces = part.surface, torch.from_numpy(part.faces)
    if surface.missing is not None:
        raise V2M4Error(surface.missing)
    vertices = torch.from_numpy(part.place(part.positions)).float()
    factor = np.ones(3) if surface.factor is None else surface.factor
    if surface.picture is not None and surface.uv is not None:
        picture = tinted(surface.picture, factor)
        return Mesh(vertices, faces, torch.from_numpy(surface.uv).float(), faces, torch.from_numpy(picture))
    linear = np.ones((len(vertices), 3)) if surface.colors is None else surface.colors
    colors = torch.from_numpy(linear_to_srgb((linear * factor).clip(0, 1))).float()
    return Mesh(vertices, faces, None, faces, None, colors)


def _weights(document: Document) -> dict[int, tuple[Float64, Float64, bool]]:
    """Times (K,), weights (K,M) and whether they step, for every node the first animation moves."""
    out = {}
    for animation in document.json.get("animations", [])[:1]:
        for channel in animation["channels"]:
            if channel["target"]["path"] != "weights":
                raise V2M4Error(f"{document.title} moves whole nodes; only morph targets can be evaluated.")
            sampler = animation["samplers"][channel["sampler"]]
            mode = sampler.get("interpolation", "LINEAR")
            if mode == "CUBICSPLINE":
                raise V2M4Error(f"{document.title} uses cubic interpolation, which cannot be evaluated.")
            times = document.accessor(sampler["input"])[:, 0].astype(np.float64)
            values = document.accessor(sampler["output"]).astype(np.float64).reshape(len(times), -1)
            out[channel["target"]["node"]] = (times, values, mode == "STEP")
    return out
