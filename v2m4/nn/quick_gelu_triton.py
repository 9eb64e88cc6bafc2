"""The GPU kernel of CLIP's activation x * sigmoid(1.702 x), and of its slope; oracle: `transformer.quick_gelu`."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 2048


def quick_gelu_triton(x: Tensor) -> Tensor:
    """See `transformer.quick_gelu`; one pass over memory in either direction."""
    result: Tensor = _QuickGelu.apply(x)
    return result


class _QuickGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        out = torch.empty_like(x)
        _forward[(triton.cdiv(x.numel(), _TILE),)](x, out, x.numel(), _TILE, num_warps=4)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope = torch.empty_like(x)
        _backward[(triton.cdiv(x.numel(), _TILE),)](x, grad.contiguous(), slope, x.numel(), _TILE, num_warps=4)
        return slope


@triton.jit(do_not_specialize=["count"])
def _forward(x, out, count, tile: tl.constexpr):  # type: ignore[no-untyped-def]
    place = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    value = tl.load(x + place, mask=place < count, other=0.0).to(tl.float32)
    tl.store(out + place, value * tl.sigmoid(1.702 * value), mask=place < count)


@triton.jit(do_not_specialize=["count"])
def _backward(x, grad, slope, count, tile: tl.constexpr):  # type: ignore[no-untyped-def]
    place = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    value = tl.load(x + place, mask=place < count, other=0.0).to(tl.float32)
    above = tl.load(grad + place, mask=place < count, other=0.0).to(tl.float32)
    gate = tl.sigmoid(1.702 * value)
    tl.store(slope + place, above * gate * (1 + 1.702 * value * (1 - gate)), mask=place < count)
