"""The GPU kernels of FlexiCubes' dual vertices; their oracle is the plain PyTorch of `flexicubes`."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_GROUP = 32
_CARRIED = tl.constexpr(9)
_OWN = tl.constexpr(21)


def dual_vertices_triton(
    sdf: Tensor,
    carried: Tensor,
    own: Tensor,
    corner: Tensor,
    groups: Tensor,
    vertex_cube: Tensor,
    vertex_group: Tensor,
    edges: Tensor,
) -> tuple[Tensor, Tensor]:
    """Where each dual vertex lies in its cube (V,3), and what it carries (V,9): see `flexicubes._mix`.

    edges: (16,2) int32, the last four of them none (-1). Differentiable in ``sdf``, ``carried`` and ``own``.
    """
    result: tuple[Tensor, Tensor] = _DualVertices.apply(
        sdf, carried, own, corner, groups, vertex_cube, vertex_group, edges
    )
    return result


class _DualVertices(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        sdf: Tensor,
        carried: Tensor,
        own: Tensor,
        corner: Tensor,
        groups: Tensor,
        vertex_cube: Tensor,
        vertex_group: Tensor,
        edges: Tensor,
    ) -> tuple[Tensor, Tensor]:
        saved = [t.contiguous() for t in (sdf, carried, own, corner, groups, vertex_cube, vertex_group, edges)]
        place, values = (sdf.new_empty(len(vertex_cube), n) for n in (3, 9))
        ctx.save_for_backward(*saved)
        _launch(_forward, *saved, place, values)
        return place, values

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        slopes = [torch.zeros_like(t) for t in saved[:3]]
        _launch(_backward, *saved, *(g.contiguous() for g in grads), *slopes)
        return *slopes, None, None, None, None, None


def _launch(kernel: Any, *tensors: Tensor) -> None:
    vertices = len(tensors[5])
    if vertices:
        kernel[(triton.cdiv(vertices, _GROUP),)](*tensors, vertices, _GROUP)


@triton.jit
def _mixed(  # type: ignore[no-untyped-def]
    sdf,
    own,
    corner,
    groups,
    vertex_cube,
    vertex_group,
    edges,
    vertices,
    group: tl.constexpr,
):
    """Of each vertex (R): its cube, corners (R,8), their factors and values, edge weights (R,16), and shares (R,8)."""
    vertex = tl.program_id(0) * group + tl.arange(0, group)
    there = vertex < vertices
    cube = tl.load(vertex_cube + vertex, mask=there, other=0)[:, None]
    own_group = tl.load(vertex_group + vertex, mask=there, other=-2)[:, None]
    c8, e16 = tl.arange(0, 8)[None, :], tl.arange(0, 16)[None, :]
    known, real = there[:, None], e16 < 12
    # 1. Distances at the corners, times alpha; beta of the edges that are the vertex's own, summing to one.
    rows = tl.load(corner + cube * 8 + c8, mask=known, other=0)
    distance = tl.load(sdf + rows, mask=known, other=1.0)
    bent = _tanh(tl.load(own + cube * _OWN + 12 + c8, mask=known, other=0.0))
    scaled = (1 + 0.99 * bent) * distance
    mine = tl.load(groups + cube * 12 + e16, mask=known & real, other=-1) == own_group
    bent_beta = _tanh(tl.load(own + cube * _OWN + e16, mask=known & real, other=0.0))
    weight = tl.where(mine, 1 + 0.99 * bent_beta, 0.0)
    sum_of_weights = tl.sum(weight, axis=1)[:, None]
    sum_of_weights = tl.where(sum_of_weights > 0, sum_of_weights, 1.0)
    weight /= sum_of_weights
    # 2. The values at both ends of each edge, (R,8,16) summed over the one corner that is the end: chosen, for products
    #    that are summed become a matrix product of ten bits.
    corners = tl.arange(0, 8)[:, None]
    first = (tl.load(edges + 2 * tl.arange(0, 16))[None, :] == corners)[None]
    second = (tl.load(edges + 2 * tl.arange(0, 16) + 1)[None, :] == corners)[None]
    a = tl.sum(tl.where(first, scaled[:, :, None], 0.0), axis=1)
    b = tl.sum(tl.where(second, scaled[:, :, None], 0.0), axis=1)
    apart = tl.where(mine, b - a, 1.0)
    toward = weight * b / apart
    share = tl.sum(
        tl.where(first, toward[:, None, :], 0.0) + tl.where(second, (weight - toward)[:, None, :], 0.0), axis=2
    )
    return (
        vertex,
        known,
        cube,
        rows,
        distance,
        bent,
        bent_beta,
        mine,
        weight,
        sum_of_weights,
        first,
        second,
        a,
        b,
        apart,
        share,
    )


@triton.jit
def _tanh(x):  # type: ignore[no-untyped-def]
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit(do_not_specialize=["vertices"])
def _forward(  # type: ignore[no-untyped-def]
    sdf,
    carried,
    own,
    corner,
    groups,
    vertex_cube,
    vertex_group,
    edges,
    place,
    values,
    vertices,
    group: tl.constexpr,
):
    vertex, known, _, rows, _, _, _, _, _, _, _, _, _, _, _, share = _mixed(
        sdf, own, corner, groups, vertex_cube, vertex_group, edges, vertices, group
    )
    there = vertex < vertices
    c8 = tl.arange(0, 8)[None, :]
    for axis in tl.static_range(3):
        tl.store(place + vertex * 3 + axis, tl.sum(tl.where((c8 >> axis) & 1 == 1, share, 0.0), axis=1), mask=there)
    for k in tl.static_range(9):
        value = tl.load(carried + rows * _CARRIED + k, mask=known, other=0.0)
        tl.store(values + vertex * _CARRIED + k, tl.sum(share * value, axis=1), mask=there)


@triton.jit(do_not_specialize=["vertices"])
def _backward(  # type: ignore[no-untyped-def]
    sdf,
    carried,
    own,
    corner,
    groups,
    vertex_cube,
    vertex_group,
    edges,
    to_place,
    to_values,
    to_sdf,
    to_carried,
    to_own,
    vertices,
    group: tl.constexpr,
):
    vertex, known, cube, rows, distance, bent, bent_beta, mine, weight, total, first, second, a, b, apart, share = (
        _mixed(sdf, own, corner, groups, vertex_cube, vertex_group, edges, vertices, group)
    )
    there = vertex < vertices
    c8, e16 = tl.arange(0, 8)[None, :], tl.arange(0, 16)[None, :]
    # 1. Slopes at the shares, (R,8), and at what the corners carry.
    slope = tl.zeros((group, 8), tl.float32)
    for axis in tl.static_range(3):
        pull = tl.load(to_place + vertex * 3 + axis, mask=there, other=0.0)[:, None]
        slope += tl.where((c8 >> axis) & 1 == 1, pull, 0.0)
    for k in tl.static_range(9):
        pull = tl.load(to_values + vertex * _CARRIED + k, mask=there, other=0.0)[:, None]
        slope += pull * tl.load(carried + rows * _CARRIED + k, mask=known, other=0.0)
        tl.atomic_add(to_carried + rows * _CARRIED + k, share * pull, mask=known & (share != 0))
    # 2. At the edges' parts: toward = weight * b / (b - a) goes to the first corner, the rest to the second.
    at_second = tl.sum(tl.where(second, slope[:, :, None], 0.0), axis=1)
    at_toward = tl.sum(tl.where(first, slope[:, :, None], 0.0), axis=1) - at_second
    at_weight = at_second + at_toward * b / apart
    steep = tl.where(mine, at_toward * weight / (apart * apart), 0.0)
    at_scaled = tl.sum(
        tl.where(first, (steep * b)[:, None, :], 0.0) - tl.where(second, (steep * a)[:, None, :], 0.0), axis=2
    )
    # 3. At what the network gave, through beta's normalisation and both tanh.
    at_beta = tl.where(mine, (at_weight - tl.sum(weight * at_weight, axis=1)[:, None]) / total, 0.0)
    at_beta *= 0.99 * (1 - bent_beta * bent_beta)
    tl.atomic_add(to_own + cube * _OWN + e16, at_beta, mask=known & mine & (e16 < 12))
    used = known & (at_scaled != 0)
    tl.atomic_add(to_own + cube * _OWN + 12 + c8, at_scaled * distance * 0.99 * (1 - bent * bent), mask=used)
    tl.atomic_add(to_sdf + rows, at_scaled * (1 + 0.99 * bent), mask=used)
