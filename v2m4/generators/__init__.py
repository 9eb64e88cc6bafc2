"""Image to mesh: the port, and the plugs that fill it."""

from __future__ import annotations

import math
from collections.abc import Generator as Steps
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.clip import Clip
from v2m4.generators.craftsman3d.checkpoints import WEIGHTS as CRAFTSMAN3D_WEIGHTS
from v2m4.generators.hunyuan3d.checkpoints import WEIGHTS as HUNYUAN3D_WEIGHTS
from v2m4.generators.trellis.checkpoints import WEIGHTS as TRELLIS_WEIGHTS
from v2m4.generators.triposg.checkpoints import WEIGHTS as TRIPOSG_WEIGHTS
from v2m4.generators.triposr.config import SHA256 as TRIPOSR_SHA256
from v2m4.generators.triposr.config import WEIGHTS as TRIPOSR_WEIGHTS
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rig import Rig
from v2m4.registry import Plug, by_name, third_party_plugs

ENTRY_POINTS = "v2m4.generators"
"""Group of the entry points by which other packages add generators: each names a `GeneratorPlug`
(docs/own-generator.md)."""


_MOST_SIZE = 100.0  # and its inverse, between which a mesh "of about unit size" lies


@dataclass(frozen=True)
class Generated:
    """A mesh in its own canonical pose (z up, about unit size).

    ``camera``: the camera under which the mesh shows the *reference* picture, when the generator knows it by
    construction; the search then only polishes it. ``extras``: what refinement needs (opaque to the pipeline).
    ``warnings``: sentences for the user about what the mesh lacks. ``rig``: its skeleton and skin, if they are known.
    """

    mesh: Mesh
    camera: Camera | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    rig: Rig | None = None


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _within(indices: Tensor, count: int) -> bool:
    return len(indices) == 0 or (int(indices.min()) >= 0 and int(indices.max()) < count)


def complaint(made: object) -> str | None:
    """What is wrong with a generator's answer, to be read after its name; None where nothing is."""
    if not isinstance(made, Generated) or not isinstance(made.mesh, Mesh):
        return f"answered with a {type(made).__name__} that is no Generated with a Mesh"
    mesh, extras = made.mesh, made.extras
    vertices, faces = mesh.vertices, mesh.faces
    for name, value, dtype in (("vertices", vertices, torch.float32), ("faces", faces, torch.int64)):
        if not isinstance(value, Tensor) or value.ndim != 2 or value.shape[1] != 3 or value.dtype != dtype:
            return f"made {name} that are no (N, 3) tensor of {str(dtype).removeprefix('torch.')}"
    if not _within(faces, len(vertices)):
        return f"made faces that name vertices which are not among its {len(vertices)}"
    colors, uv, uv_faces, texture = mesh.colors, mesh.uv, mesh.uv_faces, mesh.texture
    if colors is not None and not (_is_float(colors) and colors.shape == vertices.shape):
        return "made colours that are no (V, 3) tensor, one for each vertex"
    if texture is not None and not (_is_float(texture) and texture.ndim == 3 and texture.shape[2] == 3):
        return "made a texture that is no (H, W, 3) tensor"
    if uv is not None and not (_is_float(uv) and uv.ndim == 2 and uv.shape[1] == 2):
        return "made texture coordinates that are no (T, 2) tensor"
    if uv_faces is not None and not (
        isinstance(uv_faces, Tensor) and uv is not None and uv_faces.shape == faces.shape and _within(uv_faces, len(uv))
    ):
        return "made faces that name texture coordinates which are not among its own"
    if made.camera is not None and not isinstance(made.camera, Camera):
        return f"knows a camera that is a {type(made.camera).__name__} and no Camera"
    if isinstance(made.warnings, str) or not all(isinstance(text, str) for text in made.warnings):
        return "gave warnings that are no tuple of sentences"
    size = float((vertices.amax(0) - vertices.amin(0)).amax()) if len(vertices) else 1.0
    if math.isfinite(size) and size > 0 and not 1 / _MOST_SIZE < size < _MOST_SIZE:
        return f"made a mesh that is {size:g} across, where about 1 is expected"
    if not isinstance(extras, dict) or not all(isinstance(value, Tensor) for value in extras.values()):
        return "gave extras that are no tensors by name"
    if made.rig is not None and not isinstance(made.rig, Rig):
        return f"knows a rig that is a {type(made.rig).__name__} and no Rig"
    if made.rig is not None and made.rig.flaw is not None:
        return f"knows a rig {made.rig.flaw}"
    return None


class Generator(Protocol):
    """Makes one mesh from one picture of the object."""

    def __call__(
        self, reference: NDArray[np.uint8], rng: torch.Generator, device: torch.device | str = "cpu"
    ) -> Generated:
        """``reference``: (S,S,4) uint8 RGBA, straight alpha: the padded frame, the object where the video has it."""
        ...


