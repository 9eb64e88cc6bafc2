"""Pictures by work whose size depends on shapes alone and that waits for no device: parts of a recorded step.

All pixels are computed, be they covered or not, and only so many outlines are blended as a quarter of the pixels; known
meshes have a tenth of that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from v2m4.device import triton_works
from v2m4.geometry.camera import Camera
from v2m4.geometry.gather import gather_rows
from v2m4.geometry.mesh import face_normals
from v2m4.render.antialias import antialias
from v2m4.render.raster import Raster, rasterize

_OUTLINE_SHARE = 4  # of the pixels at most every so-many-th has an outline beside it


def can_record(device: torch.device) -> bool:
    """Whether these pictures can be part of a recorded step: on a GPU with Triton."""
    return device.type == "cuda" and triton_works(device)


def recordable_mask(vertices: Tensor, faces: Tensor, camera: Camera, size: int) -> Tensor:
    """(B,H,W) what `render` gives as mask of vertices (V,3) and faces (F,3) from cameras (B,)."""
    clip = camera.clip(vertices)  # (B,V,4)
    raster = rasterize(clip.detach(), faces, size, barycentrics=False, recordable=True)
    return _blended((raster.triangle >= 0).to(clip.dtype)[..., None], raster, clip, faces)[..., 0]


def recordable_normal_map(vertices: Tensor, faces: Tensor, camera: Camera, size: int) -> Tensor:
    """(B,H,W,3) world-space normals as colours, (n + 1) / 2, on black; antialiased."""
    clip = camera.clip(vertices)  # (B,V,4)
    raster = rasterize(clip.detach(), faces, size, barycentrics=False, recordable=True)
    owner = raster.triangle.reshape(-1)
    inside = owner >= 0
    # Pixels without a face look up some face or other: were it the same for all, its gradient's zeros would queue.
    elsewhere = torch.arange(len(owner), device=owner.device) % len(faces)
    normals = gather_rows(face_normals(vertices, faces), torch.where(inside, owner, elsewhere))
    colors = (0.5 * (normals + 1) * inside[:, None]).view(*raster.triangle.shape, 3)
    return _blended(colors, raster, clip, faces)


def _blended(image: Tensor, raster: Raster, clip: Tensor, faces: Tensor) -> Tensor:
    return antialias(image, raster, clip, faces, max(1, raster.triangle.numel() // _OUTLINE_SHARE))
