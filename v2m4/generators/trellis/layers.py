"""Building blocks shared by the TRELLIS transformers: embeddings, norms, attention, MLP, flow and decoder blocks.

TRELLIS: Xiang et al., "Structured 3D Latents for Scalable and Versatile 3D Generation" (arXiv 2412.01506). Module
and parameter names are those of the official checkpoints. Norms are computed in float32 whatever the dtype of
their input; everything else runs in the dtype of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.device import triton_works
from v2m4.nn.layer_norm import add_norm, layer_norm

BLOCK_NORM_EPS = 1e-6
FINAL_NORM_EPS = 1e-5
TIME_FREQUENCIES = 256


def position_embedding(coords: Tensor, channels: int) -> Tensor:
    """Sinusoidal embedding (N, channels) of integer grid coordinates (N, 3), in float32.

    Per axis `channels // 6` frequencies 10000^(-k/F), sines before cosines; axes one after the other in the order
    x, y, z; zeros fill what is left over.
    """
    count = channels // 6
    k = torch.arange(count, dtype=torch.float32, device=coords.device)
    frequencies = 1.0 / 10000.0 ** (k / count)
    angles = coords.float()[:, :, None] * frequencies
    embedding = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return F.pad(embedding, (0, channels - embedding.shape[1]))


def time_embedding(
    t: Tensor, channels: int = TIME_FREQUENCIES, base: float = 10000.0, sines_first: bool = False
) -> Tensor:
    """Sinusoidal embedding (B, channels) of times (B,) given in thousandths, in float32.

    Frequencies base^(-2k / channels); cosines before sines unless `sines_first`.
    """
    half = channels // 2
    k = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(base) * k / half)
    waves = (angles.sin(), angles.cos()) if sines_first else (angles.cos(), angles.sin())
    return torch.cat(waves, dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention over (B, L, heads, head_dim); `mask` (B, 1, 1, Lk) is true where a key counts."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
    return out.transpose(1, 2)


def maybe_checkpoint(active: bool, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Call `function`; if `active` and gradients are recorded, keep only its inputs and recompute it in backward.

    Gradients reach the tensors among `arguments`, not the parameters of `function`, which count as frozen. That
    makes it several times lighter on the processor than `torch.utils.checkpoint`, which hooks every saved tensor.
    """
    if active and torch.is_grad_enabled():
        result: Tensor = _Recompute.apply(function, *arguments)
        return result
    return function(*arguments)


class _Recompute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        ctx.function = function
        ctx.others = [None if isinstance(a, Tensor) else a for a in arguments]
        ctx.places = [i for i, a in enumerate(arguments) if isinstance(a, Tensor)]
        ctx.save_for_backward(*(a for a in arguments if isinstance(a, Tensor)))
        return function(*arguments)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        arguments = list(ctx.others)
        wanted = []
        for place, saved in zip(ctx.places, ctx.saved_tensors, strict=True):
            arguments[place] = saved.detach().requires_grad_(ctx.needs_input_grad[1 + place])
            if ctx.needs_input_grad[1 + place]:
                wanted.append(place)
        with torch.enable_grad():
            out = ctx.function(*arguments)
        gradients: list[Tensor | None] = [None] * len(arguments)
        found = torch.autograd.grad(out, [arguments[i] for i in wanted], grad, allow_unused=True)
        for place, gradient in zip(wanted, found, strict=True):
            gradients[place] = gradient
        return None, *gradients


def set_torso_dtype(modules: nn.Module, dtype: torch.dtype) -> None:
    """Convert the linear and convolution layers inside `modules`; norms and their weights stay in float32."""
    for module in modules.modules():
        if isinstance(module, nn.Linear | nn.Conv3d) or getattr(module, "follows_torso_dtype", False):
            module.to(dtype)


