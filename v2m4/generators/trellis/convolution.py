"""Submanifold convolution over voxel sets, see Graham et al. (arXiv 1711.10275).

On voxels of any shape, the rows of the 27 neighbours are gathered and multiplied with the kernel in one matrix product.
On voxels that come from splitting others, which form full cubes, each cube is gathered with a one-voxel halo and
convolved densely: 3.4 to 8 gathered rows per voxel instead of 27. All works on a bounded number of rows at a time, and
the backward pass gathers too: nothing is kept but the inputs, and sums have a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.device import triton_works
from v2m4.generators.trellis.voxels import Voxels, positions_in_block

GATHER_LIMIT_CUDA = 2**26
"""Most elements that one gather of rows may hold on a GPU (128 MB in half precision)."""
GATHER_LIMIT_CPU = 2**22
"""The same on the CPU, where buffers that stay in the cache are faster."""

_PARENT_TAPS = torch.tensor(
    [[9 * x + 3 * y + z for x in (a, a + 1) for y in (b, b + 1) for z in (c, c + 1)]
     for a in (0, 1) for b in (0, 1) for c in (0, 1)]
)  # fmt: skip
"""The 8 of a parent's 27 neighbours that the taps of each of its children touch."""


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

    def forward(self, x: Tensor, voxels: Voxels, skip: Tensor | None = None) -> Tensor:
        """(N, in) -> (N, out) on the same `voxels`; `skip` (N / 8, out) is added to the 8 children of each parent."""
        weight, bias = self.conv.weight, self.conv.bias
        if weight.shape[1] == 1:
            # The library that trained the checkpoints reads the memory of a 1x1x1 kernel as (in, out) although its
            # shape says (out, 1, 1, 1, in); the weights mean what it read.
            return F.linear(x, weight.reshape(-1).view(weight.shape[-1], -1).T, bias)
        result: Tensor = _Convolution.apply(x, weight, bias, skip, voxels)
        return result

    def on_children(self, x: Tensor, voxels: Voxels) -> Tensor:
        """The 3x3x3 convolution of `x` copied to the children of `voxels`: (N, in) -> (8 N, out) on `voxels.fine`.

        All children of a voxel carry its features, so for each child the 27 taps fall on 8 parents and the kernel
        can be summed beforehand: under a third of the work, and no copies.
        """
        result: Tensor = _ChildConvolution.apply(x, self.conv.weight, self.conv.bias, voxels)
        return result


class _Convolution(torch.autograd.Function):
    """(N, in) and weight (out, 3, 3, 3, in) -> (N, out). Its adjoint is itself with the kernel mirrored."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, skip: Tensor | None, voxels: Voxels) -> Tensor:
        # The input is needed for the weight's gradient alone, and is large.
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.voxels = voxels
        return _convolve(x, weight, bias, skip, voxels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = grad_bias = grad_skip = None
        if ctx.needs_input_grad[0]:
            mirrored = weight.flip(1, 2, 3).transpose(0, 4).contiguous()
            grad_x = _convolve(grad, mirrored, None, None, ctx.voxels)
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(x, grad, ctx.voxels.neighbours).view_as(weight)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum(0)
        if ctx.needs_input_grad[3]:
            grad_skip = grad.unflatten(0, (-1, 8)).sum(1)
        return grad_x, grad_weight, grad_bias, grad_skip, None


class _ChildConvolution(torch.autograd.Function):
    """(N, in) on voxels and weight (out, 3, 3, 3, in) -> (8 N, out) on their children."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, voxels: Voxels) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.voxels = voxels
        kernels = _kernels_onto_parents(weight).to(x.dtype)
        out = x.new_empty(8 * len(voxels), weight.shape[0])
        gather, side = _gathering(x), 2**voxels.level + 1
        start = 0
        for index in voxels.halo.split(_chunk(x, side**3 * x.shape[1])):
            index = index.unflatten(1, (side + 1,) * 3)
            for child in range(8):
                a, b, c = child >> 2, child >> 1 & 1, child & 1
                part = gather(index[:, a : a + side, b : b + side, c : c + side])
                _write(out, 8 * start + child, 8, _dense_convolution(part, kernels[child]), bias, None)
            start += len(index) * 8**voxels.level
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        voxels = ctx.voxels
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            kernel = _kernel_from_children(weight).to(grad.dtype)
            grad_x = grad.new_empty(len(voxels), weight.shape[-1])
            for rows, halo in _blocks(grad, voxels.fine, together=2):
                _write(grad_x, rows.start // 8, 1, _dense_convolution(halo, kernel), None, None)
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum(0)
        if ctx.needs_input_grad[1]:
            per_child = grad.unflatten(0, (-1, 8)).unbind(1)
            index = voxels.neighbours[:, _PARENT_TAPS.to(grad.device)].unbind(1)
            summed = torch.stack([_weight_gradient(x, g, i) for g, i in zip(per_child, index, strict=True)])
            kernels = summed.unflatten(2, (2, 2, 2))
            with torch.enable_grad():
                taps = weight.detach().requires_grad_()
                (grad_weight,) = torch.autograd.grad(_kernels_onto_parents(taps), taps, kernels)
        return grad_x, grad_weight, grad_bias, None


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, skip: Tensor | None, voxels: Voxels) -> Tensor:
    if voxels.level == 0 and skip is None:
        return gather_matmul(x, voxels.neighbours, weight.flatten(1, 3), bias)
    out = x.new_empty(len(voxels), weight.shape[0])
    for rows, halo in _blocks(x, voxels):
        _write(out, rows.start, 1, _dense_convolution(halo, weight), bias, skip)
    return out


