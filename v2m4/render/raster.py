"""Rasterisation and interpolation with nvdiffrast's meaning (Laine et al. 2020), differentiable in the positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from v2m4.geometry.gather import gather_rows
from v2m4.render.raster_nvdiffrast import interpolate_nvdiffrast, rasterize_nvdiffrast
from v2m4.render.threads import parallel_for
from v2m4.render.visibility import Backend, choose_backend, visible_triangles_numba, visible_triangles_torch


@dataclass(frozen=True)
class Raster:
    """What `rasterize` found at the pixel centres.

    barycentrics: (B,H,W,2) perspective-correct weights of the face's corners 0 and 1 (corner 2 has the rest), zero
    where there is no face. triangle: (B,H,W) int64 face index, -1 where there is none. depth: (B,H,W) z/w in [-1,1],
    zero where there is no face. backend: what found it. native: nvdiffrast's own (B,H,W,4) output, if that did.
    """

    barycentrics: Tensor
    triangle: Tensor
    depth: Tensor
    backend: Backend
    native: Tensor | None = None

    @property
    def covered(self) -> Tensor:
        """(N,) int64 indices of the pixels that a face owns, into the flattened (B,H,W)."""
        return (self.triangle.reshape(-1) >= 0).nonzero()[:, 0]


def rasterize(
    clip: Tensor,
    faces: Tensor,
    size: int | tuple[int, int],
    backend: Backend = "auto",
    *,
    barycentrics: bool = True,
    recordable: bool = False,
) -> Raster:
    """Find the face at every pixel centre.

    clip: (B,V,4) float32 homogeneous clip coordinates; x and y in [-w,w] span the image, row 0 has y = -w, and
    z outside [-w,w] is cut off. faces: (F,3) int64. size: the image's side, or (height, width), in pixels.
    Barycentrics carry gradients to ``clip``; the choice of the face does not (`antialias` adds that), nor does depth.
    Without ``barycentrics`` they may be zeros, which saves their computation on a GPU. recordable: without them, by
    Triton on a GPU, so that nothing waits for the device and the call can be part of a CUDA graph.
    """
    height, width = (size, size) if isinstance(size, int) else size
    chosen = choose_backend("triton" if recordable and clip.is_cuda else backend, clip.device)
    if chosen == "nvdiffrast":
        native = rasterize_nvdiffrast(clip, faces, height, width)
        return Raster(native[..., :2], native[..., 3].long() - 1, native[..., 2], chosen, native)
    if chosen == "triton" and (recordable or not barycentrics):
        from v2m4.render.visibility_triton import visible_triangles_with_depth

        owner, depth = visible_triangles_with_depth(clip, faces, height, width, recordable)
        return Raster(depth.new_zeros(()).expand(*depth.shape, 2), owner.long(), depth, chosen)
    if chosen == "triton":
        from v2m4.render.visibility_triton import visible_triangles_triton as visible
    else:
        visible = visible_triangles_numba if chosen == "numba" else visible_triangles_torch
    return locate(clip, faces, visible(clip, faces, height, width).long(), chosen)


def locate(clip: Tensor, faces: Tensor, triangle: Tensor, backend: Backend) -> Raster:
    """Barycentrics (differentiable in ``clip`` (B,V,4)) and depth of pixels whose owners (B,H,W) ``backend`` found."""
    if clip.device.type == "cpu" and not (clip.requires_grad and torch.is_grad_enabled()):
        out = locate_numba(clip, faces, triangle)
        return Raster(out[..., :2], triangle, out[..., 2], backend)
    views, height, width = triangle.shape
    owned = (triangle.reshape(-1) >= 0).nonzero()[:, 0]
    view, fx, fy = pixel_centres(owned, height, width, clip.dtype)
    index = faces[triangle.reshape(-1)[owned]] + (view * clip.shape[1])[:, None]
    a, b, c = (gather_rows(clip.reshape(-1, 4), index[:, i]) for i in range(3))
    (ax, ay), (bx, by), (cx, cy) = ((p[:, 0] - fx * p[:, 3], p[:, 1] - fy * p[:, 3]) for p in (a, b, c))
    u, v, t = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
    total = _away_from_zero(u + v + t)
    u, v = u / total, v / total
    flat = torch.zeros(views * height * width, 2, dtype=clip.dtype, device=clip.device)
    barycentrics = flat.index_copy(0, owned, torch.stack([u, v], dim=1))
    with torch.no_grad():
        z, w = (u * a[:, i] + v * b[:, i] + (1 - u - v) * c[:, i] for i in (2, 3))
        depth = torch.zeros(views * height * width, dtype=clip.dtype, device=clip.device)
        depth[owned] = z / _away_from_zero(w)
    return Raster(barycentrics.view(views, height, width, 2), triangle, depth.view(views, height, width), backend)


def locate_numba(clip: Tensor, faces: Tensor, triangle: Tensor) -> Tensor:
    """(B,H,W,3) barycentrics u, v and z/w of owned pixels, on the CPU and without gradients."""
    from v2m4.render.raster_numba import locate_pixels

    positions = clip.detach().to(torch.float32).contiguous().numpy()
    corners, owner = (t.to(torch.int32).contiguous().numpy() for t in (faces, triangle))
    out = np.zeros((*owner.shape, 3), np.float32)
    parallel_for(lambda v0, v1, _r0, _r1: locate_pixels(positions, corners, owner, v0, v1, out), len(owner), 1)
    return torch.from_numpy(out)


def pixel_centres(pixels: Tensor, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """View and normalised x and y in [-1,1], (N,) each, of flattened (B,H,W) pixel indices (N,)."""
    x, y = (pixels % width).to(dtype), ((pixels // width) % height).to(dtype)
    return pixels // (width * height), (x + 0.5) * (2.0 / width) - 1, (y + 0.5) * (2.0 / height) - 1


def interpolate(attributes: Tensor, raster: Raster, faces: Tensor) -> Tensor:
    """Attributes (V,C) or (B,V,C) at the pixels, (B,H,W,C); zero where there is no face.

    faces: (F,3) int64 into the attributes: those that were rasterised, or others in the same order (texture
    coordinates). Differentiable in the attributes and, through the barycentrics, in the positions.
    """
    if raster.native is not None:
        return interpolate_nvdiffrast(attributes, raster.native, faces)
    views, height, width = raster.triangle.shape
    owned = raster.covered
    index = faces[raster.triangle.reshape(-1)[owned]]
    if attributes.dim() == 3 and len(attributes) > 1:
        index = index + (owned // (height * width))[:, None] * attributes.shape[1]
    a, b, c = (gather_rows(attributes.reshape(-1, attributes.shape[-1]), index[:, i]) for i in range(3))
    u, v = raster.barycentrics.reshape(-1, 2)[owned].split(1, dim=1)
    values = c + u * (a - c) + v * (b - c)
    out = torch.zeros(views * height * width, attributes.shape[-1], dtype=values.dtype, device=values.device)
    return out.index_copy(0, owned, values).view(views, height, width, attributes.shape[-1])


def _away_from_zero(x: Tensor) -> Tensor:
    """x with zeros replaced by the smallest normal number, so that slivers give finite values."""
    return torch.where(x == 0, torch.finfo(x.dtype).tiny, x)
