"""VGGT's backbone: a DINOv2 patch encoder, then frame-wise and global attention in turn (arXiv 2503.11651).

The patch encoder is DINOv2 with registers (arXiv 2304.07193, 2309.16588). Parameter names are the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from v2m4.nn.dinov2 import IMAGE_MEAN, IMAGE_STD, Dinov2, Dinov2Config
from v2m4.nn.transformer import Block, Rotation, grid_positions, rotation_tables

BLOCK_EPS = 1e-5


@dataclass(frozen=True)
class AggregatorConfig:
    """Sizes of the backbone; the defaults are those of VGGT-1B. `img_size` is the side of the position table."""

    img_size: int = 518
    patch_size: int = 14
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 4.0
    num_register_tokens: int = 4
    rope_freq: float = 100.0
    init_values: float = 0.01
    dino_depth: int = 24
    dino_num_heads: int = 16
    dino_mlp_ratio: float = 4.0


class Aggregator(nn.Module):
    """Images (B, S, 3, H, W) in [0, 1], sides multiples of the patch, to tokens of S frames seen together."""

    def __init__(self, config: AggregatorConfig = AggregatorConfig()) -> None:
        super().__init__()
        self.config = c = config
        # Slot 0 of the second axis is for the first frame, slot 1 for every other one.
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 1, c.embed_dim))
        self.register_token = nn.Parameter(torch.zeros(1, 2, c.num_register_tokens, c.embed_dim))
        self.patch_embed = Dinov2(
            Dinov2Config(
                width=c.embed_dim,
                depth=c.dino_depth,
                heads=c.dino_num_heads,
                image_size=c.img_size,
                patch_size=c.patch_size,
                mlp_ratio=c.dino_mlp_ratio,
                registers=c.num_register_tokens,
                antialias=True,
            )
        )
        self.frame_blocks = self._blocks()
        self.global_blocks = self._blocks()

    def _blocks(self) -> nn.ModuleList:
        c = self.config
        return nn.ModuleList(
            Block(c.embed_dim, c.num_heads, c.mlp_ratio, BLOCK_EPS, c.init_values, normalise_qk=True)
            for _ in range(c.depth)
        )

    @property
    def first_patch(self) -> int:
        """Index of the first patch token of a frame, after the camera token and the registers."""
        return 1 + self.config.num_register_tokens

    def forward(self, images: Tensor, keep: Container[int]) -> dict[int, Tensor]:
        """Tokens (B, S, P, 2*width) after the pairs of blocks in `keep`: the frame block's beside the global's."""
        b, s = images.shape[:2]
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
        frames = (images.flatten(0, 1) - mean) / std
        patches = self.patch_embed(frames)[:, self.first_patch :]
        x = torch.cat(
            [self._special(self.camera_token, b, s), self._special(self.register_token, b, s), patches], dim=1
        )
        p = x.shape[1]
        rotation = self._rotation((images.shape[3], images.shape[4]), images.device)
        across = self._repeated(rotation, s)
        kept: dict[int, Tensor] = {}
        for k, (frame_block, global_block) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            x = frame_block(x.view(b * s, p, -1), rotation)
            within = x.view(b, s, p, -1)
            x = global_block(x.view(b, s * p, -1), across)
            if k in keep:
                kept[k] = torch.cat([within, x.view(b, s, p, -1)], dim=-1)
        return kept

    def _special(self, token: Tensor, b: int, s: int) -> Tensor:
        first, others = token[:, :1], token[:, 1:].expand(-1, s - 1, -1, -1)
        return torch.cat([first, others], dim=1).expand(b, -1, -1, -1).flatten(0, 1)

    def _rotation(self, size: tuple[int, int], device: torch.device) -> Rotation:
        """Rotary tables of one frame's tokens: special tokens at (0, 0), patches from (1, 1) on."""
        patch = self.config.patch_size
        patches = grid_positions(size[0] // patch, size[1] // patch, device) + 1
        special = patches.new_zeros(self.first_patch, 2)
        head_dim = self.config.embed_dim // self.config.num_heads
        return rotation_tables(torch.cat([special, patches]), head_dim, self.config.rope_freq)

    @staticmethod
    def _repeated(rotation: Rotation, s: int) -> Rotation:
        return rotation[0].repeat(1, s, 1), rotation[1].repeat(1, s, 1)
