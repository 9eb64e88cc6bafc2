"""The sum of distances that global alignment descends on, with its gradients, as one pass over the pairs' points.

`plain_terms` is PyTorch on any device. `fused_terms` is the same sum as a Triton kernel (Triton comes with PyTorch's
CUDA wheels): it reads every point once and keeps nothing of the pairs' size, which makes a step several times faster.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from v2m4.device import triton_works

# The tree puts its first pair exactly where the world is. What is left of those distances is rounding, whose direction
# must not pull: distances shorter than this pull in proportion to their length.
ROUNDING = 1e-5
PIXELS_PER_PROGRAM = 1024
SUMS = 13


class Terms(NamedTuple):
    """The sum (a number) and its gradients for world (N, B, 3, Q) and transforms (N, S, 3, 4)."""

    loss: Tensor
    world: Tensor
    transforms: Tensor


class WeightedDistance(torch.autograd.Function):
    """sum of weights * |world - (A points + b)|, its gradient computed along with it.

    world (N, B, 3, Q), transforms (N, S, 3, 4), points (N, S, B, 3, Q), weights (N, S, B, Q). Differentiable in the
    first two.
    """

    @staticmethod
    def forward(ctx: Any, world: Tensor, transforms: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        fused = points.is_cuda and points.dtype == torch.float32 and triton_works(points.device)
        terms = (fused_terms if fused else plain_terms)(world, transforms, points, weights)
        ctx.save_for_backward(terms.world, terms.transforms)
        return terms.loss

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, None, None]:
        world, transforms = ctx.saved_tensors
        return gradients[0] * world, gradients[0] * transforms, None, None


def plain_terms(world: Tensor, transforms: Tensor, points: Tensor, weights: Tensor) -> Terms:
    """The sum and its gradients in PyTorch; arguments as for `WeightedDistance`."""
    linear, shift = transforms[:, :, None, :, :3], transforms[:, :, None, :, 3:]
    # In place: the points of all pairs are most of the memory that alignment takes.
    away = (linear @ points).add_(shift).sub_(world.unsqueeze(1))
    x, y, z = away.unbind(3)
    distance = (x * x).addcmul_(y, y).addcmul_(z, z).sqrt_()
    loss = (weights * distance).sum()
    push = away.mul_((weights / distance.clamp_(min=ROUNDING)).unsqueeze(3))
    turn = (push @ points.transpose(-1, -2)).sum(2)
    return Terms(loss, -push.sum(1), torch.cat([turn, push.sum((2, 4)).unsqueeze(-1)], dim=-1))


def fused_terms(world: Tensor, transforms: Tensor, points: Tensor, weights: Tensor) -> Terms:
    """The sum and its gradients by a Triton kernel; arguments as for `WeightedDistance`, float32 on a GPU.

    Sums are gathered per block of pixels and added by PyTorch, so that results do not depend on the order of threads.
    """
    from v2m4.stereo.dust3r.distances_triton import weighted_distance_kernel

    images, slots, blocks, _, pixels = points.shape
    chunks = -(-pixels // PIXELS_PER_PROGRAM)
    toward_world = torch.empty_like(world, memory_format=torch.contiguous_format)
    sums = torch.empty(images, slots, blocks * chunks, SUMS, device=points.device)
    weighted_distance_kernel[(images, blocks * chunks)](
        world.contiguous(),
        transforms.contiguous(),
        points,
        weights,
        toward_world,
        sums,
        blocks,
        pixels,
        chunks,
        ROUNDING,
        SLOTS=slots,
        BLOCK=PIXELS_PER_PROGRAM,
    )
    totals = sums.sum(2)
    return Terms(totals[..., 12].sum(), toward_world, totals[..., :12].unflatten(-1, (3, 4)))
