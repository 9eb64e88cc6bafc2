"""The transformer that improves all tracks at once: along time for each, and across them by way of virtual tracks."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.nn.transformer import Mlp
from v2m4.tracks.cotracker3.config import CoTrackerConfig

_EPS = 1e-6
_MLP_RATIO = 4
_GELU = partial(F.gelu, approximate="tanh")


class ContextAttention(nn.Module):
    """Attention of (B, T, C) over a context (B, S, C)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(width, 2 * width)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q = self.to_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, C / heads)
        k, v = self.to_kv(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class SelfBlock(nn.Module):
    """Pre-norm block over (B, T, C); its norms have no learned weights."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = ContextAttention(width, heads)
        self.mlp = Mlp(width, _MLP_RATIO * width, activation=_GELU)

    def forward(self, x: Tensor) -> Tensor:
        own = _normalised(x)
        x = x + self.attn(own, own)
        return x + self.mlp(_normalised(x))


class CrossBlock(nn.Module):
    """Pre-norm block in which (B, T, C) looks at a context (B, S, C), whose norm is a learned one."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_context = nn.LayerNorm(width)
        self.cross_attn = ContextAttention(width, heads)
        self.mlp = Mlp(width, _MLP_RATIO * width, activation=_GELU)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.cross_attn(_normalised(x), self.norm_context(context))
        return x + self.mlp(_normalised(x))


def _normalised(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=_EPS)


class UpdateTransformer(nn.Module):
    """Tokens (N, T, D) of N tracks in T frames to increments (N, T, 4): x, y, visibility and confidence logits."""

    def __init__(self, config: CoTrackerConfig) -> None:
        super().__init__()
        width, heads = config.hidden_size, config.num_heads
        self.every = config.time_depth // config.space_depth
        self.input_transform = nn.Linear(config.token_width, width)
        # The official checkpoint spells it so.
        self.virual_tracks = nn.Parameter(torch.zeros(1, config.num_virtual_tracks, 1, width))
        self.time_blocks = nn.ModuleList(SelfBlock(width, heads) for _ in range(config.time_depth))
        self.space_virtual_blocks = nn.ModuleList(SelfBlock(width, heads) for _ in range(config.space_depth))
        self.space_point2virtual_blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(config.space_depth))
        self.space_virtual2point_blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(config.space_depth))
        self.flow_head = nn.Linear(width, 2)
        self.vis_conf_head = nn.Linear(width, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        points, frames = tokens.shape[:2]
        virtual = self.virual_tracks[0].expand(-1, frames, -1)
        x = torch.cat([self.input_transform(tokens), virtual])  # (N + V, T, C)
        for i, along_time in enumerate(self.time_blocks):
            x = along_time(x)
            if i % self.every == 0:
                x = self._across_tracks(x.transpose(0, 1), points, i // self.every).transpose(0, 1)
        own = x[:points]
        return torch.cat([self.flow_head(own), self.vis_conf_head(own)], dim=-1)

    def _across_tracks(self, x: Tensor, points: int, block: int) -> Tensor:
        """The virtual tracks gather from the points, talk to each other, and the points read them: (T, N + V, C)."""
        own, virtual = x[:, :points], x[:, points:]
        virtual = self.space_virtual2point_blocks[block](virtual, own)
        virtual = self.space_virtual_blocks[block](virtual)
        own = self.space_point2virtual_blocks[block](own, virtual)
        return torch.cat([own, virtual], dim=1)