def gather_matmul(x: Tensor, index: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """out[n] = bias + sum over t of weight[:, t] @ x[index[n, t]].

    `x` (M, C), `index` (N, T) with M standing for "no row" (contributes nothing), `weight` (out, T, C) -> (N, out).
    """
    gather, flat = _gathering(x), weight.flatten(1)
    parts = [F.linear(gather(part).flatten(1), flat, bias) for part in index.split(_chunk(x, flat.shape[1]))]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _gathering(x: Tensor) -> Callable[[Tensor], Tensor]:
    """What gives the rows of `x` (M, C) at indices (...), zeros at M: (..., C)."""
    plain = x.requires_grad and torch.is_grad_enabled()
    if x.is_cuda and not plain and triton_works(x.device):
        from v2m4.generators.trellis.gather_triton import WIDTH_MULTIPLE, gather_rows_or_zero

        if x.shape[1] % WIDTH_MULTIPLE == 0:
            return partial(gather_rows_or_zero, x)
    padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
    return padded.__getitem__


def _blocks(x: Tensor, voxels: Voxels, together: int = 1) -> Iterator[tuple[slice, Tensor]]:
    """Pairs of a slice of the rows of `voxels` and the features (blocks, S, S, S, C) of these blocks with halo.

    With `together` t, the features of t x t x t voxels stand side by side: (blocks, S/t, S/t, S/t, t^3 C).
    """
    gather = _gathering(x)
    side, voxels_per_block = 2**voxels.level + 2, 8**voxels.level
    cells = (side // together, together)
    start = 0
    for part in voxels.halo.split(_chunk(x, side**3 * x.shape[1])):
        rows = slice(start, start + len(part) * voxels_per_block)
        index = part.view(len(part), *cells, *cells, *cells).permute(0, 1, 3, 5, 2, 4, 6)
        yield rows, gather(index.flatten(4)).flatten(4)
        start = rows.stop


def _dense_convolution(halo: Tensor, weight: Tensor) -> Tensor:
    """Convolve blocks (B, S, S, S, in) with (out, k, k, k, in) without padding -> (B, S', S', S', out)."""
    return F.conv3d(halo.movedim(-1, 1), weight.movedim(-1, 1)).movedim(1, -1)


def _write(out: Tensor, first: int, step: int, blocks: Tensor, bias: Tensor | None, skip: Tensor | None) -> None:
    """Put `blocks` (B, S, S, S, C) into the rows `first`, `first + step`, ... of `out` (N, C), cell after cell in the
    order of rows.

    Added are `bias` (C,), and to row r the row r // 8 of `skip`.
    """
    level = blocks.shape[1].bit_length() - 1
    cells = 8**level
    if blocks.is_cuda and triton_works(blocks.device):
        from v2m4.generators.trellis.rows_triton import place_rows

        place_rows(blocks.flatten(0, 3), out, _row_of_cell(level, blocks.device), first, step, bias, skip)
        return
    if level > 1:
        blocks = blocks.reshape(len(blocks), cells, -1)[:, _row_of_cell(level, blocks.device).argsort()]
    rows = blocks.reshape(-1, out.shape[1])
    rows = rows if bias is None else rows + bias
    target = slice(first, first + step * (len(rows) - 1) + 1, step)
    if skip is not None:
        rows = rows + skip.index_select(0, torch.arange(len(out), device=out.device)[target] // 8)
    out[target] = rows


@cache
def _row_of_cell(level: int, device: torch.device) -> Tensor:
    """(8^level,) int32: the place among a block's rows of each of its cells, cells in x, y, z order."""
    side = 2**level
    x, y, z = positions_in_block(level).unbind(1)
    row = torch.empty(side**3, dtype=torch.int32)
    row[(x * side + y) * side + z] = torch.arange(side**3, dtype=torch.int32)
    return row.to(device)


def _kernels_onto_parents(weight: Tensor) -> Tensor:
    """Weight (out, 3, 3, 3, in) -> for each of the 8 children, the taps added up on the 2x2x2 parents they fall on.

    Along an axis, the lower child of a parent has one neighbour in the parent before it, the upper one in the parent
    after it. Returns (8, out, 2, 2, 2, in), added up in float32 at least.
    """
    kernels = weight.to(torch.promote_types(weight.dtype, torch.float32))[None]
    for axis in (2, 3, 4):
        before, here, after = kernels.unbind(axis)
        lower = torch.stack([before, here + after], axis)
        upper = torch.stack([before + here, after], axis)
        kernels = torch.stack([lower, upper], dim=1).flatten(0, 1)
    return kernels


def _kernel_from_children(weight: Tensor) -> Tensor:
    """The adjoint: weight (out, 3, 3, 3, in) -> kernel (in, 2, 2, 2, 8 out) over children taken together 2x2x2.

    Along an axis, the children at -1 to 2 of a parent's lower child reach the parent; grouped in pairs from -1 on,
    the kernel of 4 at every second child is one of 2, which dense convolutions are faster at.
    """
    kernel = weight.transpose(0, 4).to(torch.promote_types(weight.dtype, torch.float32))
    for axis in (1, 2, 3):
        before, here, after = kernel.unbind(axis)
        kernel = torch.stack([after, here + after, before + here, before], axis)
    kernel = kernel.unflatten(3, (2, 2)).unflatten(2, (2, 2)).unflatten(1, (2, 2))
    return kernel.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)


def _weight_gradient(x: Tensor, grad: Tensor, index: Tensor) -> Tensor:
    padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
    return torch.stack([grad.T @ padded[index[:, t]] for t in range(index.shape[1])], dim=1)


def _chunk(x: Tensor, elements_per_row: int) -> int:
    return max(1, (GATHER_LIMIT_CUDA if x.is_cuda else GATHER_LIMIT_CPU) // elements_per_row)
