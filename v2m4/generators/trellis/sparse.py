"""Operations on voxel features: submanifold convolution, group norm, resampling, windowed attention.

Features are (N, channels), rows in the order of a `Voxels`. A submanifold convolution gathers the rows of the
neighbours and multiplies them with the kernel in one matrix product, a bounded number of rows at a time; its backward
pass is the same operation with the kernel mirrored, so nothing but its inputs is kept. See Graham et al., "3D Semantic
Segmentation with Submanifold Sparse Convolutional Networks" (arXiv 1711.10275).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.generators.trellis.layers import attend
from v2m4.generators.trellis.voxels import CHILDREN, OFFSETS, Voxels, Windows

GATHER_LIMIT_CUDA = 2**27
"""Most elements that one gather of neighbour rows may hold on a GPU (256 MB in half precision)."""
GATHER_LIMIT_CPU = 2**22
"""The same on the CPU, where buffers that stay in the cache are faster."""


def gather_matmul(x: Tensor, index: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """out[n] = bias + sum over t of weight[:, t] @ x[index[n, t]].

    `x` (M, C), `index` (N, T) with M standing for "no row" (contributes nothing), `weight` (out, T, C) -> (N, out).
    """
    rows = torch.cat([x, x.new_zeros(1, x.shape[1])])
    flat = weight.flatten(1)
    limit = GATHER_LIMIT_CUDA if x.is_cuda else GATHER_LIMIT_CPU
    chunk = max(1, limit // flat.shape[1])
    if len(index) <= chunk:
        return F.linear(rows[index].flatten(1), flat, bias)
    out = x.new_empty(len(index), weight.shape[0])
    for start in range(0, len(index), chunk):
        part = index[start : start + chunk]
        out[start : start + chunk] = F.linear(rows[part].flatten(1), flat, bias)
    return out


class _NeighbourConv(torch.autograd.Function):
    """Convolution over a symmetric neighbour table: column T-1-t of `index` is the inverse relation of column t."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, index)
        return gather_matmul(x, index, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, index = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = gather_matmul(grad, index.flip(1), weight.transpose(0, 2))
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(x, grad, index)
        return grad_x, grad_weight, None


class _ChildConv(torch.autograd.Function):
    """Convolution of features copied from parents to their 8 children, without making the copies.

    `weight` (8, out, 8, C) holds, for each child, the kernel taps summed over the children of each parent they touch;
    `taps` (8, 8) says which of the parent's 27 neighbours those are. Returns (N, 8, out).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, index: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, index, taps)
        out = x.new_empty(len(x), 8, weight.shape[1])
        for child in range(8):
            out[:, child] = gather_matmul(x, index[:, taps[child]], weight[child])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, index, taps = ctx.saved_tensors
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for child in range(8):
            g = grad[:, child].contiguous()
            if grad_x is not None:
                inverse = index[:, 26 - taps[child]]
                grad_x += gather_matmul(g, inverse, weight[child].transpose(0, 2))
            if grad_weight is not None:
                grad_weight[child] = _weight_gradient(x, g, index[:, taps[child]])
        return grad_x, grad_weight, None, None


def _weight_gradient(x: Tensor, grad: Tensor, index: Tensor) -> Tensor:
    rows = torch.cat([x, x.new_zeros(1, x.shape[1])])
    return torch.stack([grad.T @ rows[index[:, t]] for t in range(index.shape[1])], dim=1)


class _Kernel(nn.Module):
    """Weight and bias under the names of the checkpoints; the layout is (out, kx, ky, kz, in)."""

    follows_torso_dtype = True

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, size, size, size, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.weight, std=(in_channels * size**3) ** -0.5)


class SparseConv3d(nn.Module):
    """Submanifold convolution with a 3x3x3 or 1x1x1 kernel; rows that are absent count as zero."""

    def __init__(self, in_channels: int, out_channels: int, size: int = 3) -> None:
        super().__init__()
        self.conv = _Kernel(in_channels, out_channels, size)

    def forward(self, x: Tensor, voxels: Voxels) -> Tensor:
        weight, bias = self.conv.weight, self.conv.bias
        if weight.shape[1] == 1:
            # The library that trained the checkpoints reads the memory of a 1x1x1 kernel as (in, out) although its
            # shape says (out, 1, 1, 1, in); the weights mean what it read.
            return F.linear(x, weight.reshape(-1).view(weight.shape[-1], -1).T, bias)
        result: Tensor = _NeighbourConv.apply(x, weight.flatten(1, 3), voxels.neighbours)
        return result + bias

    def on_children(self, x: Tensor, voxels: Voxels) -> Tensor:
        """The 3x3x3 convolution of `x` copied to the children of `voxels`: (N, in) -> (8 N, out).

        All children of a voxel carry its features, so for each child the 27 taps fall on 8 parents and the kernel
        can be summed beforehand: under a third of the work, and no copies.
        """
        spread, taps = (table.to(x.device) for table in _CHILD_TAPS)
        kernel = self.conv.weight.flatten(1, 3).float()
        weight = torch.einsum("ptk,okc->potc", spread, kernel).to(x.dtype)
        result: Tensor = _ChildConv.apply(x, weight, voxels.neighbours, taps)
        return (result + self.conv.bias).flatten(0, 1)


def _child_taps() -> tuple[Tensor, Tensor]:
    """`spread` (8, 8, 27): which kernel taps each child adds up for each of the 8 parents it touches; and `taps`
    (8, 8): the place of these parents among the 27 neighbours."""
    spread = torch.zeros(8, 8, 27)
    taps = torch.empty(8, 8, dtype=torch.long)
    for child, position in enumerate(CHILDREN):
        step = torch.div(position + OFFSETS, 2, rounding_mode="floor")
        place = ((step + 1) * torch.tensor([9, 3, 1])).sum(1)
        taps[child], tap = torch.unique(place, return_inverse=True)
        spread[child, tap, torch.arange(27)] = 1
    return spread, taps


_CHILD_TAPS = _child_taps()


class SparseGroupNorm(nn.Module):
    """Group norm with statistics per batch item over all its voxels and the channels of a group, in float32."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups = groups
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, voxels: Voxels) -> Tensor:
        return torch.cat([self._normalise(item) for item in x.split(voxels.counts)])

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


