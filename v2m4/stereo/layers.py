"""Transformer and convolution parts that DUSt3R and VGGT share.

Sources: pre-norm transformer blocks as in ViT (arXiv 2010.11929) with LayerScale (2103.17239), rotary positions
(2104.09864) in the two-dimensional form of CroCo v2 (2211.10408), and the DPT decoder (2103.13413). Parameter names
are those of the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Precision = Literal["auto", "float32", "tf32", "bfloat16", "float16"]
Rotation = tuple[Tensor, Tensor]


def grid_positions(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(height * width, 2) integer (row, column) of every cell of a grid, row by row."""
    return torch.cartesian_prod(torch.arange(height, device=device), torch.arange(width, device=device))


def rotation_tables(positions: Tensor, head_dim: int, base: float) -> Rotation:
    """Cosines and sines (..., 1, T, head_dim) of 2D rotary positions, for `positions` (..., T, 2) = (row, column).

    The first half of a head turns with the row, the second with the column; inside a half of D channels the
    frequencies are base^(-2k/D), and channel k is paired with channel k + D/2.
    """
    half = head_dim // 2
    frequencies = base ** (-torch.arange(0, half, 2, device=positions.device, dtype=torch.float32) / half)
    angles = positions.to(torch.float32)[..., None] * frequencies
    angles = torch.cat([angles, angles], dim=-1).flatten(-2).unsqueeze(-3)
    return angles.cos(), angles.sin()


def rotate(tokens: Tensor, rotation: Rotation) -> Tensor:
    """Turn `tokens` (..., heads, T, head_dim) by tables from `rotation_tables`; same shape and dtype."""
    cos, sin = rotation
    first, second = tokens.unflatten(-1, (2, 2, -1)).unbind(-2)
    turned = torch.stack([-second, first], dim=-2).flatten(-3)
    return (tokens * cos + turned * sin).to(tokens.dtype)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out or width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


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
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


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
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, normalise_qk)
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), rotation))
        return x + self.ls2(self.mlp(self.norm2(x)))


class ResidualConvUnit(nn.Module):
    """Two 3x3 convolutions with a ReLU before each. `skip_rectified` adds relu(x) to the result instead of x."""

    def __init__(self, width: int, skip_rectified: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.skip_rectified = skip_rectified

    def forward(self, x: Tensor) -> Tensor:
        rectified = F.relu(x)
        change = self.conv2(F.relu(self.conv1(rectified)))
        return change + (rectified if self.skip_rectified else x)


class FusionBlock(nn.Module):
    """Add a finer level's map to the coarser result, refine, project, enlarge."""

    def __init__(self, width: int, skip_rectified: bool, two_inputs: bool) -> None:
        super().__init__()
        if two_inputs:
            self.resConfUnit1 = ResidualConvUnit(width, skip_rectified)
        self.resConfUnit2 = ResidualConvUnit(width, skip_rectified)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, coarse: Tensor, fine: Tensor | None, size: tuple[int, int]) -> Tensor:
        x = coarse if fine is None else coarse + self.resConfUnit1(fine)
        # A 1x1 convolution commutes with bilinear enlargement (the weights add up to one); before it, it is four
        # times cheaper.
        return enlarge(self.out_conv(self.resConfUnit2(x)), size)


def enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear enlargement of (B, C, h, w) to `size`, corner pixels kept in the corners."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """What "auto" means on `device`: bfloat16 where the GPU computes it, float16 on older ones, float32 on a CPU."""
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def store_linears(module: nn.Module, precision: Precision) -> None:
    """Keep the weights of the linear layers in the half-precision type they are multiplied in; the rest stays."""
    if precision in ("bfloat16", "float16"):
        for part in module.modules():
            if isinstance(part, nn.Linear):
                part.to(getattr(torch, precision))


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run matrix products in `precision` inside the block; settings found are restored afterwards.

    "tf32" allows ten-bit mantissas in float32 products, as the original DUSt3R does on a GPU.
    """
    before = torch.get_float32_matmul_precision()
    half = precision in ("bfloat16", "float16")
    try:
        if precision == "tf32":
            torch.set_float32_matmul_precision("high")
        with torch.autocast(device.type, getattr(torch, precision) if half else None, enabled=half):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
