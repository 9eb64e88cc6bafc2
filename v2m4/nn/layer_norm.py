"""Layer norm, alone and with the sum before it, as one kernel on a GPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from v2m4.device import triton_works


def layer_norm(x: Tensor, eps: float, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Layer norm over the last axis, computed in float32, returned in the dtype of `x`."""
    if weight is None:
        return F.layer_norm(x, x.shape[-1:], eps=eps)  # accumulates in float32 for half inputs by itself
    shift = None if bias is None else bias.float()
    return F.layer_norm(x.float(), x.shape[-1:], weight.float(), shift, eps).to(x.dtype)


def add_norm(
    x: Tensor,
    added: Tensor | None,
    gate: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    eps: float,
    plus: float = 0.0,
    silu: bool = False,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """The sum y = x + gate * added, and f(norm(y) * (plus + scale) + shift), with the layer norm over the last axis.

    x, added: (B, L, C) or (N, C). gate, scale, shift: (B, 1, C), (1, C) or (C,), constant. f: SiLU if ``silu``. What is
    None is left out; without a scale nothing is multiplied. dtype: of the second, that of x if None.
    """
    vectors = (gate, scale, shift)
    constant = not any(v is not None and v.requires_grad for v in vectors)
    if x.is_cuda and constant and triton_works(x.device):
        from v2m4.nn.layer_norm_triton import add_norm_triton

        return add_norm_triton(x, added, gate, scale, shift, eps, plus, silu, dtype or x.dtype)
    if added is not None:
        x = x + added if gate is None else torch.addcmul(x, gate, added)
    if scale is not None and scale.dim() == 1 and not plus:
        out = layer_norm(x, eps, scale, shift)
    else:
        out = layer_norm(x, eps)
        if scale is not None and shift is not None:
            out = torch.addcmul(shift, out, plus + scale)
        elif scale is not None:
            out = out * (plus + scale)
        elif shift is not None:
            out = out + shift
    return x, (F.silu(out) if silu else out).to(dtype or x.dtype)
