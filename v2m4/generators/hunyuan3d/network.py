"""Hunyuan3D-2's flow transformer (Zhao et al., arXiv 2501.12202): blocks of two streams, then blocks of one.

The form is that of MM-DiT (Esser et al., arXiv 2403.03206) and Flux, without any position. Parameter names are those
of the official checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.generators.trellis.layers import attend, time_embedding
from v2m4.generators.vecset.flow import FlowNetwork
from v2m4.nn.layer_norm import layer_norm

_EPS = 1e-6
_TIME_CHANNELS = 256
_TIME_SCALE = 1000.0
_TIME_BASE = 1000.0  # not the usual 10000: the released weights were trained with the scale in the place of the base


@dataclass(frozen=True)
class HunyuanConfig:
    """Sizes of the flow transformer; the defaults are those of Hunyuan3D-2.0."""

    in_channels: int = 64
    context_in_dim: int = 1536
    hidden_size: int = 1024
    mlp_ratio: float = 4.0
    num_heads: int = 16
    depth: int = 16
    depth_single_blocks: int = 32
    qkv_bias: bool = True
    guidance_embed: bool = False


def waves(t: Tensor) -> Tensor:
    """Embedding (B, 256) of numbers (B,), of which a time lies in [0, 1]."""
    return time_embedding(_TIME_SCALE * t, _TIME_CHANNELS, _TIME_BASE)


class VectorEmbedder(nn.Module):
    """`waves` of a number (B, 256) -> (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(_TIME_CHANNELS, width)
        self.out_layer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out_layer(F.silu(self.in_layer(x)))
        return out


class RmsNorm(nn.Module):
    """Root-mean-square norm of each head's vector; the checkpoint calls its gain `scale`."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(head_dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.scale.shape, self.scale, _EPS)


class HeadNorms(nn.Module):
    """Norms of queries and keys."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.query_norm = RmsNorm(head_dim)
        self.key_norm = RmsNorm(head_dim)

    def forward(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L, 3, heads, head_dim) -> queries, keys, values (B, L, heads, head_dim)."""
        q, k, v = qkv.unbind(2)
        return self.query_norm(q), self.key_norm(k), v


class Modulation(nn.Module):
    """Shifts, scales and gates (B, 1, width) from the time vector, `count` times three."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.lin = nn.Linear(width, 3 * count * width)

    def forward(self, vector: Tensor) -> tuple[Tensor, ...]:
        return self.lin(F.silu(vector))[:, None].chunk(3 * self.count, dim=-1)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) * norm(x) + shift."""
    return torch.addcmul(shift, layer_norm(x, _EPS), 1 + scale)


class StreamAttention(nn.Module):
    """The projections of one stream; the attention itself is over both streams."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.norm = HeadNorms(width // heads)
        self.proj = nn.Linear(width, width)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L, width) -> queries, keys, values (B, L, heads, head_dim)."""
        out: tuple[Tensor, Tensor, Tensor] = self.norm(self.qkv(x).unflatten(-1, (3, self.heads, -1)))
        return out


def _mlp(width: int, ratio: float) -> nn.Sequential:
    hidden = int(width * ratio)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


class DoubleBlock(nn.Module):
    """Latents and context, each with weights of its own, attend to both together."""

    def __init__(self, config: HunyuanConfig) -> None:
        super().__init__()
        width, heads = config.hidden_size, config.num_heads
        self.img_mod = Modulation(width, 2)
        self.img_attn = StreamAttention(width, heads, config.qkv_bias)
        self.img_mlp = _mlp(width, config.mlp_ratio)
        self.txt_mod = Modulation(width, 2)
        self.txt_attn = StreamAttention(width, heads, config.qkv_bias)
        self.txt_mlp = _mlp(width, config.mlp_ratio)

    def forward(self, latent: Tensor, context: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        of_latent, of_context = self.img_mod(vector), self.txt_mod(vector)
        latent_qkv = self.img_attn.project(modulated(latent, *of_latent[:2]))
        context_qkv = self.txt_attn.project(modulated(context, *of_context[:2]))
        q, k, v = (torch.cat(pair, dim=1) for pair in zip(context_qkv, latent_qkv, strict=True))
        attended = attend(q, k, v).flatten(-2)  # (B, T + L, width), the context first
        for_context, for_latent = attended.split([context.shape[1], latent.shape[1]], dim=1)
        latent = torch.addcmul(latent, of_latent[2], self.img_attn.proj(for_latent))
        latent = torch.addcmul(latent, of_latent[5], self.img_mlp(modulated(latent, *of_latent[3:5])))
        context = torch.addcmul(context, of_context[2], self.txt_attn.proj(for_context))
        context = torch.addcmul(context, of_context[5], self.txt_mlp(modulated(context, *of_context[3:5])))
        return latent, context


class SingleBlock(nn.Module):
    """Both streams in one row; attention and MLP side by side."""

    def __init__(self, config: HunyuanConfig) -> None:
        super().__init__()
        width = config.hidden_size
        hidden = int(width * config.mlp_ratio)
        self.heads = config.num_heads
        self.sizes = [3 * width, hidden]
        self.linear1 = nn.Linear(width, 3 * width + hidden)
        self.linear2 = nn.Linear(width + hidden, width)
        self.norm = HeadNorms(width // config.num_heads)
        self.modulation = Modulation(width, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(vector)
        qkv, hidden = self.linear1(modulated(x, shift, scale)).split(self.sizes, dim=-1)
        attended = attend(*self.norm(qkv.unflatten(-1, (3, self.heads, -1)))).flatten(-2)
        return torch.addcmul(x, gate, self.linear2(torch.cat([attended, F.gelu(hidden, approximate="tanh")], dim=-1)))


class FinalLayer(nn.Module):
    """Modulated norm and linear."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(vector)[:, None].chunk(2, dim=-1)
        out: Tensor = self.linear(modulated(x, shift, scale))
        return out


