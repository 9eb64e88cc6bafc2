"""TripoSG's flow transformer (Li et al., arXiv 2502.06608): blocks with skips from the first half to the second.

Time is a token of its own, put in front of the latents; there is no adaptive norm and no position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.generators.trellis.layers import time_embedding
from v2m4.generators.vecset.attention import CrossAttention, KeysValues, Mlp, SelfAttention
from v2m4.generators.vecset.decoder import DecoderConfig
from v2m4.generators.vecset.flow import FlowNetwork
from v2m4.nn.weights import Renaming

_EPS = 1e-5


@dataclass(frozen=True)
class TripoSgConfig:
    """Sizes of the flow transformer; the defaults are those of the released one."""

    num_attention_heads: int = 16
    width: int = 2048
    in_channels: int = 64
    num_layers: int = 21
    cross_attention_dim: int = 1024


class TimeProjection(nn.Module):
    """Time in thousandths (B,) -> (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, 4 * width)
        self.linear_2 = nn.Linear(4 * width, width)

    def forward(self, waves: Tensor) -> Tensor:
        """`waves`: sines, then cosines of the time (B, width)."""
        out: Tensor = self.linear_2(F.gelu(self.linear_1(waves)))
        return out


class TripoSgBlock(nn.Module):
    """Attention inside the set and to the picture, MLP; with `skip` it first merges an earlier block's output."""

    def __init__(self, config: TripoSgConfig, skip: bool) -> None:
        super().__init__()
        width, heads = config.width, config.num_attention_heads
        if skip:
            self.skip_linear = nn.Linear(2 * width, width)
            self.skip_norm = nn.LayerNorm(width, eps=_EPS)
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn1 = SelfAttention(width, heads, "rms")
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.attn2 = CrossAttention(width, heads, config.cross_attention_dim, "rms")
        self.norm3 = nn.LayerNorm(width, eps=_EPS)
        self.ff = Mlp(width)

    def forward(self, x: Tensor, keys_values: KeysValues, earlier: Tensor | None) -> Tensor:
        if earlier is not None:
            x = self.skip_norm(self.skip_linear(torch.cat([earlier, x], dim=-1)))
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), keys_values)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class TripoSgDiT(FlowNetwork[list[KeysValues]]):
    """Velocity, from noise to data, of latents (B, L, C) at times (B,) in thousandths."""

    def __init__(self, config: TripoSgConfig = TripoSgConfig()) -> None:
        super().__init__()
        self.config = c = config
        self.time_proj = TimeProjection(c.width)
        self.proj_in = nn.Linear(c.in_channels, c.width)
        self.blocks = nn.ModuleList(TripoSgBlock(c, skip=k > c.num_layers // 2) for k in range(c.num_layers))
        self.norm_out = nn.LayerNorm(c.width, eps=_EPS)
        self.proj_out = nn.Linear(c.width, c.in_channels)

    def prepare(self, tokens: Tensor) -> list[KeysValues]:
        """What each block needs of the picture's tokens (B, T, cross_attention_dim)."""
        blocks: Any = self.blocks
        return [block.attn2.keys_values(tokens) for block in blocks]

    def forward(self, x: Tensor, time: Tensor, context: list[KeysValues]) -> Tensor:
        """`context` from `prepare`."""
        waves = time_embedding(time, self.config.width, sines_first=True)
        token = self.time_proj(waves.to(x.dtype))[:, None]
        x = torch.cat([token, self.proj_in(x)], dim=1)  # (B, 1 + L, width)
        half = len(self.blocks) // 2
        kept: list[Tensor] = []
        for k, (block, keys_values) in enumerate(zip(self.blocks, context, strict=True)):
            x = block(x, keys_values, kept.pop() if k > half else None)
            if k < half:
                kept.append(x)
        out: Tensor = self.proj_out(self.norm_out(x)[:, 1:])
        return out


def _attention(block: str, target: str) -> tuple[Renaming, ...]:
    """Names of a block's two attentions: queries, keys and values are separate tables in the checkpoint."""
    return (
        *(Renaming(rf"{block}attn1\.to_{n}\.(\w+)", rf"{target}attn1.c_qkv.\2", k, 3) for k, n in enumerate("qkv")),
        Renaming(rf"{block}attn2\.to_q\.(\w+)", rf"{target}attn2.c_q.\2"),
        *(Renaming(rf"{block}attn2\.to_{n}\.(\w+)", rf"{target}attn2.c_kv.\2", k, 2) for k, n in enumerate("kv")),
        Renaming(rf"{block}attn([12])\.to_out\.0\.(\w+)", rf"{target}attn\2.c_proj.\3"),
        Renaming(rf"{block}attn([12])\.norm_([qk])\.(\w+)", rf"{target}attn\2.attention.\3_norm.\4"),
    )


_BLOCK = r"blocks\.(\d+)\."
TRANSFORMER_NAMES = (
    *_attention(_BLOCK, r"blocks.\1."),
    Renaming(rf"{_BLOCK}ff\.net\.0\.proj\.(\w+)", r"blocks.\1.ff.c_fc.\2"),
    Renaming(rf"{_BLOCK}ff\.net\.2\.(\w+)", r"blocks.\1.ff.c_proj.\2"),
)
"""From the official names of the flow transformer to those of `TripoSgDiT`."""


@dataclass(frozen=True)
class TripoSgVaeConfig:
    """The entries of the VAE's configuration that its decoder uses; the defaults are those of the released one."""

    latent_channels: int = 64
    num_attention_heads: int = 8
    width_decoder: int = 1024
    num_layers_decoder: int = 16
    embed_frequency: int = 8

    def decoder(self) -> DecoderConfig:
        """The decoder in the shared form."""
        return DecoderConfig(
            latent_channels=self.latent_channels,
            width=self.width_decoder,
            heads=self.num_attention_heads,
            layers=self.num_layers_decoder,
            frequencies=self.embed_frequency,
            eps=_EPS,
            head_norm="none",
            sign=-1.0,
        )


def decoder_names(layers: int) -> tuple[Renaming, ...]:
    """From the official names of the VAE's decoder, whose last block is the points', to those of `VecsetDecoder`."""
    point = rf"decoder\.blocks\.({layers})\."
    cross = "geo_decoder.cross_attn_decoder."
    inner, resblock = r"decoder\.blocks\.(\d+)\.", r"transformer.resblocks.\1."
    return (
        Renaming(r"post_quant\.(\w+)", r"post_kl.\1"),
        Renaming(r"decoder\.proj_query\.(\w+)", r"geo_decoder.query_proj.\1"),
        Renaming(r"decoder\.norm_out\.(\w+)", r"geo_decoder.ln_post.\1"),
        Renaming(r"decoder\.proj_out\.(\w+)", r"geo_decoder.output_proj.\1"),
        *block_names(point, cross, crossing=True),
        *block_names(inner, resblock, crossing=False),
    )


def block_names(pattern: str, target: str, crossing: bool) -> tuple[Renaming, ...]:
    """From the official names of a VAE's block (`pattern` has one group) to those of `CrossBlock` or `SelfBlock`."""
    if crossing:
        projections = (
            Renaming(rf"{pattern}attn2\.to_q\.(\w+)", rf"{target}attn.c_q.\2"),
            *(Renaming(rf"{pattern}attn2\.to_{n}\.(\w+)", rf"{target}attn.c_kv.\2", k, 2) for k, n in enumerate("kv")),
            Renaming(rf"{pattern}attn2\.norm_cross\.(\w+)", rf"{target}ln_2.\2"),
            Renaming(rf"{pattern}attn2\.to_out\.0\.(\w+)", rf"{target}attn.c_proj.\2"),
            Renaming(rf"{pattern}norm2\.(\w+)", rf"{target}ln_1.\2"),
            Renaming(rf"{pattern}norm3\.(\w+)", rf"{target}ln_3.\2"),
        )
    else:
        projections = (
            *(
                Renaming(rf"{pattern}attn1\.to_{n}\.(\w+)", rf"{target}attn.c_qkv.\2", k, 3)
                for k, n in enumerate("qkv")
            ),
            Renaming(rf"{pattern}attn1\.to_out\.0\.(\w+)", rf"{target}attn.c_proj.\2"),
            Renaming(rf"{pattern}norm1\.(\w+)", rf"{target}ln_1.\2"),
            Renaming(rf"{pattern}norm3\.(\w+)", rf"{target}ln_2.\2"),
        )
    return (
        *projections,
        Renaming(rf"{pattern}ff\.net\.0\.proj\.(\w+)", rf"{target}mlp.c_fc.\2"),
        Renaming(rf"{pattern}ff\.net\.2\.(\w+)", rf"{target}mlp.c_proj.\2"),
    )
