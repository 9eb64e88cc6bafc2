"""The GPU kernel that finds silhouettes: a lane walks from a pixel's face over its neighbours to the next pixel."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from v2m4.render.outlines import (
    HOPS,
    SLACK,
    Outlines,
    all_neighbours,
    first_true,
    neighbouring_pixels,
    of_fixed_number,
    opposite_edges,
)
from v2m4.render.raster import Raster

_GROUP = 128  # pairs of pixels per program


@torch.no_grad()
def outlines_triton(raster: Raster, clip: Tensor, faces: Tensor, at_most: int | None = None) -> Outlines:
    """As `outlines.outlines_torch`, which is its oracle, in another order. at_most: as for `antialias`."""
    height, width = raster.triangle.shape[1:]
    # Which pixels have neighbours of another face is known to the device alone: a recording looks at all of them.
    inner, outer = neighbouring_pixels(raster)[:2] if at_most is None else all_neighbours(raster)
    triangle, faces = raster.triangle.reshape(-1).contiguous(), faces.contiguous()
    ends = torch.full((len(inner), 2), -1, dtype=torch.int64, device=clip.device)
    if len(inner):
        grid = (triton.cdiv(len(inner), _GROUP),)
        tables = clip.float().contiguous(), faces, opposite_edges(faces), triangle
        _walk[grid](inner, outer, *tables, ends, len(inner), clip.shape[1], width, height, HOPS, SLACK, _GROUP)
    found = ends[:, 0] >= 0
    if at_most is not None:
        return of_fixed_number((inner, outer, ends), first_true(found, at_most), clip.shape[1])
    hit = found.nonzero()[:, 0]
    return inner[hit], outer[hit], ends[hit]


@triton.jit
def _seen_from(clip, vertex, fx, fy, valid):  # type: ignore[no-untyped-def]
    """Homogeneous x, y, w of vertices, with the pixel centre as the image's origin, float64."""
    at = clip + vertex * 4
    w = tl.load(at + 3, mask=valid, other=1.0).to(tl.float64)
    x = tl.load(at, mask=valid, other=0.0).to(tl.float64) - fx * w
    y = tl.load(at + 1, mask=valid, other=0.0).to(tl.float64) - fy * w
    return x, y, w


