"""VGGT's heads: a world point for every pixel, and a camera for every frame. Parameter names are the checkpoint's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.nn.transformer import Block, Mlp
from v2m4.stereo.dpt import FusionBlock, enlarge

EPS = 1e-5
LEVELS = 4
POSITION_WEIGHT = 0.1
POSITION_BASE = 100.0
POSE_NUMBERS = 9


class PointHead(nn.Module):
    """DPT decoder: tokens (B, S, P, 2*width) of four levels to raw points and confidence (B*S, 4, H, W)."""

    def __init__(
        self, dim_in: int, patch_size: int, features: int, out_channels: Sequence[int], levels_read: Sequence[int]
    ) -> None:
        super().__init__()
        self.patch_size, self.levels_read = patch_size, tuple(levels_read)
        a, b, _, d = out_channels
        self.norm = nn.LayerNorm(dim_in, eps=EPS)
        self.projects = nn.ModuleList(nn.Conv2d(dim_in, channels, 1) for channels in out_channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(a, a, 4, stride=4),
                nn.ConvTranspose2d(b, b, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(d, d, 3, stride=2, padding=1),
            ]
        )
        self.scratch = nn.Module()
        for level, channels in enumerate(out_channels, start=1):
            self.scratch.add_module(f"layer{level}_rn", nn.Conv2d(channels, features, 3, padding=1, bias=False))
            self.scratch.add_module(f"refinenet{level}", FusionBlock(features, True, two_inputs=level < LEVELS))
        last = 32
        self.scratch.add_module("output_conv1", nn.Conv2d(features, features // 2, 3, padding=1))
        self.scratch.add_module(
            "output_conv2",
            nn.Sequential(nn.Conv2d(features // 2, last, 3, padding=1), nn.ReLU(), nn.Conv2d(last, 4, 1)),
        )

    def forward(self, tokens: Mapping[int, Tensor], first_patch: int, size: tuple[int, int]) -> Tensor:
        """`tokens` by level, `size` = (H, W) of the images. Raw output (B*S, 4, H, W)."""
        x = self.fuse(self.pyramid(tokens, first_patch, size))[-1]
        x = self.scratch.get_submodule("output_conv1")(x)
        x = enlarge(x, size)
        return self.scratch.get_submodule("output_conv2")(self._placed(x, size))

    def projected(self, tokens: Mapping[int, Tensor], first_patch: int, size: tuple[int, int]) -> list[Tensor]:
        """The patch tokens of the four levels as maps (B*S, out_channels[k], rows, cols)."""
        grid = (size[0] // self.patch_size, size[1] // self.patch_size)
        patches = [self.norm(tokens[level][:, :, first_patch:].flatten(0, 1).float()) for level in self.levels_read]
        maps = [x.transpose(1, 2).unflatten(2, grid) for x in patches]
        return [project(x) for project, x in zip(self.projects, maps, strict=True)]

    def pyramid(self, tokens: Mapping[int, Tensor], first_patch: int, size: tuple[int, int]) -> list[Tensor]:
        """The four maps (B*S, features, h, w) that the fusion blocks read, finest first."""
        projected = self.projected(tokens, first_patch, size)
        maps = [resize(self._placed(x, size)) for resize, x in zip(self.resize_layers, projected, strict=True)]
        return [self.scratch.get_submodule(f"layer{level}_rn")(x) for level, x in enumerate(maps, start=1)]

    def fuse(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Results of the fusion blocks, coarsest first."""
        results: list[Tensor] = []
        for level in range(LEVELS, 0, -1):
            own = pyramid[level - 1]
            finer = pyramid[level - 2].shape[2:] if level > 1 else (2 * own.shape[2], 2 * own.shape[3])
            block = self.scratch.get_submodule(f"refinenet{level}")
            coarse, fine = (results[-1], own) if results else (own, None)
            results.append(block(coarse, fine, (finer[0], finer[1])))
        return results

    @staticmethod
    def _placed(x: Tensor, size: tuple[int, int]) -> Tensor:
        """`x` (B, C, h, w) with a faint map of where each cell lies in the image added."""
        return x + POSITION_WEIGHT * position_map(x.shape[1], (x.shape[2], x.shape[3]), size).to(x.device, x.dtype)


def position_map(channels: int, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(channels, h, w) sines and cosines of the cell centres of `grid`, for images of `size` = (H, W).

    Centres are measured from the middle in units of half the image diagonal; the first half of the channels holds x,
    the second y, each as [sine, cosine] at frequencies 100^(-k/K), k < K = channels/4.
    """
    count = channels // 4
    frequencies = POSITION_BASE ** (-torch.arange(count, dtype=torch.float64) / count)
    diagonal = math.hypot(*size)

    def waves(cells: int, side: int) -> Tensor:
        edge = side / diagonal * (cells - 1) / cells
        angles = torch.linspace(-edge, edge, cells, dtype=torch.float64) * frequencies[:, None]
        return torch.cat([angles.sin(), angles.cos()])

    x = waves(grid[1], size[1])[:, None, :].expand(-1, grid[0], -1)
    y = waves(grid[0], size[0])[:, :, None].expand(-1, -1, grid[1])
    return torch.cat([x, y]).float()


def points_and_confidence(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Points (B, H, W, 3) = sign(v) (e^|v| - 1) and confidence (B, H, W) = 1 + e^c of raw output (B, 4, H, W)."""
    v = raw[:, :3].permute(0, 2, 3, 1)
    return v.sign() * torch.expm1(v.abs()), 1 + raw[:, 3].exp()


class CameraHead(nn.Module):
    """Camera tokens (B, S, 2*width) to pose vectors (B, S, 9), improved over a few rounds with the same weights.

    A vector is translation (3), quaternion x, y, z, w (4), vertical and horizontal field of view in radians (2).
    """

    def __init__(self, dim_in: int, trunk_depth: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(
            Block(dim_in, num_heads, mlp_ratio, EPS, layer_scale=0.01) for _ in range(trunk_depth)
        )
        self.token_norm = nn.LayerNorm(dim_in, eps=EPS)
        self.trunk_norm = nn.LayerNorm(dim_in, eps=EPS)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, POSE_NUMBERS))
        self.embed_pose = nn.Linear(POSE_NUMBERS, dim_in)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim_in, 3 * dim_in))
        self.pose_branch = Mlp(dim_in, dim_in // 2, POSE_NUMBERS)

    def forward(self, camera_tokens: Tensor, rounds: int = 4) -> list[Tensor]:
        """The pose vectors (B, S, 9) after each round; the last entry is the result."""
        tokens = self.token_norm(camera_tokens)
        plain = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        vector: Tensor | None = None
        reported: list[Tensor] = []
        for _ in range(rounds):
            guess = self.empty_pose_tokens.expand(*tokens.shape[:2], -1) if vector is None else vector
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(guess)).chunk(3, dim=-1)
            x = tokens + gate * (plain * (1 + scale) + shift)
            for block in self.trunk:
                x = block(x)
            change = self.pose_branch(self.trunk_norm(x))
            vector = change if vector is None else vector + change
            reported.append(torch.cat([vector[..., :7], vector[..., 7:].relu()], dim=-1))
        return reported
