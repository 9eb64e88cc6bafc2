"""Which triangle owns a pixel: the one step of rendering that is not differentiable."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from v2m4.device import triton_works
from v2m4.errors import V2M4Error
from v2m4.render.raster_nvdiffrast import nvdiffrast_works
from v2m4.render.threads import parallel_for

Backend = Literal["auto", "numba", "torch", "triton", "nvdiffrast"]
_CANDIDATES = 1 << 22  # pairs of face and pixel tested at once by the PyTorch version: bounds its memory


def choose_backend(backend: Backend, device: torch.device) -> Backend:
    """The kernel that runs on ``device``: numba on the CPU; on CUDA nvdiffrast or Triton where they work, else PyTorch.

    Raises V2M4Error where ``backend`` is a certain one that cannot run there.
    """
    on_gpu = device.type == "cuda"
    if backend == "auto":
        if device.type == "cpu":
            return "numba"
        if on_gpu and nvdiffrast_works(device):
            return "nvdiffrast"
        return "triton" if on_gpu and triton_works(device) else "torch"
    needs = {"numba": "cpu", "nvdiffrast": "cuda", "triton": "cuda"}.get(backend, device.type)
    if needs != device.type:
        raise V2M4Error(
            f"The {backend} rasteriser works on {needs}, but the mesh is on {device.type}. Move it, or choose auto."
        )
    if (backend == "nvdiffrast" and not nvdiffrast_works(device)) or (backend == "triton" and not triton_works(device)):
        raise V2M4Error(f"The {backend} rasteriser is not installed, or does not work on {device}. Choose auto.")
    return backend


def visible_triangles_numba(clip: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """(B,H,W) int32 index of the nearest face at each pixel centre, -1 where there is none; clip (B,V,4) on the CPU."""
    from v2m4.render.raster_numba import own_pixels

    positions = clip.detach().to(torch.float32).contiguous().numpy()
    corners = faces.to(torch.int32).contiguous().numpy()
    owner = np.empty((len(positions), height, width), np.int32)
    parallel_for(
        lambda view0, view1, row0, row1: own_pixels(positions, corners, view0, view1, row0, row1, owner),
        len(positions),
        height,
    )
    return torch.from_numpy(owner)


@torch.no_grad()
def visible_triangles_torch(clip: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """The same on any device, without compiled code: every face against every pixel of its bounding box."""
    owner = torch.full((len(clip), height * width), -1, dtype=torch.int32, device=clip.device)
    for view, row in zip(clip.double(), owner, strict=True):
        _own_view(view, faces, height, width, row)
    return owner.view(len(clip), height, width)


class EdgeFunctions(NamedTuple):
    """What decides where the faces of one view are drawn, float64.

    kept: (N,) faces that can be seen at all. first, extent: (N,2) int64 corner and size, in pixels, of the boxes around
    them. edges: (F,3,3), the (x, y, 1) coefficients of each face's edge functions, all three positive inside it.
    plane: (F,3), those of its depth z/w. Both in normalised image coordinates.
    """

    kept: Tensor
    first: Tensor
    extent: Tensor
    edges: Tensor
    plane: Tensor


def edge_functions(clip: Tensor, faces: Tensor, height: int, width: int) -> EdgeFunctions:
    """Set up the faces (F,3) of one view, clip (V,4) float64, for an image of that size."""
    p = clip[faces]  # (F,3,4)
    xyw = p[..., [0, 1, 3]]
    edges = torch.stack([_cross(xyw[:, 1], xyw[:, 2]), _cross(xyw[:, 2], xyw[:, 0]), _cross(xyw[:, 0], xyw[:, 1])], 1)
    determinant = (edges[:, 0] * xyw[:, 0])[:, 0] + (edges[:, 0] * xyw[:, 0])[:, 1] + (edges[:, 0] * xyw[:, 0])[:, 2]
    weighted = edges * p[..., 2:3]
    plane = (weighted[:, 0] + weighted[:, 1] + weighted[:, 2]) / determinant[:, None]
    edges = torch.where(determinant[:, None, None] < 0, -edges, edges)

    scale = torch.tensor([2.0 / width, 2.0 / height], dtype=clip.dtype, device=clip.device)
    last = torch.tensor([width - 1.0, height - 1.0], dtype=clip.dtype, device=clip.device)
    w = p[..., 3]
    ndc = p[..., :2] / w[..., None]
    lo = torch.ceil(torch.clamp_min((ndc.amin(1) + 1) / scale - 0.501, 0))
    hi = torch.floor(torch.minimum((ndc.amax(1) + 1) / scale - 0.499, last))
    crossing = (w <= 1e-9).any(1)
    lo = torch.where(crossing[:, None], torch.zeros_like(lo), lo)
    hi = torch.where(crossing[:, None], last, hi)
    drawn = ~(w <= 1e-9).all(1) & (determinant != 0) & determinant.isfinite() & (hi >= lo).all(1)
    kept = drawn.nonzero()[:, 0]
    first, extent = lo[kept].long(), (hi - lo + 1)[kept].long()
    return EdgeFunctions(kept, first, extent, edges, plane)


def _own_view(clip: Tensor, faces: Tensor, height: int, width: int, owner: Tensor) -> None:
    kept, first, extent, edges, plane = edge_functions(clip, faces, height, width)
    scale = torch.tensor([2.0 / width, 2.0 / height], dtype=clip.dtype, device=clip.device)
    count = extent.prod(1)
    ends = count.cumsum(0)
    best = torch.full((height * width,), torch.inf, dtype=clip.dtype, device=clip.device)

    start = 0
    while start < len(kept):
        base = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(torch.searchsorted(ends, base + _CANDIDATES, right=True)))
        n = count[start:stop]
        which = torch.repeat_interleave(torch.arange(start, stop, device=clip.device), n)
        offset = torch.arange(len(which), device=clip.device) - (ends[which] - count[which] - base)
        x = first[which, 0] + offset % extent[which, 0]
        y = first[which, 1] + offset // extent[which, 0]
        face = kept[which]
        fx, fy = (x + 0.5) * scale[0] - 1, (y + 0.5) * scale[1] - 1
        e = edges[face]
        inside = ((e[..., 2] + e[..., 1] * fy[:, None]) + e[..., 0] * fx[:, None] >= 0).all(1)
        q = plane[face]
        z = (q[:, 2] + q[:, 1] * fy) + q[:, 0] * fx
        inside &= (z >= -1) & (z <= 1)
        pixel, z, face = (y * width + x)[inside], z[inside], face[inside]
        nearer = z < best[pixel]
        pixel, z, face = pixel[nearer], z[nearer], face[nearer]
        best.scatter_reduce_(0, pixel, z, "amin")
        winner = z == best[pixel]
        candidate = torch.full_like(owner, len(faces))
        candidate.scatter_reduce_(0, pixel[winner], face[winner].to(owner.dtype), "amin")
        owner.copy_(torch.where(candidate < len(faces), candidate, owner))
        start = stop


def _cross(p: Tensor, q: Tensor) -> Tensor:
    x, y, w = p.unbind(-1)
    u, v, t = q.unbind(-1)
    return torch.stack([y * t - w * v, w * u - x * t, x * v - y * u], dim=-1)
