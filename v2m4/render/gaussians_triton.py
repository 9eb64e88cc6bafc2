"""The GPU kernels of splatting: a program blends a tile, some Gaussians at a time, and stops when it is opaque.

Their oracle is the blending in plain PyTorch of `v2m4.render.gaussians`, which keeps the same rules.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from v2m4.render.splats import ALPHA_MAX, ALPHA_MIN, TILE, TRANSMITTANCE_MIN, Splats, TileLists

_SIDE = tl.constexpr(TILE)
_ALPHA_MIN = tl.constexpr(ALPHA_MIN)
_ALPHA_MAX = tl.constexpr(ALPHA_MAX)
_LIGHT_MIN = tl.constexpr(TRANSMITTANCE_MIN)
_CHUNK = 32  # splats of a tile blended at once
_ROW = tl.constexpr(9)


def blend_tiles(splats: Splats, lists: TileLists, size: int) -> tuple[Tensor, Tensor]:
    """Color (size,size,3) and what remains of the light behind (size,size), differentiable in ``splats``."""
    table = torch.cat([splats.center, splats.conic, splats.opacity[:, None], splats.color], dim=1)
    return _Blend.apply(table.float().contiguous(), lists.gaussian, lists.start, lists.length, size)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, table: Tensor, gaussian: Tensor, start: Tensor, length: Tensor, size: int
    ) -> tuple[Tensor, Tensor]:
        color = table.new_zeros(size, size, 3)
        remaining = table.new_ones(size, size)
        _forward[(len(start),)](table, gaussian, start, length, color, remaining, size, _CHUNK)
        ctx.save_for_backward(table, gaussian, start, length, color, remaining)
        ctx.size = size
        return color, remaining

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        table, gaussian, start, length, color, remaining = ctx.saved_tensors
        out = torch.zeros_like(table)
        by_color, by_remaining = (g.float().contiguous() for g in grads)
        # What lies behind a Gaussian is the whole minus what lies before it, so the tile is walked front to back.
        whole = (by_color * color).sum(-1) + by_remaining * remaining
        _backward[(len(start),)](table, gaussian, start, length, by_color, whole, out, ctx.size, _CHUNK)
        return out, None, None, None, None


@triton.jit
def _pixels(tile, size):  # type: ignore[no-untyped-def]
    """Column and row (P,) of a tile's pixels, and whether they are in the picture."""
    across = (size + _SIDE - 1) // _SIDE
    pixel = tl.arange(0, _SIDE * _SIDE)
    x = tile % across * _SIDE + pixel % _SIDE
    y = tile // across * _SIDE + pixel // _SIDE
    return x, y, (x < size) & (y < size)


@triton.jit
def _blend_chunk(table, index, drawn, x, y, light):  # type: ignore[no-untyped-def]
    """Opacity, falloff, offsets, weight and log of the light after, (K,P) each, of K Gaussians given the log ``light``
    (P,) that reaches them; and their rows' inverse covariance (K,1) each."""
    row = table + index * _ROW
    dx = (x.to(tl.float32) + 0.5)[None, :] - tl.load(row, mask=drawn, other=0.0)[:, None]
    dy = (y.to(tl.float32) + 0.5)[None, :] - tl.load(row + 1, mask=drawn, other=0.0)[:, None]
    xx = tl.load(row + 2, mask=drawn, other=0.0)[:, None]
    xy = tl.load(row + 3, mask=drawn, other=0.0)[:, None]
    yy = tl.load(row + 4, mask=drawn, other=0.0)[:, None]
    opacity = tl.load(row + 5, mask=drawn, other=0.0)[:, None]
    power = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    falloff = tl.exp(-tl.maximum(power, 0.0))
    raw = opacity * falloff
    alpha = tl.minimum(raw, _ALPHA_MAX)
    alpha = tl.where((alpha >= _ALPHA_MIN) & drawn[:, None], alpha, 0.0)
    step = tl.log(1.0 - alpha)
    after = light[None, :] + tl.cumsum(step, axis=0)
    kept = after >= tl.log(_LIGHT_MIN + 0.0 * light)[None, :]
    weight = tl.where(kept, alpha * tl.exp(after - step), 0.0)
    return alpha, falloff, raw, dx, dy, xx, xy, yy, weight, step, kept


