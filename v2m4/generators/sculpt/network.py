"""From a cut-out picture to what fills each pixel's ray: columns of occupancy, and the colours of the far sides.

A U-Net (Ronneberger et al. 2015) of residual blocks whose coarsest level is a transformer (Vaswani et al. 2017). Its
output's channels are samples along the depth of each pixel's ray, so the volume lies in the camera's frustum and its
front on the rays of the pixels (as the frustum grids of pixel-aligned reconstruction, Saito et al. 2019).

Units. The crop is a square of the picture; lengths are such that it is 1 wide at the depth ``away`` = 1 / (width of
the crop in the camera's plane at depth 1). Slice s of a column lies at depth ``away`` + s on the ray (x, y, 1).
The visible surface lies at ``away`` on average over its pixels: one picture cannot tell the scale, and this fixes it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PICTURE = 256  # side of the crop that the network sees
GRID = 128  # columns per side of what it returns
SLICES = 112  # samples per column
NEAREST, FARTHEST = -0.65, 1.05  # what they cover, in depth relative to ``away``
LAYERS = 3  # times that a ray can enter and leave the object, for the layered answer
CHANNELS = 6  # red, green, blue, opacity, and the ray's x and y


def slice_depths(device: torch.device | str = "cpu") -> Tensor:
    """(SLICES,) depths of a column's samples relative to ``away``: centres of equal parts of what they cover."""
    return NEAREST + (torch.arange(SLICES, device=device) + 0.5) / SLICES * (FARTHEST - NEAREST)


def network_input(rgb: Tensor, alpha: Tensor, rays: Tensor) -> Tensor:
    """(B,CHANNELS,PICTURE,PICTURE) from colours (B,3,…) and opacity (B,1,…) in [0,1] and ray slopes (B,2,…)."""
    return torch.cat([(rgb - 0.5) * alpha * 2, alpha * 2 - 1, rays * 2], dim=1)


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, inner: int, outer: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(_groups(inner), inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
        self.norm2 = nn.GroupNorm(_groups(outer), outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
        self.shortcut = nn.Conv2d(inner, outer, 1) if inner != outer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = self.shortcut(x) + h
        return out


class Block(nn.Module):
    """A transformer block over all places of the coarsest level."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        split = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, c // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # (B,heads,N,c/heads) each
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        x = x + self.out(mixed)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Prediction(NamedTuple):
    """What fills the rays of GRID x GRID pixels.

    columns: (B,SLICES,GRID,GRID) logits of occupancy. layers: (B,2*LAYERS,GRID,GRID) depths relative to ``away``, in
    order: entry, exit, entry, … exist: (B,LAYERS,GRID,GRID) logits of there being that layer. colors: (B,6,GRID,GRID)
    in [0,1]: of the first exit (what closes the visible part), then of the last (what one sees from behind).
    """

    columns: Tensor
    layers: Tensor
    exist: Tensor
    colors: Tensor


class ColumnNetwork(nn.Module):
    """(B,CHANNELS,PICTURE,PICTURE) to a `Prediction`."""

    def __init__(self, widths: tuple[int, ...] = (48, 96, 192, 320), depth: int = 5, heads: int = 5, head: int = 256):
        super().__init__()
        a, b, c, d = widths
        side = PICTURE // 16
        self.stem = nn.Conv2d(CHANNELS, a, 4, stride=2, padding=1)  # (B,a,128,128)
        self.level1 = Residual(a, a)
        self.down1 = nn.Conv2d(a, b, 2, stride=2)  # (B,b,64,64)
        self.level2 = nn.Sequential(Residual(b, b), Residual(b, b))
        self.down2 = nn.Conv2d(b, c, 2, stride=2)  # (B,c,32,32)
        self.level3 = nn.Sequential(Residual(c, c), Residual(c, c))
        self.down3 = nn.Conv2d(c, d, 2, stride=2)  # (B,d,16,16)
        self.place = nn.Parameter(torch.randn(1, side * side, d) * 0.02)
        self.blocks = nn.ModuleList(Block(d, heads) for _ in range(depth))
        self.up3 = nn.ConvTranspose2d(d, c, 2, stride=2)
        self.join3 = nn.Sequential(Residual(2 * c, c), Residual(c, c))
        self.up2 = nn.ConvTranspose2d(c, b, 2, stride=2)
        self.join2 = nn.Sequential(Residual(2 * b, b), Residual(b, b))
        self.up1 = nn.ConvTranspose2d(b, b, 2, stride=2)
        self.join1 = Residual(a + b, b)
        self.norm = nn.GroupNorm(_groups(b), b)
        self.columns = nn.Sequential(nn.Conv2d(b, head, 1), nn.SiLU(), nn.Conv2d(head, SLICES, 1))
        self.layers = nn.Sequential(nn.Conv2d(b, head, 1), nn.SiLU(), nn.Conv2d(head, 3 * LAYERS, 1))
        self.colors = nn.Sequential(nn.Conv2d(b, 64, 1), nn.SiLU(), nn.Conv2d(64, 6, 1))

    def features(self, x: Tensor) -> Tensor:
        """(B,C,GRID,GRID) features of the columns."""
        one = self.level1(self.stem(x))
        two = self.level2(self.down1(one))
        three = self.level3(self.down2(two))
        four = self.down3(three)
        tokens = four.flatten(2).transpose(1, 2) + self.place  # (B,16*16,d)
        for block in self.blocks:
            tokens = block(tokens)
        four = tokens.transpose(1, 2).reshape(four.shape)
        three = self.join3(torch.cat([self.up3(four), three], dim=1))
        two = self.join2(torch.cat([self.up2(three), two], dim=1))
        one = self.join1(torch.cat([self.up1(two), one], dim=1))
        return F.silu(self.norm(one))

    def forward(self, x: Tensor) -> Prediction:
        features = self.features(x)
        raw = self.layers(features).float()
        gaps = F.softplus(raw[:, 1 : 2 * LAYERS] - 2)
        depths = torch.cumsum(torch.cat([raw[:, :1], gaps], dim=1), dim=1)
        return Prediction(self.columns(features), depths, raw[:, 2 * LAYERS :], torch.sigmoid(self.colors(features)))

    def __call__(self, *args: Any) -> Any:
        return super().__call__(*args)


def _groups(width: int) -> int:
    return next(g for g in (16, 12, 8, 6, 4, 3, 2, 1) if width % g == 0)
