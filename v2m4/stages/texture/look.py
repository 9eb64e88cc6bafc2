"""What is known of a surface's colours, and what the mesh brought along: its texture coordinates and its own look."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Int64, Real
from v2m4.geometry.mesh import Mesh
from v2m4.render.atlas import Texels, has_own_atlas, unwrap
from v2m4.render.texture import sample_texture
from v2m4.settings import TextureSettings
from v2m4.stages.texture.samples import Samples
from v2m4.stages.texture.samples_numba import blend_rows


class Look(NamedTuple):
    """Colours of the samples (P,3) and texels (N,3), and how surely each is seen, (P,) and (N,) in [0,1]."""

    sample_colors: Real
    samples_seen: Real
    texel_colors: Real
    texels_seen: Real


def atlas_of(mesh: Mesh, settings: TextureSettings) -> tuple[Tensor, Tensor]:
    """The mesh's own texture coordinates where they suit, else new ones: uv (T,2), uv_faces (F,3)."""
    if mesh.uv is not None and mesh.uv_faces is not None and has_own_atlas(mesh, settings.size, settings.own_atlas):
        return mesh.uv, mesh.uv_faces
    return unwrap(mesh.vertices, mesh.faces, settings.size)


def own_look(mesh: Mesh, samples: Samples, texels: Texels) -> tuple[Real, Real]:
    """The colours that the mesh brought, (P,3) at the samples and (N,3) at the texels; zeros if it brought none."""
    if mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None:
        uv, uv_faces = mesh.uv.numpy(), mesh.uv_faces.numpy()

        def look(face: Int64, weights: Real) -> Real:
            at = blend_rows(uv, uv_faces[face], weights)
            assert mesh.texture is not None
            return sample_texture(mesh.texture, torch.from_numpy(at)).numpy()

    elif mesh.colors is not None:
        colors, faces = mesh.colors.numpy(), mesh.faces.numpy()

        def look(face: Int64, weights: Real) -> Real:
            return blend_rows(colors, faces[face], weights)

    else:
        return np.zeros((len(samples.face), 3), np.float32), np.zeros((len(texels.index), 3), np.float32)
    return look(samples.face, samples.weights), look(texels.face, texels.weights)
