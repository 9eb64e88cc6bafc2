"""The GPU kernels of the query/key norm; their oracle is the plain PyTorch of `layers.normalise_heads`."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 16


def normalise_heads_triton(x: Tensor, gamma: Tensor) -> Tensor:
    """Heads (..., k, heads, head_dim) to length sqrt(head_dim), times gamma (k, heads, head_dim); computed in float32.

    Differentiable in ``x``.
    """
    result: Tensor = _Normalise.apply(x, gamma.float().contiguous())
    return result


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor) -> Tensor:
        x = x if _outer_stride(x) is not None else x.contiguous()
        ctx.save_for_backward(x, gamma)
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        _launch(_forward, x, gamma, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        x, gamma = ctx.saved_tensors
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        _launch(_backward, x, gamma, grads[0].contiguous(), out)
        return out, None


def _outer_stride(x: Tensor) -> int | None:
    """Distance from one (k, heads, head_dim) to the next, if it is one number and each of them is contiguous."""
    inner = x[(0,) * (x.dim() - 3)] if 0 not in x.shape else x
    if x.dim() < 4 or not inner.is_contiguous():
        return inner.numel() if x.is_contiguous() else None
    stride = x.stride(-4)
    step = stride
    for size, own in zip(reversed(x.shape[:-3]), reversed(x.stride()[:-3]), strict=True):
        if size > 1 and own != step:
            return None
        step *= size
    return stride


def _launch(kernel: Any, x: Tensor, gamma: Tensor, *others: Tensor) -> None:
    width = x.shape[-1]
    rows = x.numel() // width
    if rows:
        grid, heads = (triton.cdiv(rows, _ROWS),), gamma.numel() // width
        kernel[grid](x, gamma, *others, rows, heads, _outer_stride(x), width, _ROWS, triton.next_power_of_2(width))


@triton.jit
def _load(  # type: ignore[no-untyped-def]
    x,
    gamma,
    rows,
    heads,
    stride,
    width,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    """Places (R,C), whether they exist, the vectors, their gains, and the factor (R,1) to the wanted length.

    All tensors are contiguous but ``x``, where it is ``stride`` from the heads of one row to those of the next.
    """
    row = (tl.program_id(0).to(tl.int64) * group + tl.arange(0, group))[:, None]
    lane = tl.arange(0, lanes)[None, :]
    there = (row < rows) & (lane < width)
    place = row * width + lane
    vector = tl.load(x + row // heads * stride + row % heads * width + lane, mask=there, other=0.0).to(tl.float32)
    gain = tl.load(gamma + row % heads * width + lane, mask=there, other=0.0)
    length = tl.maximum(tl.sqrt(tl.sum(vector * vector, axis=1)), 1e-12)[:, None]
    return place, there, vector, gain, length


@triton.jit(do_not_specialize=["rows"])
def _forward(  # type: ignore[no-untyped-def]
    x,
    gamma,
    out,
    rows,
    heads,
    stride,
    width,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    place, there, vector, gain, length = _load(x, gamma, rows, heads, stride, width, group, lanes)
    root = tl.sqrt(width.to(tl.float32))
    tl.store(out + place, vector * (root / length) * gain, mask=there)


@triton.jit(do_not_specialize=["rows"])
def _backward(  # type: ignore[no-untyped-def]
    x,
    gamma,
    grad,
    out,
    rows,
    heads,
    stride,
    width,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    place, there, vector, gain, length = _load(x, gamma, rows, heads, stride, width, group, lanes)
    root = tl.sqrt(width.to(tl.float32))
    pulled = tl.load(grad + place, mask=there, other=0.0).to(tl.float32) * gain
    unit = vector / length
    along = tl.sum(unit * pulled, axis=1)[:, None]
    tl.store(out + place, root / length * (pulled - unit * along), mask=there)
