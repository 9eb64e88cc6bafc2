"""Analytic antialiasing of silhouettes, which gives the positions their gradient (Laine et al. 2020, section 3.6)."""

from __future__ import annotations

import torch
from torch import Tensor

from v2m4.render.gather import gather_rows
from v2m4.render.raster import Raster, pixel_centres


def antialias(image: Tensor, raster: Raster, clip: Tensor, faces: Tensor) -> Tensor:
    """Blend an image (B,H,W,C) over the silhouette edges of what ``raster`` shows.

    Between two neighbouring pixels with different faces, the nearer face's outline is a line; where it crosses the
    segment between the pixel centres tells how far each side reaches into the other's pixel, and the two colours mix
    accordingly. The crossing carries gradients to ``clip`` (B,V,4). Interior edges and intersections stay as they are.
    """
    if raster.native is not None:
        from v2m4.render.cuda import antialias_cuda

        return antialias_cuda(image, raster.native, clip, faces)
    views, height, width = raster.triangle.shape
    owner = raster.triangle.reshape(-1)
    inner, outer, horizontal = _discontinuities(raster)
    if len(inner) == 0:
        return image
    across = opposite_vertices(faces)
    view, fx, fy = pixel_centres(inner, height, width, clip.dtype)
    step = torch.where(horizontal, outer - inner, (outer - inner).sign()).to(clip.dtype)
    step_x = torch.where(horizontal, step * (2.0 / width), 0.0)
    step_y = torch.where(horizontal, 0.0, step * (2.0 / height))

    with torch.no_grad():
        face = owner[inner]
        points = _local(clip, view[:, None], faces[face], fx, fy)
        lines = _cross(points, points.roll(-1, 1))  # line e joins corners e and e+1
        determinant = (lines[:, 0] * points[:, 2]).sum(-1)
        here = lines[..., 2] * determinant.sign()[:, None]
        change = (lines[..., 0] * step_x[:, None] + lines[..., 1] * step_y[:, None]) * determinant.sign()[:, None]
        leaves = (here >= 0) & (here + change < 0)
        exit_at = torch.where(leaves, here / (-change).clamp_min(torch.finfo(clip.dtype).tiny), torch.inf)
        crossing, edge = exit_at.min(1)
        rows = torch.arange(len(edge), device=edge.device)
        line = lines[rows, edge]
        steep = (line[:, 0] / width).abs() >= (line[:, 1] / height).abs()
        beyond = across[face, edge]
        neighbour = _local(clip, view[:, None], beyond.clamp_min(0)[:, None], fx, fy)[:, 0]
        folded = (line * neighbour).sum(-1) * determinant >= 0
        silhouette = crossing.isfinite() & (steep == horizontal) & ((beyond < 0) | folded)
        ends = torch.stack([faces[face, edge], faces[face, (edge + 1) % 3]], dim=1)[silhouette]

    view, fx, fy, step_x, step_y = (t[silhouette] for t in (view, fx, fy, step_x, step_y))
    inner, outer = inner[silhouette], outer[silhouette]
    points = _local(clip, view[:, None], ends, fx, fy)
    line = _cross(points[:, 0], points[:, 1])
    slope = line[:, 0] * step_x + line[:, 1] * step_y
    reach = -line[:, 2] / slope - 0.5  # how far the inner pixel's surface passes the border of the two pixels
    target, source = torch.where(reach > 0, outer, inner), torch.where(reach > 0, inner, outer)
    flat = image.reshape(-1, image.shape[-1])
    blend = reach.abs()[:, None] * (gather_rows(flat, source) - gather_rows(flat, target))
    return flat.scatter_add(0, target[:, None].expand_as(blend), blend).view_as(image)


def opposite_vertices(faces: Tensor) -> Tensor:
    """(F,3) vertex opposite to the edge from corner e to e+1 in the face across it; -1 at borders and where more than
    two faces meet."""
    count = int(faces.max()) + 1 if len(faces) else 1
    ends = torch.stack([faces, faces.roll(-1, 1)], dim=-1).reshape(-1, 2)
    apex = faces.roll(-2, 1).reshape(-1)
    key, order = torch.sort(ends.amin(1) * count + ends.amax(1), stable=True)
    same = key[1:] == key[:-1]
    no = torch.zeros(1, dtype=torch.bool, device=faces.device)
    with_next, with_previous = torch.cat([same, no]), torch.cat([no, same])
    with_next_but_one = torch.cat([key[2:] == key[:-2], no, no])[: len(key)]
    first = with_next & ~with_previous & ~with_next_but_one
    pairs = first.nonzero()[:, 0]
    a, b = order[pairs], order[pairs + 1]
    out = torch.full_like(apex, -1)
    out[a], out[b] = apex[b], apex[a]
    return out.view(-1, 3)


def _discontinuities(raster: Raster) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) flattened pixels of the nearer face, their neighbours with another face, and whether they are in a row."""
    owner, depth = raster.triangle, raster.depth.detach()
    depth = torch.where(owner >= 0, depth, torch.inf)
    index = torch.arange(owner.numel(), device=owner.device).view_as(owner)
    parts = []
    for axis, horizontal in ((2, True), (1, False)):
        n = owner.shape[axis] - 1
        low, high = (t.narrow(axis, 0, n) for t in (owner, index)), (t.narrow(axis, 1, n) for t in (owner, index))
        (owner_a, a), (owner_b, b) = low, high
        differs = owner_a != owner_b
        a, b = a[differs], b[differs]
        nearer = depth.view(-1)[a] <= depth.view(-1)[b]
        parts.append((torch.where(nearer, a, b), torch.where(nearer, b, a), torch.full_like(nearer, horizontal)))
    inner, outer, rows = (torch.cat(t) for t in zip(*parts, strict=True))
    return inner, outer, rows


def _local(clip: Tensor, view: Tensor, vertices: Tensor, fx: Tensor, fy: Tensor) -> Tensor:
    """(N,K,3) homogeneous (x,y,w) of vertices (N,K), with the pixel centre as the image's origin."""
    p = gather_rows(clip.reshape(-1, 4), view * clip.shape[1] + vertices)
    w = p[..., 3]
    return torch.stack([p[..., 0] - fx[:, None] * w, p[..., 1] - fy[:, None] * w, w], dim=-1)


def _cross(p: Tensor, q: Tensor) -> Tensor:
    return torch.linalg.cross(p, q, dim=-1)
