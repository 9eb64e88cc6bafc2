"""TripoSR (Tochilkin et al., arXiv 2403.02151): one picture to a triplane in one pass, and what a point of it holds.

A ViT makes tokens of the picture (DINO, arXiv 2104.14294); a transformer lets three planes of learned tokens look at
them; each token becomes 2x2 texels of its plane; a small MLP turns the three texels of a point into density and colour
(LRM, arXiv 2311.04400). Parameter names are those of the official checkpoint.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.generators.triposr.config import FieldConfig, TripoSRConfig, ViTConfig

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
_GRID_OFFSET = 0.1  # DINO enlarges its position table to a grid this much finer than asked for, against rounding
_BLOCK_EPS = 1e-5
_GROUP_EPS = 1e-6


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention of `q` (B, T, C) over `k`, `v` (B, S, C); heads are contiguous slices of the channels."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))  # (B, heads, T, C / heads)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class _Dense(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x)


class _ViTProjections(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return attend(self.query(x), self.key(x), self.value(x), self.heads)


class _ViTAttention(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.attention = _ViTProjections(config)
        self.output = _Dense(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.attention(x))


class ViTLayer(nn.Module):
    """Pre-norm transformer block over (B, T, C)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.attention = _ViTAttention(config)
        self.intermediate = _Dense(config.hidden_size, config.intermediate_size)
        self.output = _Dense(config.intermediate_size, config.hidden_size)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.layernorm_before(x))
        return x + self.output(F.gelu(self.intermediate(self.layernorm_after(x))))


