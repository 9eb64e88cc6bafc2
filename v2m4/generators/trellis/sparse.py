"""Operations on voxel features (N, channels), rows in the order of a `Voxels`: norm, resampling, attention."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn

from v2m4.device import triton_works
from v2m4.generators.trellis.layers import SelfAttention, attend
from v2m4.generators.trellis.voxels import Voxels, Windows


class SparseGroupNorm(nn.Module):
    """Group norm with statistics per batch item over all its voxels and the channels of a group, in float32."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups = groups
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, voxels: Voxels) -> Tensor:
        if voxels.batch_size == 1:
            return self._normalise(x)
        return torch.cat([self._normalise(item) for item in x.split(voxels.counts)])

    def activated(self, x: Tensor, voxels: Voxels) -> Tensor:
        """SiLU of the norm."""
        if x.is_cuda and not self.weight.requires_grad and triton_works(x.device):
            from v2m4.generators.trellis.group_norm_triton import group_norm_silu_triton

            parts = (x,) if voxels.batch_size == 1 else x.split(voxels.counts)
            done = [group_norm_silu_triton(p, self.groups, self.weight, self.bias, self.eps) for p in parts]
            return done[0] if len(done) == 1 else torch.cat(done)
        return F.silu(self(x, voxels))

    def _normalise(self, x: Tensor) -> Tensor:
        grouped = x.float().unflatten(1, (self.groups, -1))
        variance, mean = torch.var_mean(grouped, dim=(0, 2), correction=0)
        scale = (variance + self.eps).rsqrt()[:, None] * self.weight.view(self.groups, -1)
        shift = self.bias.view(self.groups, -1) - mean[:, None] * scale
        return torch.addcmul(shift, grouped, scale).flatten(1).to(x.dtype)


def downsample(x: Tensor, voxels: Voxels) -> Tensor:
    """Features on `voxels.coarse`: the sum of the children divided by their number plus one.

    The official operator averages into a buffer whose initial zero counts as a member; checkpoints rely on it.
    """
    total = torch.zeros(len(voxels.coarse), x.shape[1], dtype=torch.float32, device=x.device)
    total = total.index_add(0, voxels.parent, x.float())
    return (total / (voxels.siblings + 1)[:, None]).to(x.dtype)


def upsample(x: Tensor, voxels: Voxels) -> Tensor:
    """Features of `voxels.coarse` copied to the rows of `voxels`."""
    return x.index_select(0, voxels.parent)


class _Pack(torch.autograd.Function):
    """Rows gathered into padded groups; padding is zero. Backward reads each row's gradient from its one place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, position: Tensor) -> Tensor:
        ctx.save_for_backward(index, position)
        return torch.cat([x, x.new_zeros(1, *x.shape[1:])])[index]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, position = ctx.saved_tensors
        return _Unpack.apply(grad, index, position), None, None


class _Unpack(torch.autograd.Function):
    """The inverse of `_Pack`."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, index: Tensor, position: Tensor) -> Tensor:
        ctx.save_for_backward(index, position)
        return packed[position]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, position = ctx.saved_tensors
        return _Pack.apply(grad, index, position), None, None


def window_self_attention(x: Tensor, attention: SelfAttention, windows: Windows) -> Tensor:
    """(N, channels) -> (N, channels): `attention` inside each window."""
    if attends_at_any_length(x):
        rows = Permuted.apply(x, windows.order, windows.place)
        q, k, v = attention.project(rows)
        starts, longest = windows.starts, windows.longest
        out = cast(Tensor, varlen_attn(q, k, v, starts, starts, longest, longest))
        done: Tensor = Permuted.apply(attention.to_out(out.flatten(1)), windows.place, windows.order)
        return done
    # Projecting after the rows were gathered costs a little arithmetic on padding and saves moving three times as much.
    packed = _Pack.apply(x, windows.index, windows.position)
    out = _unpack(_attend_in_groups(attention.project(packed), windows).flatten(1), windows)
    result: Tensor = attention.to_out(out)
    return result


def attends_at_any_length(x: Tensor) -> bool:
    """Whether PyTorch's flash attention over sequences of any length works on tensors like ``x``."""
    return x.is_cuda and x.dtype in (torch.float16, torch.bfloat16) and _ampere(x.device)


@cache
def _ampere(device: torch.device) -> bool:
    return torch.version.cuda is not None and torch.cuda.get_device_capability(device) >= (8, 0)


class Permuted(torch.autograd.Function):
    """Rows in the order of ``index``, whose inverse is ``back``: a gather in either direction."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(index, back)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, back = ctx.saved_tensors
        return Permuted.apply(grad, back, index), None, None


def _attend_in_groups(qkv: tuple[Tensor, Tensor, Tensor], windows: Windows) -> Tensor:
    outputs = []
    sizes = [count * length for count, length, _ in windows.groups]
    for (count, length, mask), *parts in zip(windows.groups, *(part.split(sizes) for part in qkv), strict=True):
        q, k, v = (part.unflatten(0, (count, length)) for part in parts)
        outputs.append(attend(q, k, v, mask).flatten(0, 1))
    return torch.cat(outputs)


def _unpack(packed: Tensor, windows: Windows) -> Tensor:
    result: Tensor = _Unpack.apply(packed, windows.index, windows.position)
    return result


def to_items(x: Tensor, voxels: Voxels) -> tuple[Tensor, Tensor | None]:
    """Rows (N, C) as (items, L, C) with L the largest item, and the mask (items, 1, 1, L) of the rows that exist.

    The mask is None if all items have the same number of rows.
    """
    if voxels.padding is None:
        return x.unflatten(0, (voxels.batch_size, -1)), None
    windows = voxels.padding
    ((count, length, mask),) = windows.groups
    return _Pack.apply(x, windows.index, windows.position).unflatten(0, (count, length)), mask


def from_items(x: Tensor, voxels: Voxels) -> Tensor:
    """The inverse of `to_items`: (items, L, C) -> (N, C)."""
    x = x.flatten(0, 1)
    return x if voxels.padding is None else _unpack(x, voxels.padding)