@runtime_checkable
class LooksAround(Protocol):
    """A generator that makes a better mesh where it may also look at other frames of the clip."""

    def beside(
        self, clip: Clip, index: int, keyframes: Sequence[int], rng: torch.Generator, device: torch.device | str = "cpu"
    ) -> Steps[Generated, None, Generated]:
        """As `Generator` of the clip's frame ``index``; ``keyframes`` are all frames that it may look at. What it
        yields on the way is for whoever watches, what it returns counts."""
        ...


@dataclass(frozen=True)
class GeneratorPlug(Plug[Generator]):
    """A generator's declaration, with what the rest of the method must know of it.

    refinable: its meshes come with what refinement needs, and it can resume them (`stages.refinement.Resumable`).
    anchors_first: its mesh shows the object as the first frame does, so that one is the anchor. keeps_look: its mesh
    has a look of the user's own, which the texture stage leaves alone. one_sided: it is what one picture shows, closed
    by a guess.
    """

    refinable: bool = False
    anchors_first: bool = False
    keeps_look: bool = False
    one_sided: bool = False


GENERATORS: dict[str, GeneratorPlug] = by_name(
    GeneratorPlug(
        "generator",
        "trellis",
        "v2m4.generators.trellis.predictor:Trellis",
        "TRELLIS image-large: mesh and Gaussians from one picture; what the paper uses. Its look can be refined.",
        "MIT; DINOv2's weights Apache-2.0",
        True,
        preference=20,
        weights=TRELLIS_WEIGHTS,
        needs_gpu=True,
        memory_gb=6,
        refinable=True,
        size_gb=4,
    ),
    GeneratorPlug(
        "generator",
        "hunyuan3d",
        "v2m4.generators.hunyuan3d.generator:Hunyuan3D",
        "Hunyuan3D-2.0: a shape from one picture; the paper's second generator. Colours come from the video.",
        "Tencent Hunyuan 3D 2.0 Community: not valid in the EU, the UK and South Korea, results included; "
        "above 1 million monthly users by request only; results may not train other models",
        True,
        preference=-1,
        weights=HUNYUAN3D_WEIGHTS,
        needs_gpu=True,
        memory_gb=7,
        size_gb=5,
        variants="v2m4.generators.hunyuan3d.checkpoints:weights_of",
        notice="not for the EU, the UK and South Korea",
    ),
    GeneratorPlug(
        "generator",
        "triposg",
        "v2m4.generators.triposg.generator:TripoSg",
        "TripoSG: a detailed shape from one picture. Colours come from the video.",
        "MIT; DINOv2's weights Apache-2.0",
        True,
        preference=15,
        weights=TRIPOSG_WEIGHTS,
        needs_gpu=True,
        memory_gb=7,
        size_gb=8,
    ),
    GeneratorPlug(
        "generator",
        "craftsman3d",
        "v2m4.generators.craftsman3d.generator:CraftsMan3D",
        "CraftsMan3D on Dora's vector sets: a shape from one picture. Colours come from the video.",
        "MIT as its README says; DINOv2's weights Apache-2.0",
        True,
        preference=11,
        weights=CRAFTSMAN3D_WEIGHTS,
        needs_gpu=True,
        memory_gb=4,
        size_gb=3,
        bring="an account that the Hub lets in, then `hf auth login`; no revision could be pinned, so the digest of "
        "what was loaded is written into every run",
    ),
    GeneratorPlug(
        "generator",
        "triposr",
        "v2m4.generators.triposr.predictor:TripoSR",
        "TripoSR: a coloured mesh from one picture in one pass; real 3D without a GPU.",
        "MIT",
        True,
        preference=10,
        weights=TRIPOSR_WEIGHTS,
        sha256=TRIPOSR_SHA256,
        memory_gb=3,
        size_gb=1.7,
    ),
    GeneratorPlug(
        "generator",
        "http",
        "v2m4.generators.http.generator:HttpGenerator",
        "A mesh server of yours (trellis.cpp, or anything that answers a picture with a GLB, OBJ or PLY).",
        "that of the server's model",
        True,
        preference=-1,
        demands="v2m4.generators.http.generator:check_settings",
        reach="v2m4.generators.http.generator:check_server",
    ),
    GeneratorPlug(
        "generator",
        "inflate",
        "v2m4.generators.inflate.generator:Inflate",
        "Inflates the object's silhouette into a closed, textured mesh.",
        "MIT",
        True,
        one_sided=True,
    ),
    GeneratorPlug(
        "generator",
        "sculpt",
        "v2m4.generators.sculpt.generator:Sculpt",
        "A small network of this project: the object's depths from one picture, in seconds, without a GPU.",
        "MIT",
        True,
        preference=1,
        one_sided=True,
    ),
    GeneratorPlug(
        "generator",
        "template",
        "v2m4.generators.template.generator:Template",
        "Your own mesh (GLB, OBJ, PLY), animated by the video.",
        "your mesh's own",
        True,
        preference=-1,
        reach="v2m4.generators.template.generator:check_file",
        anchors_first=True,
        keeps_look=True,
    ),
)
GENERATORS.update(third_party_plugs(ENTRY_POINTS, GENERATORS, GeneratorPlug))
