"""The GPU kernels of layer norm with what surrounds it: a gated sum before, scale, shift and SiLU behind it.

Their oracle is the plain PyTorch of `layer_norm.add_norm`. One kernel reads and writes each row once in either
direction, and the backward pass keeps the sum alone.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 2048


def add_norm_triton(
    x: Tensor,
    added: Tensor | None,
    gate: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    eps: float,
    plus: float,
    silu: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """See `layer_norm.add_norm`. Differentiable in ``x`` and ``added``."""
    result: tuple[Tensor, Tensor] = _AddNorm.apply(x, added, gate, scale, shift, eps, plus, silu, dtype)
    return (x, result[1]) if added is None else result


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        added: Tensor | None,
        gate: Tensor | None,
        scale: Tensor | None,
        shift: Tensor | None,
        eps: float,
        plus: float,
        silu: bool,
        dtype: torch.dtype,
    ) -> tuple[Tensor | None, Tensor]:
        x = x.contiguous()
        out = torch.empty_like(x, dtype=dtype)
        total = None if added is None else torch.empty_like(x)
        others = (None if added is None else added.contiguous(), gate, scale, shift)
        _launch(_forward, x, x, *others, total, out, eps=eps, plus=plus, silu=silu)
        ctx.save_for_backward(x if total is None else total, gate, scale, shift)
        ctx.numbers = {"eps": eps, "plus": plus, "silu": silu}
        ctx.added_dtype = None if added is None else added.dtype
        return total, out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        total, gate, scale, shift = ctx.saved_tensors
        past, grad = (None if g is None else g.contiguous() for g in grads)
        if grad is None:
            grad = torch.zeros_like(total)
        to_x = torch.empty_like(total)
        # Where nothing turns the slope of the sum into that of what was added, they are one tensor.
        own = ctx.needs_input_grad[1] and (gate is not None or ctx.added_dtype != total.dtype)
        to_added = torch.empty_like(total, dtype=ctx.added_dtype) if own else None
        _launch(_backward, total, total, grad, past, gate, scale, shift, to_x, to_added, **ctx.numbers)
        return to_x, (to_added if own else to_x) if ctx.needs_input_grad[1] else None, *[None] * 7


def _launch(kernel: Any, like: Tensor, *tensors: Tensor | None, eps: float, plus: float, silu: bool) -> None:
    width = like.shape[-1]
    rows = like.numel() // width
    if not rows:
        return
    lanes = triton.next_power_of_2(width)
    group = max(1, _TILE // lanes)
    by_item = like.shape[-2] if like.dim() > 2 else rows  # rows of an item share its vectors
    strides = [0 if t is None or t.dim() < 2 or t.shape[0] == 1 else t.stride(0) for t in _vectors_of(kernel, tensors)]
    kernel[(triton.cdiv(rows, group),)](
        *tensors, rows, by_item, *strides, eps, plus, width, silu, group, lanes, num_warps=4
    )


def _vectors_of(kernel: Any, tensors: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """The gates, scales and shifts among a kernel's tensors."""
    first = 2 if kernel is _forward else 3
    return tensors[first : first + 3]


@triton.jit
def _vector(values, stride, item, lane, present):  # type: ignore[no-untyped-def]
    return tl.load(values + item * stride + lane, mask=present, other=0.0).to(tl.float32)


@triton.jit
def _normed(total, there, width: tl.constexpr, eps):  # type: ignore[no-untyped-def]
    mean = tl.sum(total, axis=1)[:, None] / width
    centred = tl.where(there, total - mean, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(centred * centred, axis=1)[:, None] / width + eps)
    return centred * rstd, rstd


@triton.jit(do_not_specialize=["rows", "by_item"])
def _forward(  # type: ignore[no-untyped-def]
    x,
    added,
    gate,
    scale,
    shift,
    sums,
    out,
    rows,
    by_item,
    gate_stride,
    scale_stride,
    shift_stride,
    eps,
    plus,
    width: tl.constexpr,
    silu: tl.constexpr,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    row = (tl.program_id(0).to(tl.int64) * group + tl.arange(0, group))[:, None]
    lane = tl.arange(0, lanes)[None, :]
    there = (row < rows) & (lane < width)
    place = row * width + lane
    item = row // by_item
    total = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    if added is not None:
        more = tl.load(added + place, mask=there, other=0.0).to(tl.float32)
        if gate is not None:
            more *= _vector(gate, gate_stride, item, lane, there)
        total += more
        tl.store(sums + place, total, mask=there)
        total = total.to(sums.dtype.element_ty).to(tl.float32)  # what the backward pass will read
    value, _ = _normed(total, there, width, eps)
    if scale is not None:
        value *= plus + _vector(scale, scale_stride, item, lane, there)
    if shift is not None:
        value += _vector(shift, shift_stride, item, lane, there)
    if silu:
        value *= tl.sigmoid(value)
    tl.store(out + place, value, mask=there)


@triton.jit(do_not_specialize=["rows", "by_item"])
def _backward(  # type: ignore[no-untyped-def]
    sums,
    grad,
    past,
    gate,
    scale,
    shift,
    to_x,
    to_added,
    rows,
    by_item,
    gate_stride,
    scale_stride,
    shift_stride,
    eps,
    plus,
    width: tl.constexpr,
    silu: tl.constexpr,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    row = (tl.program_id(0).to(tl.int64) * group + tl.arange(0, group))[:, None]
    lane = tl.arange(0, lanes)[None, :]
    there = (row < rows) & (lane < width)
    place = row * width + lane
    item = row // by_item
    total = tl.load(sums + place, mask=there, other=0.0).to(tl.float32)
    value, rstd = _normed(total, there, width, eps)
    pulled = tl.load(grad + place, mask=there, other=0.0).to(tl.float32)
    if silu:
        z = value
        if scale is not None:
            z *= plus + _vector(scale, scale_stride, item, lane, there)
        if shift is not None:
            z += _vector(shift, shift_stride, item, lane, there)
        s = tl.sigmoid(z)
        pulled *= s + z * s * (1 - s)
    if scale is not None:
        pulled *= plus + _vector(scale, scale_stride, item, lane, there)
    pulled = tl.where(there, pulled, 0.0)
    plain = tl.sum(pulled, axis=1)[:, None] / width
    along = tl.sum(pulled * value, axis=1)[:, None] / width
    slope = rstd * (pulled - plain - value * along)
    if past is not None:
        slope += tl.load(past + place, mask=there, other=0.0).to(tl.float32)
    tl.store(to_x + place, slope, mask=there)
    if to_added is not None:
        if gate is not None:
            slope *= _vector(gate, gate_stride, item, lane, there)
        tl.store(to_added + place, slope, mask=there)
