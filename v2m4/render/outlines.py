"""Where the silhouettes of rendered surfaces run: between which pixel centres, over which edge.

Compiled for the CPU here, as a Triton kernel in `outlines_triton`, and in plain PyTorch, the oracle of both.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from v2m4.arrays import Int64
from v2m4.geometry.gather import gather_rows
from v2m4.render.raster import Raster, pixel_centres
from v2m4.render.threads import parallel_for

HOPS = 64  # faces the search for an outline may cross between two pixel centres
SLACK = 1 / 16  # pixels by which a centre may lie outside its own face: nvdiffrast's grid is that coarse


def outlines_numba(raster: Raster, clip: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where silhouettes cross between pixel centres.

    From the nearer pixel the search walks over the surface towards the other one, face by face, to the first edge
    beyond which the surface ends or folds back: so meshes whose faces are smaller than pixels keep their outlines.
    (N,) flattened pixels of the nearer face, (N,) their neighbours, (N,2) the vertices of the edge between them.
    """
    from v2m4.render.outlines_numba import find_outlines

    views, height, width = raster.triangle.shape
    positions = clip.to(torch.float32).contiguous().numpy()
    corners, across = (t.to(torch.int32).contiguous().numpy() for t in (faces, opposite_edges(faces)))
    owner = raster.triangle.to(torch.int32).contiguous().numpy()
    depth = raster.depth.detach().to(torch.float32).contiguous().numpy()
    found: list[Int64] = [np.empty((0, 4), np.int64)] * views

    def search(view0: int, view1: int, _row0: int, _row1: int) -> None:
        for b in range(view0, view1):
            table = np.empty((8 * (height + width), 4), np.int64)
            n = find_outlines(positions[b], corners, across, owner[b], depth[b], HOPS, SLACK, table)
            if n > len(table):
                table = np.empty((n, 4), np.int64)
                find_outlines(positions[b], corners, across, owner[b], depth[b], HOPS, SLACK, table)
            table = table[:n]
            table[:, :2] += b * height * width
            found[b] = table

    parallel_for(search, views, 1)
    rows = torch.from_numpy(np.concatenate(found))
    return rows[:, 0], rows[:, 1], rows[:, 2:]


