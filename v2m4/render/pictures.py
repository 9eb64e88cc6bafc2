"""Pictures to look at or to save: 8 bits per channel, straight alpha."""

from __future__ import annotations

import torch

from v2m4.arrays import Bytes
from v2m4.errors import V2M4Error
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render.fast import render_fast
from v2m4.render.images import Images


def render_rgba(mesh: Mesh, camera: Camera, size: int, supersample: int = 2) -> Bytes:
    """(size,size,4) uint8 picture of the mesh, seen by a single camera, with straight alpha."""
    return straight_alpha(render_fast(mesh, camera, size, ("mask", "color"), supersample=supersample))


def straight_alpha(images: Images) -> Bytes:
    """(S,S,4) uint8 with straight alpha: the first view of a rendering of mask and colour on black."""
    if images.mask is None or images.color is None:
        raise V2M4Error("A picture with alpha needs a rendering of mask and color.")
    alpha = images.mask[0, ..., None]
    straight = torch.cat([images.color[0] / alpha.clamp_min(1e-6), alpha], dim=-1)
    return (straight.clamp(0, 1) * 255).round().byte().cpu().numpy()
