"""The GPU kernel that gathers the rows of convolutions, 16 bytes at a time whatever the width of a row."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_VECTOR = tl.constexpr(8)
_GROUP = 256
WIDTH_MULTIPLE = 8
"""What the width of the rows has to be a multiple of."""


@torch.no_grad()
def gather_rows_or_zero(x: Tensor, index: Tensor) -> Tensor:
    """Rows of ``x`` (M, C) at ``index`` (...), zeros where the index is M: (..., C). No gradients."""
    index = index.contiguous()
    out = torch.empty(*index.shape, x.shape[1], dtype=x.dtype, device=x.device)
    vectors = out.numel() // WIDTH_MULTIPLE
    if vectors:
        _gather[(triton.cdiv(vectors, _GROUP),)](x.contiguous(), index, out, vectors, len(x), x.shape[1], _GROUP)
    return out


@triton.jit(do_not_specialize=["vectors", "rows"])
def _gather(x, index, out, vectors, rows, width: tl.constexpr, group: tl.constexpr):  # type: ignore[no-untyped-def]
    vector = tl.program_id(0).to(tl.int64) * group + tl.arange(0, group)
    there = vector < vectors
    row = vector // (width // _VECTOR)
    column = vector % (width // _VECTOR) * _VECTOR
    source = tl.load(index + row, mask=there, other=0).to(tl.int64)
    lane = tl.arange(0, _VECTOR)[None, :]
    present = (there & (source < rows))[:, None]
    values = tl.load(x + (source * width + column)[:, None] + lane, mask=present, other=0.0)
    tl.store(out + (vector * _VECTOR)[:, None] + lane, values, mask=there[:, None])
