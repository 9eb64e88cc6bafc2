"""The GPU kernels of group norm followed by SiLU over voxel rows; their oracle is `sparse.SparseGroupNorm` and SiLU.

Both passes read their inputs twice and write once. The backward pass needs the input alone, where PyTorch's own
operations would keep three copies of it, two of them in 32 bits.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 4096
_SUMMED_ROWS = 512


def group_norm_silu_triton(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """SiLU of the group norm of one item's rows (N, C), statistics over all rows and a group's channels, in float32.

    Differentiable in ``x``.
    """
    result: Tensor = _GroupNormSilu.apply(x, groups, weight.float(), bias.float(), eps)
    return result


class _GroupNormSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        width = x.shape[1]
        members = len(x) * width // groups
        # 1. Sums of x and its square, both counted from the first row, which keeps them small: (C,) each.
        pivot = x[0].double()
        first, second = _sums(_moments, x, width, x).unbind()
        total = (first + len(x) * pivot).view(groups, -1).sum(1)
        squares = (second + 2 * pivot * first + len(x) * pivot**2).view(groups, -1).sum(1)
        mean = total / members  # (G,)
        rstd = (squares / members - mean**2).clamp_min(0).add(eps).rsqrt()
        # 2. What each channel is multiplied with, and what is added to it.
        per_channel = width // groups
        mean, rstd = (t.repeat_interleave(per_channel).float() for t in (mean, rstd))  # (C,)
        scale = rstd * weight
        shift = bias - mean * scale
        out = torch.empty_like(x)
        _over_tiles(_forward, x, scale, shift, out)
        ctx.save_for_backward(x, scale, shift, mean, rstd)
        ctx.groups = groups
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, mean, rstd = ctx.saved_tensors
        grad = grads[0].contiguous()
        width, groups = x.shape[1], ctx.groups
        members = len(x) * width // groups
        # 1. Means over a group of the slope at the normed value, and of its product with that value; without the
        #    factor 1/rstd, which `scale` holds.
        plain, along = (_sums(_slope_moments, x, width, x, grad, scale, shift, mean) * scale.double()).unbind()
        plain, along = (t.view(groups, -1).sum(1) / members for t in (plain, along))
        per_channel = width // groups
        plain, along = (t.repeat_interleave(per_channel).float() for t in (plain, along))
        # 2. The input's slope.
        out = torch.empty_like(x)
        _over_tiles(_backward, x, grad, scale, shift, mean, plain, along * rstd**2, out)
        return out, None, None, None, None


def _sums(kernel: Any, x: Tensor, width: int, *tensors: Tensor) -> Tensor:
    """(2, C) float64: what ``kernel`` adds up over all rows."""
    lanes = triton.next_power_of_2(width)
    programs = triton.cdiv(len(x), _SUMMED_ROWS)
    parts = torch.empty(programs, 2, width, dtype=torch.float32, device=x.device)
    kernel[(programs,)](*tensors, parts, len(x), width, _SUMMED_ROWS, max(1, _TILE // lanes), lanes)
    return parts.sum(0, dtype=torch.float64)


def _over_tiles(kernel: Any, x: Tensor, *tensors: Tensor) -> None:
    width = x.shape[1]
    lanes = triton.next_power_of_2(width)
    rows = max(1, _TILE // lanes)
    kernel[(triton.cdiv(len(x), rows),)](x, *tensors, len(x), width, rows, lanes)


@triton.jit
def _slope(x, grad, scale, shift, place, there, column, present):  # type: ignore[no-untyped-def]
    """The slope at the argument of SiLU, silu'(z) = s + z s (1 - s)."""
    value = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    z = value * tl.load(scale + column, mask=present, other=0.0) + tl.load(shift + column, mask=present, other=0.0)
    s = tl.sigmoid(z)
    return value, tl.load(grad + place, mask=there, other=0.0).to(tl.float32) * (s + z * s * (1 - s))


@triton.jit(do_not_specialize=["rows"])
def _moments(  # type: ignore[no-untyped-def]
    x,
    parts,
    rows,
    width: tl.constexpr,
    share: tl.constexpr,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    column = tl.arange(0, lanes)[None, :]
    present = column < width
    pivot = tl.load(x + column, mask=present, other=0.0).to(tl.float32)
    first = tl.zeros((group, lanes), tl.float32)
    second = tl.zeros((group, lanes), tl.float32)
    begin = tl.program_id(0).to(tl.int64) * share
    for step in range(0, share, group):
        row = begin + step + tl.arange(0, group)[:, None]
        there = (row < rows) & present
        value = tl.load(x + row * width + column, mask=there, other=0.0).to(tl.float32)
        value = tl.where(there, value - pivot, 0.0)
        first += value
        second += value * value
    _store_sums(parts, first, second, width, lanes)


@triton.jit(do_not_specialize=["rows"])
def _slope_moments(  # type: ignore[no-untyped-def]
    x,
    grad,
    scale,
    shift,
    mean,
    parts,
    rows,
    width: tl.constexpr,
    share: tl.constexpr,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    column = tl.arange(0, lanes)[None, :]
    present = column < width
    centre = tl.load(mean + column, mask=present, other=0.0)
    first = tl.zeros((group, lanes), tl.float32)
    second = tl.zeros((group, lanes), tl.float32)
    begin = tl.program_id(0).to(tl.int64) * share
    for step in range(0, share, group):
        row = begin + step + tl.arange(0, group)[:, None]
        there = (row < rows) & present
        value, slope = _slope(x, grad, scale, shift, row * width + column, there, column, present)
        first += slope
        second += slope * (value - centre)
    _store_sums(parts, first, second, width, lanes)


@triton.jit
def _store_sums(parts, first, second, width: tl.constexpr, lanes: tl.constexpr):  # type: ignore[no-untyped-def]
    column = tl.arange(0, lanes)
    place = parts + tl.program_id(0).to(tl.int64) * 2 * width + column
    tl.store(place, tl.sum(first, axis=0), mask=column < width)
    tl.store(place + width, tl.sum(second, axis=0), mask=column < width)


@triton.jit(do_not_specialize=["rows"])
def _forward(  # type: ignore[no-untyped-def]
    x,
    scale,
    shift,
    out,
    rows,
    width: tl.constexpr,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    column = tl.arange(0, lanes)[None, :]
    present = column < width
    row = tl.program_id(0).to(tl.int64) * group + tl.arange(0, group)[:, None]
    there = (row < rows) & present
    value = tl.load(x + row * width + column, mask=there, other=0.0).to(tl.float32)
    z = value * tl.load(scale + column, mask=present, other=0.0) + tl.load(shift + column, mask=present, other=0.0)
    tl.store(out + row * width + column, z * tl.sigmoid(z), mask=there)


@triton.jit(do_not_specialize=["rows"])
def _backward(  # type: ignore[no-untyped-def]
    x,
    grad,
    scale,
    shift,
    mean,
    plain,
    along,
    out,
    rows,
    width: tl.constexpr,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    column = tl.arange(0, lanes)[None, :]
    present = column < width
    row = tl.program_id(0).to(tl.int64) * group + tl.arange(0, group)[:, None]
    there = (row < rows) & present
    place = row * width + column
    value, slope = _slope(x, grad, scale, shift, place, there, column, present)
    slope *= tl.load(scale + column, mask=present, other=0.0)
    slope -= tl.load(plain + column, mask=present, other=0.0)
    centred = value - tl.load(mean + column, mask=present, other=0.0)
    tl.store(out + place, slope - centred * tl.load(along + column, mask=present, other=0.0), mask=there)
