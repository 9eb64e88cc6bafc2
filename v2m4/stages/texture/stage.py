"""Section 4.4: one texture for all keyframes.

``project`` blends the frames into the atlas directly (`project`); ``optimise`` is the paper's gradient descent
(`optimise`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import Progress, StageRun
from v2m4.geometry.mesh import Mesh
from v2m4.settings import TextureSettings
from v2m4.stages.texture.optimise import optimise_texture
from v2m4.stages.texture.project import project_texture


def texture_mesh(
    vertices: Tensor,
    mesh: Mesh,
    clip: Clip,
    keyframes: Sequence[int],
    settings: TextureSettings,
    *,
    anchor: int | None = None,
    keep: bool = False,
    rng: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> StageRun[Mesh]:
    """Give the registered mesh one texture for all keyframes.

    vertices: (K,V,3) of the keyframes in camera space. mesh: the topology, in whatever pose; its own texture or vertex
    colours, if it has them, are what unseen parts look like. keyframes: the K frame numbers. anchor: the frame number
    of the keyframe whose mesh it is; the one that sees most if absent. keep: a mesh that comes with a texture or
    colours (the user's template) keeps them.
    Returns the mesh with uv, uv_faces and a (size,size,3) texture, its vertices untouched.
    """
    if len(vertices) != len(keyframes) or len(keyframes) == 0:
        raise V2M4Error(
            f"There are {len(vertices)} registered poses for {len(keyframes)} keyframes; they must be equal."
        )
    first = None if anchor is None else list(keyframes).index(anchor)
    if keep and (mesh.texture is not None or mesh.colors is not None):
        yield Progress("texture", 1.0, note="the mesh keeps its own look")
        return mesh
    if settings.method == "optimise":
        return (
            yield from optimise_texture(vertices, mesh, clip, keyframes, settings, anchor=first, rng=rng, device=device)
        )
    result = yield from project_texture(vertices.cpu(), mesh.to("cpu"), clip, keyframes, settings, anchor=first)
    return result.to(device)
