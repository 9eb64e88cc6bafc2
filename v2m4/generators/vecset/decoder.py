"""The decoder of a vector set: a transformer over the set, then any point of space asks it for the field's value.

Zhang et al., 3DShape2VecSet (arXiv 2301.11445), in the form of Hunyuan3D-2 (Zhao et al., arXiv 2501.12202), whose
parameter names it has; TripoSG (arXiv 2502.06608) and CraftsMan3D (arXiv 2405.14979) differ in the numbers below only.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from v2m4.generators.vecset.attention import CrossBlock, HeadNorm, KeysValues, SelfBlock
from v2m4.generators.vecset.embedding import fourier_embedding

_LAST_NORM_EPS = 1e-5


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder; the defaults are those of Hunyuan3D-2.0."""

    latent_channels: int = 64
    width: int = 1024
    heads: int = 16
    layers: int = 16
    frequencies: int = 8
    eps: float = 1e-6
    head_norm: HeadNorm = "layer"
    qkv_bias: bool = False
    query_shrink: int = 1
    """Points are asked about at the width divided by this; other than 1, without a norm of queries and keys."""
    query_mlp_ratio: float = 4.0
    last_norm: bool = True
    scale_factor: float = 1.0
    """Latents of the flow are divided by this."""
    sign: float = 1.0
    """-1 where the network's own output is positive outside."""


class PointDecoder(nn.Module):
    """Points (B, N, 3) -> logits (B, N, 1), given the transformed set."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        c = config
        width = c.width // c.query_shrink
        self.frequencies, self.sign = c.frequencies, c.sign
        self.query_proj = nn.Linear(3 * (2 * c.frequencies + 1), width)
        self.latents_proj = nn.Identity() if c.query_shrink == 1 else nn.Linear(c.width, width)
        head_norm = c.head_norm if c.query_shrink == 1 else "none"
        self.cross_attn_decoder = CrossBlock(
            width, c.heads // c.query_shrink, c.eps, head_norm, c.query_mlp_ratio, c.qkv_bias
        )
        self.ln_post = nn.LayerNorm(width, eps=_LAST_NORM_EPS) if c.last_norm else nn.Identity()
        self.output_proj = nn.Linear(width, 1)

    def keys_values(self, vectors: Tensor) -> KeysValues:
        """What `forward` needs of the transformed set (B, L, width)."""
        return self.cross_attn_decoder.keys_values(self.latents_proj(vectors))

    def forward(self, points: Tensor, keys_values: KeysValues) -> Tensor:
        embedded = fourier_embedding(points, self.frequencies).to(self.query_proj.weight.dtype)
        x = self.cross_attn_decoder(self.query_proj(embedded), keys_values)
        out: Tensor = self.sign * self.output_proj(self.ln_post(x))
        return out


class _Transformer(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        c = config
        self.resblocks = nn.ModuleList(
            SelfBlock(c.width, c.heads, c.eps, c.head_norm, c.qkv_bias) for _ in range(c.layers)
        )


class VecsetDecoder(nn.Module):
    """Latents (B, L, C) -> the transformed set -> logits at points, positive inside."""

    def __init__(self, config: DecoderConfig = DecoderConfig()) -> None:
        super().__init__()
        self.config = config
        self.post_kl = nn.Linear(config.latent_channels, config.width)
        self.transformer = _Transformer(config)
        self.geo_decoder = PointDecoder(config)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents already divided by the scale factor -> the transformed set (B, L, width)."""
        x: Tensor = self.post_kl(latents)
        for block in self.transformer.resblocks:
            x = block(x)
        return x

    def keys_values(self, sample: Tensor) -> KeysValues:
        """What the points need of a sample (B, L, C) of the flow."""
        latents = (sample / self.config.scale_factor).to(self.post_kl.weight.dtype)
        return self.geo_decoder.keys_values(self(latents))

    def query(self, points: Tensor, keys_values: KeysValues) -> Tensor:
        """Logits (N,) float32 at points (N, 3), positive inside."""
        logits: Tensor = self.geo_decoder(points[None], keys_values)
        return logits.flatten().float()
