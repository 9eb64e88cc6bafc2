"""DUSt3R's network (Wang et al., "DUSt3R: Geometric 3D Vision Made Easy", CVPR 2024, arXiv 2312.14132).

A ViT encoder shared by both images, two decoders that attend to each other's tokens level by level, and a dense head
per view. Both point maps come out in the camera frame of the first image. Parameter names are the checkpoint's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from v2m4.errors import V2M4Error
from v2m4.nn.transformer import (
    Attention,
    Block,
    Mlp,
    PatchProjection,
    Rotation,
    add_and_norm,
    attend,
    grid_positions,
    rotate,
    rotation_tables,
    through,
)
from v2m4.stereo.dust3r.head import LEVELS, DownstreamHead, Dpt, points_and_confidence

EPS = 1e-6


@dataclass(frozen=True)
class Dust3rConfig:
    """Sizes of the network; the defaults are those of `DUSt3R_ViTLarge_BaseDecoder_512_dpt`."""

    patch_size: int = 16
    rope_base: float = 100.0
    mlp_ratio: float = 4.0
    enc_embed_dim: int = 1024
    enc_depth: int = 24
    enc_num_heads: int = 16
    dec_embed_dim: int = 768
    dec_depth: int = 12
    dec_num_heads: int = 12
    confidence_range: tuple[float, float] = (1.0, math.inf)
    feature_dim: int = 256
    last_dim: int = 128
    layer_dims: tuple[int, ...] = (96, 192, 384, 768)
    hooks: tuple[int, ...] | None = None

    @property
    def levels_read(self) -> tuple[int, ...]:
        """Which token lists the head reads: 0 is the encoder's, k that of decoder block k."""
        return self.hooks or (0, self.dec_depth * 2 // 4, self.dec_depth * 3 // 4, self.dec_depth)

    @classmethod
    def from_official(cls, model: Mapping[str, Any], head: Mapping[str, Any] | None = None) -> Dust3rConfig:
        """Read the constructor values that checkpoints of this family carry (`config.json`), and head widths.

        Raises V2M4Error for members of the family whose head or activation is another one.
        """
        depth_mode, *_ = model.get("depth_mode", ("exp",))
        if model.get("head_type", "dpt") != "dpt" or depth_mode != "exp":
            raise V2M4Error("dust3r: this checkpoint has another kind of head. Give one with a DPT head and exp depth.")
        position = str(model.get("pos_embed", "RoPE100"))
        mode, low, high = model.get("conf_mode", ("exp", 1, "inf"))
        if not position.startswith("RoPE") or mode != "exp":
            raise V2M4Error(
                "dust3r: this checkpoint has no rotary positions or another confidence. Give the official one."
            )
        values = dict(model) | {name: tuple(v) if isinstance(v, list) else v for name, v in (head or {}).items()}
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        return cls(rope_base=float(position[4:]), confidence_range=(float(low), float(high)), **known)


class Encoded(NamedTuple):
    """Images after the encoder: `tokens` (B, rows*cols, width) and the patch grid (rows, cols)."""

    tokens: Tensor
    grid: tuple[int, int]


class PairMaps(NamedTuple):
    """Point maps of B ordered pairs, all in the first image's camera frame: (B, H, W, 3), confidence > 1 (B, H, W)."""

    points1: Tensor
    confidence1: Tensor
    points2: Tensor
    confidence2: Tensor


class CrossAttention(nn.Module):
    """Attention of one view's tokens to the other view's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, rotation: Rotation, memory_rotation: Rotation) -> Tensor:
        q, k, v = (
            project(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project, tokens in ((self.projq, x), (self.projk, memory), (self.projv, memory))
        )
        attended = attend(rotate(q, rotation), rotate(k, memory_rotation), v)
        return self.proj(attended.transpose(1, 2).flatten(2))


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to the other view, MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads)
        self.cross_attn = CrossAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.norm3 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.norm_y = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor, memory: Tensor, rotation: Rotation, memory_rotation: Rotation) -> Tensor:
        _, h = add_and_norm(x, None, None, self.norm1)
        x, h = add_and_norm(x, self.attn(h, rotation), None, self.norm2)
        x, h = add_and_norm(x, self.cross_attn(h, self.norm_y(memory), rotation, memory_rotation), None, self.norm3)
        return x + self.mlp(h)


class AsymmetricCroCo3DStereo(nn.Module):
    """Two images, each (B, 3, H, W) in [-1, 1] with sides that are multiples of the patch, to `PairMaps`.

    The steps are separate (`encode`, `decode`, `head`), so that images that take part in many pairs are encoded once.
    """

    def __init__(self, config: Dust3rConfig = Dust3rConfig()) -> None:
        super().__init__()
        self.config = c = config
        # Part of the checkpoint (it served the masked pre-training); unused when point maps are inferred.
        self.mask_token = nn.Parameter(torch.zeros(1, 1, c.dec_embed_dim))
        self.patch_embed = PatchProjection(c.patch_size, c.enc_embed_dim)
        self.enc_blocks = nn.ModuleList(
            Block(c.enc_embed_dim, c.enc_num_heads, c.mlp_ratio, EPS) for _ in range(c.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(c.enc_embed_dim, eps=EPS)
        self.decoder_embed = nn.Linear(c.enc_embed_dim, c.dec_embed_dim)
        self.dec_blocks = nn.ModuleList(
            DecoderBlock(c.dec_embed_dim, c.dec_num_heads, c.mlp_ratio) for _ in range(c.dec_depth)
        )
        self.dec_norm = nn.LayerNorm(c.dec_embed_dim, eps=EPS)
        self.dec_blocks2 = nn.ModuleList(
            DecoderBlock(c.dec_embed_dim, c.dec_num_heads, c.mlp_ratio) for _ in range(c.dec_depth)
        )
        self.downstream_head1 = DownstreamHead(self._dpt())
        self.downstream_head2 = DownstreamHead(self._dpt())

    def _dpt(self) -> Dpt:
        c = self.config
        widths = [c.enc_embed_dim if level == 0 else c.dec_embed_dim for level in c.levels_read]
        return Dpt(widths, c.layer_dims, c.feature_dim, c.last_dim, c.patch_size)

    def encode(self, images: Tensor) -> Encoded:
        """Tokens of `images` (B, 3, H, W) in [-1, 1]."""
        patches = self.patch_embed.proj(images)
        grid = (patches.shape[2], patches.shape[3])
        rotation = self._rotation(grid, self.config.enc_embed_dim // self.config.enc_num_heads, images.device)
        tokens = patches.flatten(2).transpose(1, 2)
        return Encoded(self.enc_norm(through(self.enc_blocks, tokens, rotation)), grid)

    def decode(self, first: Encoded, second: Encoded) -> tuple[list[Tensor], list[Tensor]]:
        """Token lists of both views; entry 0 is the encoder's, entry k decoder block k's, the last one normalised."""
        width = self.config.dec_embed_dim // self.config.dec_num_heads
        rotation1 = self._rotation(first.grid, width, first.tokens.device)
        rotation2 = self._rotation(second.grid, width, second.tokens.device)
        lists1, lists2 = [first.tokens], [second.tokens]
        x1, x2 = self.decoder_embed(first.tokens), self.decoder_embed(second.tokens)
        for block1, block2 in zip(self.dec_blocks, self.dec_blocks2, strict=True):
            x1, x2 = block1(x1, x2, rotation1, rotation2), block2(x2, x1, rotation2, rotation1)
            lists1.append(x1)
            lists2.append(x2)
        lists1[-1], lists2[-1] = self.dec_norm(x1), self.dec_norm(x2)
        return lists1, lists2

    def head(self, view: int, lists: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Raw head output (B, 4, H, W) of view 1 or 2."""
        dpt = (self.downstream_head1 if view == 1 else self.downstream_head2).dpt
        return dpt([lists[level].float() for level in self.config.levels_read], grid)

    def maps(self, view: int, lists: Sequence[Tensor], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Points (B, H, W, 3) in the first image's camera frame and confidence (B, H, W) of view 1 or 2, float32."""
        with torch.autocast(lists[0].device.type, enabled=False):
            return points_and_confidence(self.head(view, lists, grid), self.config.confidence_range)

    def pair(self, first: Encoded, second: Encoded) -> PairMaps:
        """Point maps of encoded pairs."""
        lists1, lists2 = self.decode(first, second)
        return PairMaps(*self.maps(1, lists1, first.grid), *self.maps(2, lists2, second.grid))

    def forward(self, images1: Tensor, images2: Tensor) -> PairMaps:
        return self.pair(self.encode(images1), self.encode(images2))

    def _rotation(self, grid: tuple[int, int], head_dim: int, device: torch.device) -> Rotation:
        return rotation_tables(grid_positions(*grid, device), head_dim, self.config.rope_base)


def second_names() -> dict[str, str]:
    """Further names under which a `.pth` of this family lists tensors, to the names used here (and in safetensors)."""
    return {
        f"downstream_head{view}.dpt.scratch.layer_rn.{level}.weight": (
            f"downstream_head{view}.dpt.scratch.layer{level + 1}_rn.weight"
        )
        for view in (1, 2)
        for level in range(LEVELS)
    }


def with_second_decoder(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state_dict`, its one decoder doubled if it is from before the two decoders were trained apart."""
    doubled = dict(state_dict)
    if not any(name.startswith("dec_blocks2.") for name in state_dict):
        for name, tensor in state_dict.items():
            if name.startswith("dec_blocks."):
                doubled[name.replace("dec_blocks.", "dec_blocks2.", 1)] = tensor
    return doubled