class LayerNorm(nn.Module):
    """Layer norm over the last axis with learned weight and bias, in float32."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.eps, self.weight, self.bias)


class HeadRmsNorm(nn.Module):
    """Gain of the query/key norm, one vector per head; see `normalise_heads`."""

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(heads, head_dim))


def normalise_heads(x: Tensor, gamma: Tensor) -> Tensor:
    """Scale each head's vector (last axis) to length sqrt(head_dim), times `gamma`; computed in float32."""
    if x.is_cuda and not gamma.requires_grad and triton_works(x.device):
        from v2m4.generators.trellis.norms_triton import normalise_heads_triton

        return normalise_heads_triton(x, gamma)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).clamp_min(1e-12)
    return (x * (x.shape[-1] ** 0.5 / length) * gamma).to(x.dtype)


class TimeEmbedder(nn.Module):
    """Time in thousandths (B,) -> (B, channels), float32."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_FREQUENCIES, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, t: Tensor) -> Tensor:
        out: Tensor = self.mlp(time_embedding(t))
        return out


class Mlp(nn.Module):
    """Linear, GELU (tanh form), linear."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(x)
        return out


class SelfAttention(nn.Module):
    """The projections of multi-head self attention; what attends to what is up to the caller."""

    def __init__(self, channels: int, heads: int, qk_rms_norm: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.qk_rms_norm = qk_rms_norm
        if qk_rms_norm:
            self.q_rms_norm = HeadRmsNorm(heads, channels // heads)
            self.k_rms_norm = HeadRmsNorm(heads, channels // heads)
        self.to_out = nn.Linear(channels, channels)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., channels) -> queries, keys, values (..., heads, head_dim)."""
        qkv = self.to_qkv(x).unflatten(-1, (3, self.heads, -1))
        if not self.qk_rms_norm:
            q, k, v = qkv.unbind(-3)
            return q, k, v
        gammas = torch.stack([self.q_rms_norm.gamma, self.k_rms_norm.gamma])
        qk, v = qkv.split([2, 1], dim=-3)
        q, k = normalise_heads(qk, gammas).unbind(-3)
        return q, k, v.squeeze(-3)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Full attention inside each item of `x` (B, L, channels); `mask` (B, 1, 1, L) of the rows that exist."""
        q, k, v = self.project(x)
        out: Tensor = self.to_out(attend(q, k, v, mask).flatten(-2))
        return out


class CrossAttention(nn.Module):
    """Multi-head attention from tokens (B, L, channels) to a condition (B, T, cond_channels)."""

    def __init__(self, channels: int, cond_channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels)
        self.to_kv = nn.Linear(cond_channels, 2 * channels)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        q = self.to_q(x).unflatten(-1, (self.heads, -1))
        k, v = self.to_kv(cond).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        out: Tensor = self.to_out(attend(q, k, v).flatten(-2))
        return out


class FlowBlock(nn.Module):
    """Time-modulated transformer block on (B, L, channels): self attention, attention to the condition, MLP.

    The six modulation vectors (shift, scale, gate of the attention, then of the MLP) come from the time embedding.
    """

    def __init__(self, channels: int, cond_channels: int, heads: int, mlp_ratio: float, qk_rms_norm: bool) -> None:
        super().__init__()
        self.norm2 = LayerNorm(channels, BLOCK_NORM_EPS)
        self.self_attn = SelfAttention(channels, heads, qk_rms_norm)
        self.cross_attn = CrossAttention(channels, cond_channels, heads)
        self.mlp = Mlp(channels, mlp_ratio)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, 6 * channels))

    def forward(self, x: Tensor, time: Tensor, cond: Tensor, mask: Tensor | None = None) -> Tensor:
        """`x` (B, L, C), `time` (B, C), `cond` (B, T, cond_channels), `mask` (B, 1, 1, L) of the rows that exist."""
        modulation = self.adaLN_modulation(time)[:, None]
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation.chunk(6, dim=-1)
        norm, eps = self.norm2, BLOCK_NORM_EPS
        _, h = add_norm(x, None, None, scale_a, shift_a, eps, plus=1.0)
        x, h = add_norm(x, self.self_attn(h, mask), gate_a, norm.weight, norm.bias, norm.eps)
        x, h = add_norm(x, self.cross_attn(h, cond), None, scale_m, shift_m, eps, plus=1.0)
        return torch.addcmul(x, gate_m, self.mlp(h))
