"""Attention and blocks of vector-set networks. Parameter names are those of the official Hunyuan3D-2 decoder.

The projections keep each head's query, key and value side by side: the 3 C channels are cut into heads first and into
query, key and value then. Keys and values of a context are made by `keys_values`, once for all that ask it.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.generators.trellis.layers import attend

HeadNorm = Literal["none", "layer", "rms"]
HEAD_NORM_EPS = 1e-6

KeysValues = tuple[Tensor, Tensor]
"""Keys and values, both (B, L, heads, head_dim)."""


class _HeadNorms(nn.Module):
    def __init__(self, kind: HeadNorm, head_dim: int) -> None:
        super().__init__()
        norm = nn.LayerNorm if kind == "layer" else nn.RMSNorm
        self.q_norm = norm(head_dim, eps=HEAD_NORM_EPS)
        self.k_norm = norm(head_dim, eps=HEAD_NORM_EPS)


class SelfAttention(nn.Module):
    """Full attention inside each item of (B, L, width)."""

    def __init__(self, width: int, heads: int, head_norm: HeadNorm = "none", bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.c_qkv = nn.Linear(width, 3 * width, bias=bias)
        self.c_proj = nn.Linear(width, width)
        self.attention = None if head_norm == "none" else _HeadNorms(head_norm, width // heads)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.c_qkv(x).unflatten(-1, (self.heads, -1)).chunk(3, dim=-1)  # (B, L, heads, head_dim)
        if self.attention is not None:
            q, k = self.attention.q_norm(q), self.attention.k_norm(k)
        out: Tensor = self.c_proj(attend(q, k, v).flatten(-2))
        return out


class CrossAttention(nn.Module):
    """Attention of (B, L, width) to a context (B, T, context_width)."""

    def __init__(
        self,
        width: int,
        heads: int,
        context_width: int | None = None,
        head_norm: HeadNorm = "none",
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.c_q = nn.Linear(width, width, bias=bias)
        self.c_kv = nn.Linear(context_width or width, 2 * width, bias=bias)
        self.c_proj = nn.Linear(width, width)
        self.attention = None if head_norm == "none" else _HeadNorms(head_norm, width // heads)

    def keys_values(self, context: Tensor) -> KeysValues:
        """What `forward` needs of the context."""
        k, v = self.c_kv(context).unflatten(-1, (self.heads, -1)).chunk(2, dim=-1)
        return (k if self.attention is None else self.attention.k_norm(k)), v

    def forward(self, x: Tensor, keys_values: KeysValues) -> Tensor:
        q = self.c_q(x).unflatten(-1, (self.heads, -1))
        if self.attention is not None:
            q = self.attention.q_norm(q)
        out: Tensor = self.c_proj(attend(q, *keys_values).flatten(-2))
        return out


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, width: int, ratio: float = 4.0) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, int(width * ratio))
        self.c_proj = nn.Linear(int(width * ratio), width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(F.gelu(self.c_fc(x)))
        return out


class SelfBlock(nn.Module):
    """Pre-norm transformer block over (B, L, width)."""

    def __init__(self, width: int, heads: int, eps: float, head_norm: HeadNorm = "none", bias: bool = False) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads, head_norm, bias)
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width)
        self.ln_2 = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class CrossBlock(nn.Module):
    """Block in which (B, L, width) asks a set of vectors of the same width."""

    def __init__(
        self,
        width: int,
        heads: int,
        eps: float,
        head_norm: HeadNorm = "none",
        mlp_ratio: float = 4.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.attn = CrossAttention(width, heads, head_norm=head_norm, bias=bias)
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.ln_2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, mlp_ratio)
        self.ln_3 = nn.LayerNorm(width, eps=eps)

    def keys_values(self, vectors: Tensor) -> KeysValues:
        """What `forward` needs of the set (B, T, width)."""
        return self.attn.keys_values(self.ln_2(vectors))

    def forward(self, x: Tensor, keys_values: KeysValues) -> Tensor:
        x = x + self.attn(self.ln_1(x), keys_values)
        out: Tensor = x + self.mlp(self.ln_3(x))
        return out