@triton.jit(do_not_specialize=["size"])
def _forward(table, gaussian, start, length, color, remaining, size, chunk: tl.constexpr):  # type: ignore[no-untyped-def]
    tile = tl.program_id(0)
    x, y, seen = _pixels(tile, size)
    first = tl.load(start + tile)
    count = tl.load(length + tile)
    light = tl.zeros([_SIDE * _SIDE], tl.float32)  # logarithm of what every Gaussian so far lets through
    left = tl.zeros([_SIDE * _SIDE], tl.float32)  # the same of those that were drawn
    red = tl.zeros([_SIDE * _SIDE], tl.float32)
    green = tl.zeros([_SIDE * _SIDE], tl.float32)
    blue = tl.zeros([_SIDE * _SIDE], tl.float32)
    dark = tl.log(_LIGHT_MIN + 0.0 * light)
    done = count * 0
    while (done < count) & (tl.max(tl.where(light >= dark, 1, 0)) > 0):
        slot = done + tl.arange(0, chunk)
        drawn = slot < count
        index = tl.load(gaussian + first + slot, mask=drawn, other=0)
        # Triton has no starred unpacking.
        _a, _f, _r, _dx, _dy, _xx, _xy, _yy, weight, step, kept = _blend_chunk(table, index, drawn, x, y, light)
        row = table + index * _ROW
        red += tl.sum(weight * tl.load(row + 6, mask=drawn, other=0.0)[:, None], axis=0)
        green += tl.sum(weight * tl.load(row + 7, mask=drawn, other=0.0)[:, None], axis=0)
        blue += tl.sum(weight * tl.load(row + 8, mask=drawn, other=0.0)[:, None], axis=0)
        left += tl.sum(tl.where(kept, step, 0.0), axis=0)
        light += tl.sum(step, axis=0)
        done += chunk
    at = y * size + x
    tl.store(color + 3 * at, red, mask=seen)
    tl.store(color + 3 * at + 1, green, mask=seen)
    tl.store(color + 3 * at + 2, blue, mask=seen)
    tl.store(remaining + at, tl.exp(left), mask=seen)


@triton.jit(do_not_specialize=["size"])
def _backward(table, gaussian, start, length, by_color, whole, out, size, chunk: tl.constexpr):  # type: ignore[no-untyped-def]
    """Adds to ``out`` (G,9) the slopes of the loss; ``whole`` (H,W) is the slope by color times the color, plus that
    by the remaining light times the remaining light."""
    tile = tl.program_id(0)
    x, y, seen = _pixels(tile, size)
    at = y * size + x
    first = tl.load(start + tile)
    count = tl.load(length + tile)
    to_red = tl.load(by_color + 3 * at, mask=seen, other=0.0)[None, :]
    to_green = tl.load(by_color + 3 * at + 1, mask=seen, other=0.0)[None, :]
    to_blue = tl.load(by_color + 3 * at + 2, mask=seen, other=0.0)[None, :]
    behind = tl.load(whole + at, mask=seen, other=0.0)
    light = tl.zeros([_SIDE * _SIDE], tl.float32)
    dark = tl.log(_LIGHT_MIN + 0.0 * light)
    done = count * 0
    while (done < count) & (tl.max(tl.where(light >= dark, 1, 0)) > 0):
        slot = done + tl.arange(0, chunk)
        drawn = slot < count
        index = tl.load(gaussian + first + slot, mask=drawn, other=0)
        alpha, falloff, raw, dx, dy, xx, xy, yy, weight, step, kept = _blend_chunk(table, index, drawn, x, y, light)
        row = table + index * _ROW
        red = tl.load(row + 6, mask=drawn, other=0.0)[:, None]
        green = tl.load(row + 7, mask=drawn, other=0.0)[:, None]
        blue = tl.load(row + 8, mask=drawn, other=0.0)[:, None]
        own = red * to_red + green * to_green + blue * to_blue
        part = weight * own
        rest = behind[None, :] - tl.cumsum(part, axis=0)
        active = kept & (alpha > 0) & seen[None, :]
        before = tl.exp(light[None, :] + tl.cumsum(step, axis=0) - step)
        by_alpha = tl.where(active, before * own - rest / (1.0 - alpha), 0.0)
        by_raw = tl.where(raw <= _ALPHA_MAX, by_alpha, 0.0)
        by_power = -by_raw * raw
        to = out + index * _ROW
        tl.atomic_add(to, tl.sum(-by_power * (xx * dx + xy * dy), axis=1), mask=drawn)
        tl.atomic_add(to + 1, tl.sum(-by_power * (yy * dy + xy * dx), axis=1), mask=drawn)
        tl.atomic_add(to + 2, tl.sum(by_power * 0.5 * dx * dx, axis=1), mask=drawn)
        tl.atomic_add(to + 3, tl.sum(by_power * dx * dy, axis=1), mask=drawn)
        tl.atomic_add(to + 4, tl.sum(by_power * 0.5 * dy * dy, axis=1), mask=drawn)
        tl.atomic_add(to + 5, tl.sum(by_raw * falloff, axis=1), mask=drawn)
        tl.atomic_add(to + 6, tl.sum(weight * to_red, axis=1), mask=drawn)
        tl.atomic_add(to + 7, tl.sum(weight * to_green, axis=1), mask=drawn)
        tl.atomic_add(to + 8, tl.sum(weight * to_blue, axis=1), mask=drawn)
        behind -= tl.sum(part, axis=0)
        light += tl.sum(step, axis=0)
        done += chunk
