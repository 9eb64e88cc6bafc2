"""Attention inside windows with nothing around it: what `window_self_attention` does to queries, keys and values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from v2m4.generators.trellis.layers import SelfAttention
from v2m4.generators.trellis.sparse import window_self_attention
from v2m4.generators.trellis.voxels import Windows


class Bare(SelfAttention):
    """Rows that already are queries, keys and values, (N,3*heads*head_dim), and no projection of the result."""

    def __init__(self, heads: int) -> None:
        nn.Module.__init__(self)
        self.heads = heads
        self.to_out = nn.Identity()

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = x.unflatten(1, (3, self.heads, -1)).unbind(1)
        return q, k, v


def window_attention(q: Tensor, k: Tensor, v: Tensor, windows: Windows) -> Tensor:
    """Every row attends to all rows of its window: (N,heads,head_dim) each -> the same shape."""
    rows = torch.stack([q, k, v], dim=1).flatten(1)
    return window_self_attention(rows, Bare(q.shape[1]), windows).unflatten(1, q.shape[1:])
