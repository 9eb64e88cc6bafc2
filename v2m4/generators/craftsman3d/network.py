"""CraftsMan3D's flow transformer (Li et al., arXiv 2405.14979), in the form of PixArt (Chen et al., arXiv 2310.00426).

All blocks share one modulation by the time and add a learned table of their own. Parameter names are those of the
official checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from v2m4.generators.trellis.layers import TimeEmbedder, time_embedding
from v2m4.generators.vecset.attention import CrossAttention, KeysValues, Mlp, SelfAttention
from v2m4.generators.vecset.flow import FlowNetwork

_EPS = 1e-6
_CONTEXT_EPS = 1e-5


@dataclass(frozen=True)
class CraftsManConfig:
    """Sizes of the flow transformer; the defaults are those of the public training configuration."""

    input_channels: int = 64
    output_channels: int = 64
    n_ctx: int = 2048
    width: int = 1024
    layers: int = 32
    heads: int = 16
    context_dim: int = 1024


class CraftsManBlock(nn.Module):
    """Modulated attention inside the set, plain attention to the picture, modulated MLP."""

    def __init__(self, config: CraftsManConfig) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = SelfAttention(width, heads)
        self.cross_attn = CrossAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = Mlp(width)
        self.scale_shift_table = nn.Parameter(torch.zeros(6, width))

    def forward(self, x: Tensor, modulation: Tensor, keys_values: KeysValues) -> Tensor:
        """`modulation` (B, 6, width)."""
        both = (self.scale_shift_table + modulation)[:, :, None]  # (B, 6, 1, width)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = both.unbind(1)
        x = torch.addcmul(x, gate_a, self.attn(torch.addcmul(shift_a, self.norm1(x), 1 + scale_a)))
        x = x + self.cross_attn(x, keys_values)
        return torch.addcmul(x, gate_m, self.mlp(torch.addcmul(shift_m, self.norm2(x), 1 + scale_m)))


class FinalLayer(nn.Module):
    """Norm, modulated by the time vector itself, and linear."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=_EPS)
        self.linear = nn.Linear(width, channels)
        self.scale_shift_table = nn.Parameter(torch.zeros(2, width))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        shift, scale = (self.scale_shift_table + vector[:, None])[:, :, None].unbind(1)
        out: Tensor = self.linear(torch.addcmul(shift, self.norm_final(x), 1 + scale))
        return out


class CraftsManDiT(FlowNetwork[list[KeysValues]]):
    """Velocity, from data to noise, of latents (B, L, C) at times (B,) in thousandths."""

    def __init__(self, config: CraftsManConfig = CraftsManConfig()) -> None:
        super().__init__()
        self.config = c = config
        self.time_embed = TimeEmbedder(c.width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(c.width, 6 * c.width))
        self.x_embed = nn.Linear(c.input_channels, c.width)
        self.dino_embed = nn.Sequential(
            nn.LayerNorm(c.context_dim, eps=_CONTEXT_EPS), nn.Linear(c.context_dim, c.width)
        )
        self.blocks = nn.ModuleList(CraftsManBlock(c) for _ in range(c.layers))
        self.final_layer = FinalLayer(c.width, c.output_channels)

    def prepare(self, tokens: Tensor) -> list[KeysValues]:
        """What each block needs of the picture's tokens (B, T, context_dim)."""
        context = self.dino_embed(tokens)
        blocks: Any = self.blocks
        return [block.cross_attn.keys_values(context) for block in blocks]

    def forward(self, x: Tensor, time: Tensor, context: list[KeysValues]) -> Tensor:
        """`context` from `prepare`."""
        vector = self.time_embed.mlp(time_embedding(time).to(x.dtype))
        modulation = self.t_block(vector).unflatten(-1, (6, -1))
        x = self.x_embed(x)
        for block, keys_values in zip(self.blocks, context, strict=True):
            x = block(x, modulation, keys_values)
        out: Tensor = self.final_layer(x, vector)
        return out
