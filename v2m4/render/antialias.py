"""Analytic antialiasing of silhouettes, which gives the positions their gradient (Laine et al. 2020, section 3.6)."""

from __future__ import annotations

import torch
from torch import Tensor

from v2m4.device import triton_works
from v2m4.geometry.gather import gather_rows
from v2m4.render.outlines import (
    SLACK,
    Outlines,
    cross,
    from_centre,
    of_fixed_number,
    outlines_numba,
    outlines_torch,
)
from v2m4.render.raster import Raster, pixel_centres


def antialias(
    image: Tensor, raster: Raster, clip: Tensor, faces: Tensor, outlines_at_most: int | None = None
) -> Tensor:
    """Blend an image (B,H,W,C) over the silhouette edges of what ``raster`` shows.

    Between two neighbouring pixels with different faces, the nearer face's outline is a line; where it crosses the
    segment between the pixel centres tells how far each side reaches into the other's pixel, and the two colours mix
    accordingly. The crossing carries gradients to ``clip`` (B,V,4). Interior edges and intersections stay as they are.

    Unlike the original, ours also finds outlines some faces away from the pixel's own. So it follows nvdiffrast's
    rasteriser too: nvdiffrast's own blending sees the edges of a pixel's own face only, and the slopes of meshes whose
    faces are as small as pixels come out several times too small, which optimisers tuned on the true ones would feel.

    outlines_at_most: so many pairs of pixels are blended, be they fewer or more, and nothing waits for the device, so
    that the call can be recorded; all pairs if absent.
    """
    height, width = raster.triangle.shape[1:]
    # (N,) pixel, (N,) its neighbour, (N,2) vertices
    inner, outer, ends = find_outlines(raster, clip.detach(), faces, outlines_at_most)
    view, fx, fy = pixel_centres(inner, height, width, clip.dtype)
    step = outer - inner
    p, q = (from_centre(clip, view, ends[:, i], fx, fy) for i in (0, 1))
    line_x, line_y, line_1 = cross(p, q)
    slope = torch.where(step.abs() == 1, line_x * (2.0 / width), line_y * (2.0 / height)) * step.sign()
    # The search computes in double precision: of an edge as short as rounding, single precision may keep nothing.
    lost = slope == 0
    # How far the inner pixel's surface passes the border of the two pixels.
    reach = (-line_1 / slope.masked_fill(lost, 1.0) - 0.5).masked_fill(lost, 0.0).clamp(-0.5 - SLACK, 0.5 + SLACK)
    target, source = torch.where(reach > 0, outer, inner), torch.where(reach > 0, inner, outer)
    flat = image.reshape(-1, image.shape[-1])  # (B*H*W,C)
    blend = reach.abs()[:, None] * (gather_rows(flat, source) - gather_rows(flat, target))
    return flat.scatter_add(0, target[:, None].expand_as(blend), blend).view_as(image)


def find_outlines(raster: Raster, clip: Tensor, faces: Tensor, at_most: int | None = None) -> Outlines:
    """The silhouettes of what ``raster`` shows, see `outlines_numba`, by the backend that made it; nvdiffrast, which
    has no such search, is helped by Triton where that works, else by PyTorch. at_most: as for `antialias`."""
    backend = raster.backend
    if backend == "nvdiffrast":
        backend = "triton" if triton_works(clip.device) else "torch"
    if backend == "triton":
        from v2m4.render.outlines_triton import outlines_triton

        return outlines_triton(raster, clip, faces, at_most)
    found = (outlines_numba if backend == "numba" else outlines_torch)(raster, clip, faces)
    if at_most is None:
        return found
    rows = torch.arange(at_most, device=clip.device).clamp_max(len(found[0]))
    return of_fixed_number(found, rows, clip.shape[1])
