"""Transformer parts that DUSt3R, VGGT and DreamSim share.

Sources: pre-norm transformer blocks as in ViT (arXiv 2010.11929) with LayerScale (2103.17239), rotary positions
(2104.09864) in the two-dimensional form of CroCo v2 (2211.10408). Parameter names are those of the official
checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.device import triton_works
from v2m4.nn.layer_norm import add_norm

Rotation = tuple[Tensor, Tensor]


class PatchProjection(nn.Module):
    """Name space of the checkpoints: the convolution that makes tokens of patches, under `proj`."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)

    def tokens(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, T, width), patches row by row: the convolution as what it is, a product of matrices."""
        side = self.proj.kernel_size[0]
        patches = images.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.flatten(3).flatten(1, 2), self.proj.weight.flatten(1), self.proj.bias)


def grid_positions(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(height * width, 2) integer (row, column) of every cell of a grid, row by row."""
    return torch.cartesian_prod(torch.arange(height, device=device), torch.arange(width, device=device))


def rotation_tables(positions: Tensor, head_dim: int, base: float) -> Rotation:
    """Cosines and signed sines (..., 1, T, head_dim) of 2D rotary positions, `positions` (..., T, 2) = (row, column).

    The first half of a head turns with the row, the second with the column; inside a half of D channels the
    frequencies are base^(-2k/D), and channel k is paired with channel k + D/2.
    """
    half = head_dim // 2
    frequencies = base ** (-torch.arange(0, half, 2, device=positions.device, dtype=torch.float32) / half)
    angles = positions.to(torch.float32)[..., None] * frequencies
    cos = torch.cat([angles.cos(), angles.cos()], dim=-1)
    sin = torch.cat([-angles.sin(), angles.sin()], dim=-1)
    return cos.flatten(-2).unsqueeze(-3), sin.flatten(-2).unsqueeze(-3)


def rotate(tokens: Tensor, rotation: Rotation) -> Tensor:
    """Turn `tokens` (..., heads, T, head_dim) by tables from `rotation_tables`; same shape and dtype."""
    cos, sin = (table.to(tokens.dtype) for table in rotation)
    partners = tokens.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)
    return torch.addcmul(tokens * cos, partners, sin)


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), the approximation of GELU that CLIP was trained with."""
    if x.is_cuda and triton_works(x.device):
        from v2m4.nn.quick_gelu_triton import quick_gelu_triton

        return quick_gelu_triton(x)
    return x * torch.sigmoid(1.702 * x)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention over (B, heads, T, head_dim).

    Where products of float32 may be rounded to ten bits ("tf32"), it is computed in float16, which has as many and
    whose kernels are several times as fast.
    """
    if q.is_cuda and q.dtype == torch.float32 and torch.get_float32_matmul_precision() == "high":
        return F.scaled_dot_product_attention(q.half(), k.half(), v.half()).float()
    return F.scaled_dot_product_attention(q, k, v)


class Mlp(nn.Module):
    """Two linear layers with an activation between them, exact GELU unless told."""

    def __init__(
        self, width: int, hidden: int, out: int | None = None, activation: Callable[[Tensor], Tensor] = F.gelu
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out or width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class Attention(nn.Module):
    """Self-attention over (B, T, width), optionally with normalised queries and keys and rotary positions."""

    def __init__(self, width: int, heads: int, normalise_qk: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = nn.LayerNorm(width // heads) if normalise_qk else nn.Identity()
        self.k_norm = nn.LayerNorm(width // heads) if normalise_qk else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return self.proj(attend(q, k, v).transpose(1, 2).flatten(2))


class LayerScale(nn.Module):
    """One learned gain per channel."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block over (B, T, width). `layer_scale` is the gains' start, None for none."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float,
        eps: float,
        layer_scale: float | None = None,
        normalise_qk: bool = False,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, normalise_qk)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, int(width * mlp_ratio), activation=activation)
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        return through((self,), x, rotation)


def through(blocks: Iterable[nn.Module], x: Tensor, rotation: Rotation | None = None) -> Tensor:
    """Tokens (B, T, width) through all blocks: each sum and the norm behind it at once, also from block to block."""
    added: Tensor | None = None
    gate: Tensor | None = None
    for block in blocks:
        assert isinstance(block, Block)
        x, h = add_and_norm(x, added, gate, block.norm1)
        x, h = add_and_norm(x, block.attn(h, rotation), _gain(block.ls1), block.norm2)
        added, gate = block.mlp(h), _gain(block.ls2)
    if added is None:
        return x
    return x + added if gate is None else torch.addcmul(x, gate, added)


def add_and_norm(x: Tensor, added: Tensor | None, gate: Tensor | None, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """The sum x + gate * added, and its norm in the type that products are computed in; see `layer_norm.add_norm`."""
    kind = x.device.type
    cast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if cast else x.dtype
    return add_norm(x, added, gate, norm.weight, norm.bias, norm.eps, dtype=dtype)


def _gain(scale: nn.Module) -> Tensor | None:
    return scale.gamma if isinstance(scale, LayerScale) else None