class HunyuanDiT(FlowNetwork[Tensor]):
    """Velocity, from noise to data, of latents (B, L, C) at times (B,) from 0 (noise) to 1 (data)."""

    def __init__(self, config: HunyuanConfig = HunyuanConfig()) -> None:
        super().__init__()
        self.config = c = config
        self.latent_in = nn.Linear(c.in_channels, c.hidden_size)
        self.cond_in = nn.Linear(c.context_in_dim, c.hidden_size)
        self.time_in = VectorEmbedder(c.hidden_size)
        self.guidance_in = VectorEmbedder(c.hidden_size) if c.guidance_embed else nn.Identity()
        self.double_blocks = nn.ModuleList(DoubleBlock(c) for _ in range(c.depth))
        self.single_blocks = nn.ModuleList(SingleBlock(c) for _ in range(c.depth_single_blocks))
        self.final_layer = FinalLayer(c.hidden_size, c.in_channels)

    def prepare(self, tokens: Tensor) -> Tensor:
        """What the blocks need of the picture's tokens (B, T, context_in_dim)."""
        out: Tensor = self.cond_in(tokens)
        return out

    def forward(self, x: Tensor, time: Tensor, context: Tensor, guidance: Tensor | None = None) -> Tensor:
        """`context` from `prepare`; `guidance` (B,): the strength, for a network with `guidance_embed`."""
        vector = self.time_in(waves(time).to(x.dtype))
        if self.config.guidance_embed and guidance is not None:
            vector = vector + self.guidance_in(waves(guidance).to(x.dtype))
        latent: Tensor = self.latent_in(x)
        for block in self.double_blocks:
            latent, context = block(latent, context, vector)
        row = torch.cat([context, latent], dim=1)  # (B, T + L, width)
        for block in self.single_blocks:
            row = block(row, vector)
        out: Tensor = self.final_layer(row[:, context.shape[1] :], vector)
        return out
