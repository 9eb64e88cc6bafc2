"""The formula of `training.field` as GPU kernels: at given points, and along rays until they meet the surface."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_COLUMNS = tl.constexpr(22)
_LANES = 256
_FAR_AWAY = tl.constexpr(10.0)


@triton.jit
def _hypot(a, b):
    return tl.sqrt(a * a + b * b)


@triton.jit
def _scene(px, py, pz, table, count):
    """Distance and owner at a block of points of one object whose rows start at ``table``."""
    distance = px * 0 + _FAR_AWAY
    owner = (px * 0).to(tl.int32)
    for i in range(count):
        row = table + i * _COLUMNS
        shape = tl.load(row)
        cuts = tl.load(row + 1) > 0.5
        k = tl.maximum(tl.load(row + 2), 1e-6)
        dx, dy, dz = px - tl.load(row + 3), py - tl.load(row + 4), pz - tl.load(row + 5)
        x = dx * tl.load(row + 6) + dy * tl.load(row + 7) + dz * tl.load(row + 8)
        y = dx * tl.load(row + 9) + dy * tl.load(row + 10) + dz * tl.load(row + 11)
        z = dx * tl.load(row + 12) + dy * tl.load(row + 13) + dz * tl.load(row + 14)
        flat_y, flat_z = tl.load(row + 15), tl.load(row + 16)
        y, z = y / flat_y, z / flat_z
        squeeze = tl.minimum(tl.minimum(flat_y, flat_z), 1.0)
        a, b, c, e = tl.load(row + 17), tl.load(row + 18), tl.load(row + 19), tl.load(row + 20)
        away = _hypot(y, z)
        d = away
        if shape == 0:
            slope = tl.minimum(tl.maximum((b - c) / tl.maximum(a, 1e-6), -0.99), 0.99)
            rise = tl.sqrt(1 - slope * slope)
            along = x * rise - away * slope
            mantle = away * rise + x * slope - b
            far_end = _hypot(away, x - a) - c
            d = tl.where(along < 0, _hypot(away, x) - b, tl.where(along > rise * a, far_end, mantle))
        elif shape == 1:
            u, v, w = tl.abs(x) - a, tl.abs(y) - b, tl.abs(z) - c
            uo, vo, wo = tl.maximum(u, 0.0), tl.maximum(v, 0.0), tl.maximum(w, 0.0)
            d = tl.sqrt(uo * uo + vo * vo + wo * wo) + tl.minimum(tl.maximum(u, tl.maximum(v, w)), 0.0) - e
        elif shape == 2:
            d = _hypot(away - a, x) - b
        else:
            half = 0.5 * a
            up = x - half
            end_x = away - tl.minimum(away, tl.where(up < 0, b, c))
            end_y = tl.abs(up) - half
            t = ((c - away) * (c - b) + (half - up) * a) / tl.maximum((c - b) * (c - b) + a * a, 1e-9)
            t = tl.minimum(tl.maximum(t, 0.0), 1.0)
            side_x = away - c + (c - b) * t
            side_y = up - half + a * t
            nearest = tl.sqrt(tl.minimum(end_x * end_x + end_y * end_y, side_x * side_x + side_y * side_y))
            d = tl.where((side_x < 0) & (end_y < 0), -nearest, nearest) - e
        d = d * squeeze
        h = tl.maximum(k - tl.abs(distance - d), 0.0) / k
        joined = tl.minimum(distance, d) - 0.25 * h * h * k
        owns = tl.where(cuts, -d > distance, d < distance)
        owner = tl.where(owns, i, owner)
        distance = tl.where(cuts, tl.maximum(distance, -d), joined)
    return distance, owner


@triton.jit
def _field_kernel(points, parts, counts, distance, owner, n, rows, LANES: tl.constexpr):
    batch = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    valid = lane < n
    at = points + (batch * n + lane) * 3
    px = tl.load(at, mask=valid, other=0.0)
    py = tl.load(at + 1, mask=valid, other=0.0)
    pz = tl.load(at + 2, mask=valid, other=0.0)
    d, i = _scene(px, py, pz, parts + batch * rows * _COLUMNS, tl.load(counts + batch))
    tl.store(distance + batch * n + lane, d, mask=valid)
    tl.store(owner + batch * n + lane, i, mask=valid)


@triton.jit
def _march_kernel(
    origins,
    directions,
    starts,
    limits,
    parts,
    counts,
    out,
    n,
    rows,
    sign,
    close,
    STEPS: tl.constexpr,
    LANES: tl.constexpr,
):
    batch = tl.program_id(1).to(tl.int64)
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    valid = lane < n
    at = (batch * n + lane) * 3
    ox = tl.load(origins + at, mask=valid, other=0.0)
    oy = tl.load(origins + at + 1, mask=valid, other=0.0)
    oz = tl.load(origins + at + 2, mask=valid, other=0.0)
    dx = tl.load(directions + at, mask=valid, other=0.0)
    dy = tl.load(directions + at + 1, mask=valid, other=0.0)
    dz = tl.load(directions + at + 2, mask=valid, other=1.0)
    t = tl.load(starts + batch * n + lane, mask=valid, other=0.0)
    limit = tl.load(limits + batch * n + lane, mask=valid, other=-1.0)
    table, count = parts + batch * rows * _COLUMNS, tl.load(counts + batch)
    going = tl.max(((t < limit) & valid).to(tl.int32), axis=0)
    met = (t * 0).to(tl.int32)
    for step in range(STEPS):  # noqa: B007
        if going > 0:
            d, _owner = _scene(ox + t * dx, oy + t * dy, oz + t * dz, table, count)
            d = d * sign
            met = met | ((d < close) & (t < limit)).to(tl.int32)
            active = (t < limit) & (met == 0)
            t = tl.where(active, t + tl.maximum(0.9 * d, 0.5 * close), t)
            going = tl.max((active & valid).to(tl.int32), axis=0)
    tl.store(out + batch * n + lane, tl.where(met > 0, t, -1.0), mask=valid)


@torch.no_grad()
def field_triton(points: Tensor, parts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """As `training.field.field_torch`, its oracle."""
    batch, n, _ = points.shape
    distance = torch.empty(batch, n, dtype=torch.float32, device=points.device)
    owner = torch.empty(batch, n, dtype=torch.int32, device=points.device)
    grid = (triton.cdiv(n, _LANES), batch)
    _field_kernel[grid](
        points.float().contiguous(), parts.contiguous(), counts, distance, owner, n, parts.shape[1], LANES=_LANES
    )
    return distance, owner


@torch.no_grad()
def march_triton(
    origins: Tensor,
    directions: Tensor,
    starts: Tensor,
    limits: Tensor,
    parts: Tensor,
    counts: Tensor,
    sign: float,
    close: float,
    steps: int,
) -> Tensor:
    """As `training.rays.march_torch`, its oracle."""
    batch, n, _ = directions.shape
    out = torch.empty(batch, n, dtype=torch.float32, device=directions.device)
    grid = (triton.cdiv(n, _LANES), batch)
    _march_kernel[grid](
        origins.contiguous(),
        directions.contiguous(),
        starts.contiguous(),
        limits.contiguous(),
        parts.contiguous(),
        counts,
        out,
        n,
        parts.shape[1],
        float(sign),
        float(close),
        STEPS=steps,
        LANES=_LANES,
    )
    return out