@triton.jit(do_not_specialize=["count", "vertices", "width", "height"])
def _walk(  # type: ignore[no-untyped-def]
    inner,
    outer,
    clip,
    faces,
    across,
    triangle,
    ends,
    count,
    vertices,
    width,
    height,
    hops: tl.constexpr,
    slack: tl.constexpr,
    group: tl.constexpr,
):
    """Write into ``ends`` (N,2) the vertices of the outline edge between pixel centres, where there is one.

    inner, outer (N,) flattened pixels; clip (B,V,4); faces and across (F,3); triangle (B,H,W), contiguous all of them.
    """
    # 1. A lane per pair of neighbouring pixels: one step, along a row or a column, from the centre of the nearer one.
    row = tl.program_id(0) * group + tl.arange(0, group)
    valid = row < count
    pixel = tl.load(inner + row, mask=valid, other=0)
    other = tl.load(outer + row, mask=valid, other=1)
    step = other - pixel
    horizontal = (step == 1) | (step == -1)
    sign = tl.where(step > 0, 1.0, -1.0).to(tl.float64)
    # 2. That centre in the image of its view, from -1 to 1; the faces at both centres.
    wide, high = width.to(tl.float64), height.to(tl.float64)
    area = width.to(tl.int64) * height
    clip += (pixel // area * vertices) * 4
    fx = ((pixel % width).to(tl.float64) + 0.5) * (2.0 / wide) - 1.0
    fy = ((pixel // width % height).to(tl.float64) + 0.5) * (2.0 / high) - 1.0
    face = tl.load(triangle + pixel, mask=valid, other=0)
    goal = tl.load(triangle + other, mask=valid, other=0)
    entered = face * 0 - 1
    active = valid & (face >= 0) & (face != goal)
    hop = 0
    while (hop < hops) & (tl.max(tl.where(active, 1, 0)) > 0):
        # 3. The corners of the face at hand, seen from the centre, and the lines through its edges: x, y and 1 of each.
        i = tl.load(faces + 3 * face, mask=active, other=0)
        j = tl.load(faces + 3 * face + 1, mask=active, other=0)
        k = tl.load(faces + 3 * face + 2, mask=active, other=0)
        px, py, pw = _seen_from(clip, i, fx, fy, active)
        qx, qy, qw = _seen_from(clip, j, fx, fy, active)
        rx, ry, rw = _seen_from(clip, k, fx, fy, active)
        x0, y0, c0 = py * qw - pw * qy, pw * qx - px * qw, px * qy - py * qx
        x1, y1, c1 = qy * rw - qw * ry, qw * rx - qx * rw, qx * ry - qy * rx
        x2, y2, c2 = ry * pw - rw * py, rw * px - rx * pw, rx * py - ry * px
        # 4. Times `side` the edge functions are positive inside the face; g is the change of each over the step.
        side = tl.where(x0 * rx + y0 * ry + c0 * rw > 0.0, 1.0, -1.0).to(tl.float64)
        turn = sign * side
        g0 = tl.where(horizontal, x0 * (2.0 / wide), y0 * (2.0 / high)) * turn
        g1 = tl.where(horizontal, x1 * (2.0 / wide), y1 * (2.0 / high)) * turn
        g2 = tl.where(horizontal, x2 * (2.0 / wide), y2 * (2.0 / high)) * turn
        # 5. Where on the way each edge is left, as a share of the step; the way never leaves by the edge it came in by.
        far = float("inf")
        leaves0 = (c0 * side >= slack * g0) & (g0 < 0.0) & (entered != 0)
        leaves1 = (c1 * side >= slack * g1) & (g1 < 0.0) & (entered != 1)
        leaves2 = (c2 * side >= slack * g2) & (g2 < 0.0) & (entered != 2)
        t0 = tl.where(leaves0, c0 * side / -tl.where(leaves0, g0, 1.0), far)
        t1 = tl.where(leaves1, c1 * side / -tl.where(leaves1, g1, 1.0), far)
        t2 = tl.where(leaves2, c2 * side / -tl.where(leaves2, g2, 1.0), far)
        # 6. The edge that is left first, and its line.
        by_second = (t1 < t0) & (t1 <= t2)
        by_third = (t2 < t0) & (t2 < t1)
        edge = tl.where(by_third, 2, tl.where(by_second, 1, 0))
        crossing = tl.where(by_third, t2, tl.where(by_second, t1, t0))
        x = tl.where(by_third, x2, tl.where(by_second, x1, x0))
        y = tl.where(by_third, y2, tl.where(by_second, y1, y0))
        c = tl.where(by_third, c2, tl.where(by_second, c1, c0))
        # 7. The face beyond it, if there is one, and whether its far corner lies on this side: then the surface folds.
        beyond = tl.load(across + 3 * face + edge, mask=active, other=-1)
        next_face = tl.maximum(beyond, 0) // 3
        next_edge = tl.maximum(beyond, 0) % 3
        apex = tl.load(faces + 3 * next_face + (next_edge + 2) % 3, mask=active, other=0)
        u, v, w = _seen_from(clip, apex, fx, fy, active)
        folds = (beyond < 0) | ((x * u + y * v + c * w) * side >= 0.0)
        # 8. An outline within the step is written down if it crosses this axis more squarely than the other.
        steep = tl.abs(x / wide) >= tl.abs(y / high)
        reached = active & (crossing < 1.0)
        hit = reached & folds & (steep == horizontal)
        begin = tl.where(edge == 0, i, tl.where(edge == 1, j, k))
        end = tl.where(edge == 0, j, tl.where(edge == 1, k, i))
        tl.store(ends + 2 * row, begin, mask=hit)
        tl.store(ends + 2 * row + 1, end, mask=hit)
        # 9. Where the surface goes on, so does the walk, unless it has come to the neighbour's own face.
        active = reached & (folds == 0) & (next_face != goal)
        face = tl.where(active, next_face, face)
        entered = tl.where(active, next_edge, entered)
        hop += 1
