"""From a cut-out picture to how the object may lean, and to what fills each pixel's ray if it leans so.

A U-Net (Ronneberger et al. 2015) of residual blocks whose coarsest level is a transformer (Vaswani et al. 2017). Its
output's channels are samples along the depth of each pixel's ray, so the volume lies in the camera's frustum and its
front on the rays of the pixels (as the frustum grids of pixel-aligned reconstruction, Saito et al. 2019).

A picture often has two readings: the head or the tail may be nearer. A single answer to it lies between them, flat. So
the network answers twice: how likely each lean is (slopes of the visible surface, to the right and downwards), then,
told one of them, all depths.

Units. The crop is a square of the picture; lengths are such that it is 1 wide at the depth ``away`` = 1 / (width of
the crop in the camera's plane at depth 1). Slice s of a column lies at depth ``away`` + s on the ray (x, y, 1).
The visible surface lies at ``away`` on average over its pixels: one picture cannot tell the scale, and this fixes it.
"""

from __future__ import annotations

import math
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
LEANS = 27  # bins of the lean along each axis, odd: one is upright
STEEPEST = math.radians(78)  # angle of the last bin
_WAVES = (1, 2, 4, 8)  # frequencies in which a lean is told


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


class Glance(NamedTuple):
    """What the network keeps of a picture: features (B,C,…) from fine to coarse, tokens (B,N,width), and what it thinks
    of these when told no lean."""

    one: Tensor
    two: Tensor
    three: Tensor
    tokens: Tensor
    thought: Tensor


class LeanHead(nn.Module):
    """Tokens (B,N,width) to logits (B,LEANS,LEANS) of the slopes downwards and, last, to the right."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.asks = nn.Parameter(torch.randn(1, heads, 4, width // heads))
        self.kv = nn.Linear(width, 2 * width)
        self.mlp = nn.Sequential(nn.Linear(4 * width, width), nn.GELU(), nn.Linear(width, LEANS * LEANS))

    def forward(self, tokens: Tensor) -> Tensor:
        b, n, c = tokens.shape
        k, v = self.kv(self.norm(tokens)).view(b, n, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        told = F.scaled_dot_product_attention(self.asks.expand(b, -1, -1, -1).to(k), k, v)  # (B,heads,4,c/heads)
        out: Tensor = self.mlp(told.transpose(1, 2).reshape(b, -1)).view(b, LEANS, LEANS)
        return out


class ColumnNetwork(nn.Module):
    """(B,CHANNELS,PICTURE,PICTURE) to a `Prediction`: a `look`, its `leans`, the `answer` if one is told."""

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
        self.leaning = LeanHead(d, heads)
        self.told = nn.Sequential(nn.Linear(4 * len(_WAVES) + 1, d), nn.GELU(), nn.Linear(d, d))
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

    def look(self, x: Tensor) -> Glance:
        """What an input shows."""
        one = self.level1(self.stem(x))
        two = self.level2(self.down1(one))
        three = self.level3(self.down2(two))
        tokens = self.down3(three).flatten(2).transpose(1, 2) + self.place  # (B,16*16,d)
        return Glance(one, two, three, tokens, self._thought(tokens))

    def leans(self, seen: Glance) -> Tensor:
        """(B,LEANS,LEANS) logits of how the visible surface leans: its slope downwards and, last, to the right, in the
        equal steps of its angle up to `STEEPEST`."""
        out: Tensor = self.leaning(seen.thought).float()
        return out

    def answer(
        self, seen: Glance, lean: Tensor | None = None, known: Tensor | None = None, pixels: Tensor | None = None
    ) -> Prediction:
        """What fills the rays. lean: (B,2) slopes to the right and downwards that are told, where ``known`` (B,).

        pixels: (B,N) indices into the flattened grid; only their columns are answered, as (B,SLICES,N,1)."""
        features = self._features(seen, lean, known)
        depths, exist = self._layered(features)
        asked = features
        if pixels is not None:
            asked = features.flatten(2).gather(2, pixels[:, None].expand(-1, features.shape[1], -1))[..., None]
        return Prediction(self.columns(asked), depths, exist, torch.sigmoid(self.colors(features)))

    def layers_of(self, seen: Glance, lean: Tensor | None = None) -> Tensor:
        """(B,2*LAYERS,GRID,GRID) the layers of an `answer`, without the rest."""
        return self._layered(self._features(seen, lean, None))[0]

    def forward(
        self, x: Tensor, lean: Tensor | None = None, known: Tensor | None = None, pixels: Tensor | None = None
    ) -> tuple[Prediction, Tensor]:
        """`answer` and `leans` to one input."""
        seen = self.look(x)
        return self.answer(seen, lean, known, pixels), self.leans(seen)

    def _features(self, seen: Glance, lean: Tensor | None, known: Tensor | None) -> Tensor:
        tokens = seen.thought
        if lean is not None:
            told = self.told(_words(lean, math.isqrt(tokens.shape[1])))  # (B,16*16,d)
            tokens = self._thought(seen.tokens + (told if known is None else told * known[:, None, None]))
        side = math.isqrt(tokens.shape[1])
        four = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
        three = self.join3(torch.cat([self.up3(four), seen.three], dim=1))
        two = self.join2(torch.cat([self.up2(three), seen.two], dim=1))
        one = self.join1(torch.cat([self.up1(two), seen.one], dim=1))
        return F.silu(self.norm(one))  # (B,C,GRID,GRID)

    def _layered(self, features: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.layers(features).float()
        gaps = F.softplus(raw[:, 1 : 2 * LAYERS] - 2)
        return torch.cumsum(torch.cat([raw[:, :1], gaps], dim=1), dim=1), raw[:, 2 * LAYERS :]

    def _thought(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def __call__(self, *args: Any) -> Any:
        return super().__call__(*args)


def _words(lean: Tensor, side: int) -> Tensor:
    """(B,side*side,4*len(_WAVES)+1): slopes (B,2) as waves of their angles, and depths of the plane that leans so."""
    angle = torch.atan(lean)
    waves = torch.stack([f(n * angle) for n in _WAVES for f in (torch.sin, torch.cos)], dim=-1).flatten(1)  # (B,16)
    at = (torch.arange(side, device=lean.device) + 0.5) / side - 0.5
    plane = lean[:, :1, None] * at + lean[:, 1:, None] * at[:, None]  # (B,side,side)
    return torch.cat([waves[:, None].expand(-1, side * side, -1), plane.reshape(len(lean), -1, 1)], dim=-1)


def _groups(width: int) -> int:
    return next(g for g in (16, 12, 8, 6, 4, 3, 2, 1) if width % g == 0)
