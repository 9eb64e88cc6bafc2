"""The dense head of DUSt3R: transformer tokens to one 3D point and one confidence per pixel.

DPT decoder (arXiv 2103.13413) with the widths of the released checkpoint; parameter names are the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.stereo.dpt import FusionBlock, enlarge

LEVELS = 4


class Dpt(nn.Module):
    """Four levels of tokens, each (B, rows*cols, width of that level), to (B, 4, 16*rows, 16*cols).

    `level_widths` are the channels of the tokens read, `layer_dims` those of the four pyramid levels.
    """

    def __init__(
        self, level_widths: Sequence[int], layer_dims: Sequence[int], feature_dim: int, last_dim: int, patch_size: int
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        a, b, _, d = layer_dims
        to = [nn.Conv2d(width, dim, 1) for width, dim in zip(level_widths, layer_dims, strict=True)]
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(to[0], nn.ConvTranspose2d(a, a, 4, stride=4)),
                nn.Sequential(to[1], nn.ConvTranspose2d(b, b, 2, stride=2)),
                nn.Sequential(to[2]),
                nn.Sequential(to[3], nn.Conv2d(d, d, 3, stride=2, padding=1)),
            ]
        )
        self.scratch = nn.Module()
        for level, dim in enumerate(layer_dims, start=1):
            self.scratch.add_module(f"layer{level}_rn", nn.Conv2d(dim, feature_dim, 3, padding=1, bias=False))
            self.scratch.add_module(f"refinenet{level}", FusionBlock(feature_dim, False, two_inputs=True))
        self.head = nn.Sequential(
            nn.Conv2d(feature_dim, feature_dim // 2, 3, padding=1),
            nn.Identity(),
            nn.Conv2d(feature_dim // 2, last_dim, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(last_dim, 4, 1),
        )

    def level_maps(self, levels: Sequence[Tensor], grid: tuple[int, int]) -> list[Tensor]:
        """The tokens of the four levels as maps (B, layer_dims[k], h, w) at 4, 2, 1 and 1/2 times the patch grid."""
        maps = [tokens.transpose(1, 2).unflatten(2, grid) for tokens in levels]
        return [process(x) for process, x in zip(self.act_postprocess, maps, strict=True)]

    def pyramid(self, levels: Sequence[Tensor], grid: tuple[int, int]) -> list[Tensor]:
        """The four maps (B, feature_dim, h, w) that the fusion blocks read, finest (a quarter of the image) first."""
        maps = self.level_maps(levels, grid)
        return [self.scratch.get_submodule(f"layer{level}_rn")(x) for level, x in enumerate(maps, start=1)]

    def fuse(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Results of the fusion blocks, coarsest first; the last one has half the image's size."""
        results: list[Tensor] = []
        for level in range(LEVELS, 0, -1):
            own = pyramid[level - 1]
            double = (2 * own.shape[2], 2 * own.shape[3])
            block = self.scratch.get_submodule(f"refinenet{level}")
            if results:
                # On an odd grid twice the coarsest level has one row or column more than the next level.
                coarse = results[-1][:, :, : own.shape[2], : own.shape[3]]
                results.append(block(coarse, own, double))
            else:
                results.append(block(own, None, double))
        return results

    def forward(self, levels: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        x = self.head[0](self.fuse(self.pyramid(levels, grid))[-1])
        x = enlarge(x, (grid[0] * self.patch_size, grid[1] * self.patch_size))
        return self.head[4](F.relu(self.head[2](x)))


class DownstreamHead(nn.Module):
    """Name space of the checkpoint: one head per view, its network under `dpt`."""

    def __init__(self, dpt: Dpt) -> None:
        super().__init__()
        self.dpt = dpt


def points_and_confidence(raw: Tensor, confidence_range: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Points (B, H, W, 3) and confidence (B, H, W) of raw head output (B, 4, H, W).

    A point is a direction times e^n - 1, n being the length of the raw vector; confidence is low + e^c, at most
    high, for `confidence_range` = (low, high).
    """
    xyz = raw[:, :3].permute(0, 2, 3, 1).float()
    length = xyz.norm(dim=-1, keepdim=True)
    points = xyz / length.clamp(min=1e-8) * torch.expm1(length)
    low, high = confidence_range
    confidence = low + raw[:, 3].float().exp().clamp(max=high - low)
    return points, confidence