class _Patches(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, config.hidden_size, config.patch_size, stride=config.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.projection(images).flatten(2).transpose(1, 2)  # (B, rows * columns, C), row by row


class ViTEmbeddings(nn.Module):
    """Patches of a picture as tokens behind the class token, with positions added."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        side = config.image_size // config.patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + side * side, config.hidden_size))
        self.patch_embeddings = _Patches(config)

    def positions(self, height: int, width: int) -> Tensor:
        """(1, 1 + rows * columns, C) position table for pictures of height x width pixels.

        The table's grid is resampled bicubically by a scale factor, which is not the same as to a size: with the scale
        (g + 0.1) / G the sample i of g lies at (i + 0.5) G / (g + 0.1) - 0.5.
        """
        patch, table = self.config.patch_size, self.position_embeddings
        rows, columns = height // patch, width // patch
        if rows * columns == table.shape[1] - 1 and height == width:
            return table
        side = self.config.image_size // patch
        grid = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, C, G, G)
        scale = ((rows + _GRID_OFFSET) / side, (columns + _GRID_OFFSET) / side)
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
        return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch_embeddings(images)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), tokens], dim=1)
        return tokens + self.positions(images.shape[2], images.shape[3])


class _ViTEncoder(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(ViTLayer(config) for _ in range(config.num_hidden_layers))


class ViT(nn.Module):
    """Normalised pictures (B, 3, H, W) to tokens (B, 1 + rows * columns, C), the class token first."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.embeddings = ViTEmbeddings(config)
        self.encoder = _ViTEncoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        # The checkpoint holds a pooler whose result nothing uses; it is here so that the file loads strictly.
        self.pooler = _Dense(config.hidden_size, config.hidden_size)

    def forward(self, images: Tensor) -> Tensor:
        x = self.embeddings(images)
        for layer in self.encoder.layer:
            x = layer(x)
        return self.layernorm(x)


class ImageTokenizer(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] to tokens."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.model = ViT(config)

    @staticmethod
    def normalised(images: Tensor) -> Tensor:
        """The pictures with the mean and deviation of ImageNet removed."""
        mean, std = (torch.tensor(v, device=images.device).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
        return (images - mean) / std

    def forward(self, images: Tensor) -> Tensor:
        return self.model(self.normalised(images))


class TriplaneTokens(nn.Module):
    """The learned tokens that every triplane starts from: (3, C, P, P)."""

    def __init__(self, config: TripoSRConfig) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(3, config.channels, config.plane_size, config.plane_size))

    def forward(self, batch: int) -> Tensor:
        """(B, C, 3 * P * P), plane by plane, row by row."""
        return self.embeddings.transpose(0, 1).flatten(1).expand(batch, -1, -1)


class CrossAttention(nn.Module):
    """Attention of (B, T, C) over a context (B, S, D)."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.to_out(attend(self.to_q(x), self.to_k(context), self.to_v(context), self.heads))


class _GatedGelu(nn.Module):
    """GEGLU (arXiv 2002.05202): the first half of the channels, gated by the second."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * out)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated MLP, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_GatedGelu(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TriplaneBlock(nn.Module):
    """The planes' tokens (B, T, C) look at each other, then at the picture's tokens (B, S, D)."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_BLOCK_EPS)
        self.attn1 = CrossAttention(width, width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_BLOCK_EPS)
        self.attn2 = CrossAttention(width, context, heads)
        self.norm3 = nn.LayerNorm(width, eps=_BLOCK_EPS)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        own = self.norm1(x)
        x = x + self.attn1(own, own)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Backbone(nn.Module):
    """Start tokens (B, C, T) and the picture's tokens (B, S, D) to the planes' tokens (B, C, T)."""

    def __init__(self, config: TripoSRConfig) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.norm = nn.GroupNorm(config.norm_groups, config.channels, eps=_GROUP_EPS)
        self.proj_in = nn.Linear(config.channels, inner)
        self.transformer_blocks = nn.ModuleList(
            TriplaneBlock(inner, config.vit.hidden_size, config.heads) for _ in range(config.layers)
        )
        self.proj_out = nn.Linear(inner, config.channels)

    def forward(self, start: Tensor, context: Tensor) -> Tensor:
        x = self.proj_in(self.norm(start).transpose(1, 2))  # (B, T, C)
        for block in self.transformer_blocks:
            x = block(x, context)
        return self.proj_out(x).transpose(1, 2) + start


class _Upsampler(nn.Module):
    def __init__(self, config: TripoSRConfig) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(config.channels, config.plane_channels, kernel_size=2, stride=2)

    def forward(self, planes: Tensor) -> Tensor:
        batch = len(planes)
        return self.upsample(planes.flatten(0, 1)).unflatten(0, (batch, 3))  # (B, 3, c, 2P, 2P)


class FieldValues(NamedTuple):
    """At N points: density (N,) as it is and before its exponential, colour (N, 3) likewise its raw values."""

    density: Tensor
    raw_density: Tensor
    color: Tensor
    raw_color: Tensor


class FieldDecoder(nn.Module):
    """Features (N, 3c) of points, of the three planes in a row, to density and colour."""

    def __init__(self, config: FieldConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.in_channels, *[config.neurons] * config.hidden_layers, 4]
        layers: list[nn.Module] = []
        for width, out in pairwise(widths):
            layers += [nn.Linear(width, out), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last; between them is SiLU."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, features: Tensor) -> FieldValues:
        raw = self.layers(features)
        return FieldValues(
            torch.exp(raw[:, 0] + self.config.density_bias), raw[:, 0], torch.sigmoid(raw[:, 1:]), raw[:, 1:]
        )


class TripoSRNetwork(nn.Module):
    """Pictures (B, 3, S, S) in [0, 1] to triplanes (B, 3, c, 2P, 2P); `decoder` reads them."""

    def __init__(self, config: TripoSRConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TripoSRConfig()
        self.image_tokenizer = ImageTokenizer(config.vit)
        self.tokenizer = TriplaneTokens(config)
        self.backbone = Backbone(config)
        self.post_processor = _Upsampler(config)
        self.decoder = FieldDecoder(config.field)

    def forward(self, images: Tensor) -> Tensor:
        context = self.image_tokenizer(images)
        tokens = self.backbone(self.tokenizer(len(images)), context)
        side = self.config.plane_size
        planes = tokens.unflatten(2, (3, side, side)).transpose(1, 2)  # (B, 3, C, P, P)
        return self.post_processor(planes)
