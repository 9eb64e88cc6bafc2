"""The GPU kernel that puts the results of dense convolutions into the order of rows, adding what belongs to them."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 4096


@torch.no_grad()
def place_rows(
    part: Tensor, out: Tensor, order: Tensor, first: int, step: int, bias: Tensor | None, skip: Tensor | None
) -> None:
    """out[first + step * r] = part[p] + bias + skip[(first + step * r) // 8] for each row p of ``part`` (M, C).

    p = b * V + i counts the cells of blocks of V; r = b * V + order[i]. order: (V,) int32. bias: (C,). skip: (K, C).
    """
    part = part.contiguous()
    rows, width = part.shape
    if rows:
        lanes = triton.next_power_of_2(width)
        group = max(1, _TILE // lanes)
        grid = (triton.cdiv(rows, group),)
        _place[grid](part, out, order, bias, skip, rows, first, len(order), step, width, group, lanes)


@triton.jit(do_not_specialize=["rows", "first"])
def _place(  # type: ignore[no-untyped-def]
    part,
    out,
    order,
    bias,
    skip,
    rows,
    first,
    cells: tl.constexpr,
    step: tl.constexpr,
    width: tl.constexpr,
    group: tl.constexpr,
    lanes: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * group + tl.arange(0, group)
    there = row < rows
    target = first + step * (row // cells * cells + tl.load(order + row % cells, mask=there, other=0))
    lane = tl.arange(0, lanes)[None, :]
    present = there[:, None] & (lane < width)
    value = tl.load(part + row[:, None] * width + lane, mask=present, other=0.0).to(tl.float32)
    if bias is not None:
        value += tl.load(bias + lane, mask=lane < width, other=0.0).to(tl.float32)
    if skip is not None:
        value += tl.load(skip + (target // 8)[:, None] * width + lane, mask=present, other=0.0).to(tl.float32)
    tl.store(out + target[:, None] * width + lane, value, mask=present)