@torch.no_grad()
def outlines_torch(raster: Raster, clip: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same on any device."""
    height, width = raster.triangle.shape[1:]
    inner, outer, horizontal = neighbouring_pixels(raster)
    face, goal = raster.triangle.reshape(-1)[inner], raster.triangle.reshape(-1)[outer]
    entered = torch.full_like(face, -1)
    across, clip = opposite_edges(faces), clip.double()
    found = []
    for _ in range(HOPS):
        view, fx, fy = pixel_centres(inner, height, width, clip.dtype)
        step = (outer - inner).sign()[:, None]
        p, q, r = (from_centre(clip, view, faces[face, i], fx, fy) for i in range(3))
        x, y, at_centre = (torch.stack(t, dim=1) for t in zip(cross(p, q), cross(q, r), cross(r, p), strict=True))
        side = torch.where(x[:, 0] * r[0] + y[:, 0] * r[1] + at_centre[:, 0] * r[2] > 0, 1.0, -1.0)[:, None]
        change = torch.where(horizontal[:, None], x * (2.0 / width), y * (2.0 / height)) * step * side
        here = at_centre * side
        leaves = (here >= SLACK * change) & (change < 0) & (torch.arange(3, device=face.device) != entered[:, None])
        crossing, edge = torch.where(leaves, here / -change, torch.inf).min(1)
        x, y, at_centre = (t.gather(1, edge[:, None])[:, 0] for t in (x, y, at_centre))
        beyond = across[face, edge]
        u, v, w = from_centre(clip, view, faces[beyond // 3, (beyond % 3 + 2) % 3], fx, fy)
        ends = (beyond < 0) | ((x * u + y * v + at_centre * w) * side[:, 0] >= 0)
        # Each outline pixel is blended along one axis only: the one its edge crosses more squarely.
        steep = (x / width).abs() >= (y / height).abs()
        hit = (crossing < 1) & ends & (steep == horizontal)
        edges = torch.stack([faces[face, edge], faces[face, (edge + 1) % 3]], dim=1)
        found.append((inner[hit], outer[hit], edges[hit]))
        on = (crossing < 1) & ~ends & (beyond // 3 != goal)
        inner, outer, horizontal, goal = inner[on], outer[on], horizontal[on], goal[on]
        face, entered = beyond[on] // 3, beyond[on] % 3
        if len(face) == 0:
            break
    pixels, neighbours, edges = (torch.cat(t) for t in zip(*found, strict=True))
    return pixels, neighbours, edges


def opposite_edges(faces: Tensor) -> Tensor:
    """(F,3) where each edge, from corner e to e+1, continues: 3 x face + edge of the face across it, -1 at borders and
    where more than two faces meet.

    What was found for a tensor of faces is kept as long as that lives and nobody writes into it: an optimisation
    renders the same faces in every step.
    """
    known = _KNOWN.get(faces)
    if known is None or known[0] != faces._version:
        known = _KNOWN[faces] = (faces._version, _find_opposite_edges(faces))
    return known[1]


_KNOWN: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _find_opposite_edges(faces: Tensor) -> Tensor:
    count = int(faces.max()) + 1 if len(faces) else 1
    second = faces[:, [1, 2, 0]]
    key, order = torch.sort((torch.minimum(faces, second) * count + torch.maximum(faces, second)).reshape(-1))
    same = torch.zeros(len(key) + 1, dtype=torch.bool, device=faces.device)
    same[1:-1] = key[1:] == key[:-1]
    lone_pair = same[1:-1] & ~same[:-2] & ~same[2:]
    first = lone_pair.nonzero()[:, 0]
    a, b = order[first], order[first + 1]
    out = torch.full_like(order, -1)
    out[a], out[b] = b, a
    return out.view(-1, 3)


def neighbouring_pixels(raster: Raster) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbouring pixels of different faces: (N,) flattened pixels of the nearer face, (N,) their neighbours, (N,)
    whether the two lie in a row."""
    owner = raster.triangle
    depth = torch.where(owner >= 0, raster.depth.detach(), torch.inf).reshape(-1)
    parts = []
    for axis, step in ((2, 1), (1, owner.shape[2])):
        n = owner.shape[axis] - 1
        view, y, x = (owner.narrow(axis, 0, n) != owner.narrow(axis, 1, n)).nonzero(as_tuple=True)
        a = (view * owner.shape[1] + y) * owner.shape[2] + x
        b = a + step
        nearer = depth[a] <= depth[b]
        parts.append((torch.where(nearer, a, b), torch.where(nearer, b, a), torch.full_like(nearer, axis == 2)))
    inner, outer, rows = (torch.cat(t) for t in zip(*parts, strict=True))
    return inner, outer, rows


def all_neighbours(raster: Raster) -> tuple[Tensor, Tensor]:
    """Of every pixel and the one to its right, then of every pixel and the one below: (2BHW,) flattened pixels of the
    nearer face, and (2BHW,) their neighbours; the pixel itself where the image ends. Waits for nothing."""
    views, height, width = raster.triangle.shape
    depth = raster.depth.detach().masked_fill(raster.triangle < 0, torch.inf).reshape(-1)
    pixel = torch.arange(views * height * width, device=depth.device)
    right = pixel + (pixel % width < width - 1)
    below = pixel + width * (pixel // width % height < height - 1)
    a, b = pixel.repeat(2), torch.cat([right, below])
    nearer = depth[a] <= depth[b]
    return torch.where(nearer, a, b), torch.where(nearer, b, a)


def first_true(mask: Tensor, count: int) -> Tensor:
    """(count,) the places of the first true entries of mask (N,), N where there are no more. Waits for nothing."""
    return torch.searchsorted(mask.cumsum(0), torch.arange(1, count + 1, device=mask.device))


Outlines = tuple[Tensor, Tensor, Tensor]


def of_fixed_number(found: Outlines, rows: Tensor, vertices: int) -> Outlines:
    """The ``rows`` (K,) of outlines (N,), (N,) and (N,2); where a row is N, a pixel beside itself and an edge from a
    vertex, one of so many, to itself: nothing to blend, and no place that many of them share."""
    inner, outer, ends = found
    none, slot = rows >= len(inner), torch.arange(len(rows), device=rows.device)
    if len(inner) == 0:
        return slot * 0, slot * 0, (slot % vertices)[:, None].expand(-1, 2)
    kept = rows.clamp_max(len(inner) - 1)
    pixel = inner[kept]
    return (
        pixel,
        torch.where(none, pixel, outer[kept]),
        torch.where(none[:, None], (slot % vertices)[:, None], ends[kept]),
    )


Point = tuple[Tensor, Tensor, Tensor]


def from_centre(clip: Tensor, view: Tensor, vertices: Tensor, fx: Tensor, fy: Tensor) -> Point:
    """Homogeneous x, y, w (N,) of vertices (N,), with the pixel centre as the image's origin."""
    x, y, _, w = gather_rows(clip.reshape(-1, 4), view * clip.shape[1] + vertices).unbind(1)
    return x - fx * w, y - fy * w, w


def cross(p: Point, q: Point) -> Point:
    """The line through two points: the coefficients of x, y and 1, in the image whose origin they are seen from."""
    return p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]