def window_attention(q: Tensor, k: Tensor, v: Tensor, windows: Windows) -> Tensor:
    """Every row attends to all rows of its window: (N, heads, head_dim) each -> the same shape."""
    index = torch.cat([rows.flatten() for rows, _ in windows.groups])
    packed = _Pack.apply(torch.stack([q, k, v], dim=1), index, windows.position)
    outputs = []
    start = 0
    for rows, mask in windows.groups:
        qkv = packed[start : start + rows.numel()].unflatten(0, rows.shape)
        q, k, v = qkv.unbind(2)
        outputs.append(attend(q, k, v, mask).flatten(0, 1))
        start += rows.numel()
    result: Tensor = _Unpack.apply(torch.cat(outputs), index, windows.position)
    return result


def window_attention_of(voxels: Voxels, size: int, shift: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """`window_attention` over the windows of `voxels` with the given size and shift."""
    windows = voxels.windows(size, shift)
    return lambda q, k, v: window_attention(q, k, v, windows)


def to_items(x: Tensor, voxels: Voxels) -> tuple[Tensor, Tensor | None]:
    """Rows (N, C) as (items, L, C) with L the largest item, and the mask (items, 1, 1, L) of the rows that exist.

    The mask is None if all items have the same number of rows.
    """
    if voxels.padding is None:
        return x.unflatten(0, (voxels.batch_size, -1)), None
    ((index, mask),) = voxels.padding.groups
    return _Pack.apply(x, index.flatten(), voxels.padding.position).unflatten(0, index.shape), mask


def from_items(x: Tensor, voxels: Voxels) -> Tensor:
    """The inverse of `to_items`: (items, L, C) -> (N, C)."""
    if voxels.padding is None:
        return x.flatten(0, 1)
    ((index, _),) = voxels.padding.groups
    result: Tensor = _Unpack.apply(x.flatten(0, 1), index.flatten(), voxels.padding.position)
    return result
