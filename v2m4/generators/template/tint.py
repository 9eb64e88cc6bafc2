"""A texture and vertex colours together, as one texture."""

from __future__ import annotations

import numpy as np
import torch

from v2m4.arrays import Float64
from v2m4.color import linear_to_srgb, srgb_to_linear
from v2m4.generators.template.texture_merge import MeshPart
from v2m4.render import sample_texture
from v2m4.render.atlas import texels_of, unwrap
from v2m4.settings import TemplateSettings


def painted(part: MeshPart, colors: Float64, settings: TemplateSettings) -> MeshPart:
    """The part with a texture of its own in which its picture is multiplied by ``colors`` (N,3), in linear light.

    Texture coordinates may show a texel under several colours, so the surface is laid out anew.
    """
    assert part.uv is not None and part.texture is not None
    # 1. An atlas as fine as the picture; the unwrapper wants sizes near 1.
    side = min(max(settings.atlas_size, *part.texture.shape[:2]), settings.largest_texture)
    size = max(float(np.ptp(part.positions, axis=0).max()), 1e-30)
    points = torch.from_numpy(((part.positions - part.positions.mean(0)) / size).astype(np.float32))
    uv, uv_faces = unwrap(points, torch.from_numpy(np.ascontiguousarray(part.faces)), side)
    texels = texels_of(uv, uv_faces, side)
    # 2. What each of its texels shows: (T,3).
    weights = texels.weights[..., None]
    at = (part.uv[part.faces[texels.face]] * weights).sum(1)
    shade = (colors[part.faces[texels.face]] * weights).sum(1)
    seen = sample_texture(torch.from_numpy(part.texture), torch.from_numpy((at % 1.0).astype(np.float32))).numpy()
    product = linear_to_srgb((srgb_to_linear(seen) * shade).clip(0, 1))
    # 3. Every corner gets a vertex of its own, for the atlas has seams where the part had none.
    corners = part.faces.reshape(-1)
    return MeshPart(
        part.positions[corners],
        np.arange(len(corners)).reshape(-1, 3),
        uv[uv_faces].reshape(-1, 2).double().numpy(),
        texels.picture(product.astype(np.float32)),
    )
