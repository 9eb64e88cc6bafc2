"""The GPU kernels that bring the mesh decoder's channels to the corners of voxels; their oracle is in `flexicubes`."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_CHANNELS = tl.constexpr(101)
_WEIGHTS = tl.constexpr(32)
"""Where the 21 interpolation weights begin, behind 8 distances and 8 x 3 deformations."""
_COLOURS = tl.constexpr(53)
CORNER_CHANNELS = 10
"""Distance, deformation, colour and normal of a corner."""
_ROWS = 64


@torch.no_grad()
def corner_means(feats: Tensor, touching: Tensor, bias: float) -> Tensor:
    """(N,101) channels of voxels and (C,8) `TouchedCorners.touching` -> (C,10): the means over the voxels that share a
    corner of what they say of it; ``bias`` is added to the distance. No gradients."""
    out = torch.empty(len(touching), CORNER_CHANNELS, dtype=torch.float32, device=feats.device)
    grid = (triton.cdiv(len(touching), _ROWS),)
    _means[grid](feats.contiguous(), touching, out, len(touching), bias, _ROWS, 16)
    return out


def with_slopes(
    feats: Tensor, means: Tensor, touching: Tensor, inverse: Tensor, active: Tensor
) -> tuple[Tensor, Tensor]:
    """``means`` from `corner_means`, and the weights (S,21) of the voxels ``active`` (S,), zeros where it is -1, both
    differentiable in ``feats`` (N,101)."""
    result: tuple[Tensor, Tensor] = _WithSlopes.apply(feats, means, touching, inverse, active)
    return result


class _WithSlopes(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, feats: Tensor, means: Tensor, touching: Tensor, inverse: Tensor, active: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(touching, inverse, active)
        ctx.shape = feats.shape
        weights = feats[:, _WEIGHTS.value : _COLOURS.value].index_select(0, active.clamp_min(0))
        return means.clone(), torch.where(active[:, None] >= 0, weights, 0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        touching, inverse, active = ctx.saved_tensors
        rows = ctx.shape[0]
        # The cube whose weights a voxel has; cubes without a voxel write to a spare row.
        cube = torch.full((rows + 1,), -1, dtype=torch.int32, device=active.device)
        cube[torch.where(active < 0, rows, active)] = torch.arange(len(active), dtype=torch.int32, device=active.device)
        shared = grads[0] / (touching >= 0).sum(1, keepdim=True)
        out = torch.empty(ctx.shape, dtype=torch.float32, device=active.device)
        grid = (triton.cdiv(rows, _ROWS // 4),)
        _slopes[grid](shared, grads[1].contiguous(), inverse, cube, out, rows, _ROWS // 4, 128)
        return out, None, None, None, None


@triton.jit(do_not_specialize=["corners"])
def _means(  # type: ignore[no-untyped-def]
    feats,
    touching,
    out,
    corners,
    bias,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    corner = (tl.program_id(0).to(tl.int64) * group + tl.arange(0, group))[:, None]
    lane = tl.arange(0, lanes)[None, :]
    known = corner < corners
    # Where a lane's channel is for the first corner of a voxel, and how far it is to the next one's.
    base = tl.where(lane == 0, 0, tl.where(lane < 4, 7 + lane, _COLOURS - 4 + lane))
    step = tl.where(lane == 0, 1, tl.where(lane < 4, 3, 6))
    total = tl.zeros((group, lanes), tl.float32)
    count = tl.zeros((group, 1), tl.float32)
    added = tl.where(lane == 0, bias, 0.0)
    for slot in tl.static_range(8):
        row = tl.load(touching + corner * 8 + slot, mask=known, other=-1)
        there = row >= 0
        value = tl.load(feats + row * _CHANNELS + base + step * slot, mask=there & (lane < 10), other=0.0)
        total += tl.where(there, value.to(tl.float32) + added, 0.0)
        count += there.to(tl.float32)
    tl.store(out + corner * 10 + lane, total / count, mask=known & (lane < 10))


@triton.jit(do_not_specialize=["rows"])
def _slopes(  # type: ignore[no-untyped-def]
    shared,
    own,
    inverse,
    cube,
    out,
    rows,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    row = (tl.program_id(0).to(tl.int64) * group + tl.arange(0, group))[:, None]
    channel = tl.arange(0, lanes)[None, :]
    there = (row < rows) & (channel < _CHANNELS)
    moved, coloured = channel - 8, channel - _COLOURS
    slot = tl.where(channel < 8, channel, tl.where(channel < _WEIGHTS, moved // 3, coloured // 6))
    lane = tl.where(channel < 8, 0, tl.where(channel < _WEIGHTS, 1 + moved % 3, 4 + coloured % 6))
    of_corner = there & ((channel < _WEIGHTS) | (channel >= _COLOURS))
    corner = tl.load(inverse + row * 8 + slot, mask=of_corner, other=0)
    value = tl.load(shared + corner * 10 + lane, mask=of_corner, other=0.0)
    mine = tl.load(cube + row, mask=row < rows, other=-1)
    of_cube = there & (channel >= _WEIGHTS) & (channel < _COLOURS) & (mine >= 0)
    value += tl.load(own + mine * 21 + channel - _WEIGHTS, mask=of_cube, other=0.0)
    tl.store(out + row * _CHANNELS + channel, value, mask=there)
