"""The features of frames: a residual network whose four levels are joined at a quarter of the resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TINY = 1e-12  # least squared norm of a feature


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each with instance norm; the way around them has a strided 1x1 where sizes change."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride)) if stride != 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(F.instance_norm(self.conv1(x)))
        y = F.relu(F.instance_norm(self.conv2(y)))
        around = x if self.downsample is None else F.instance_norm(self.downsample(x))
        return F.relu(around + y)


def _stage(width: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(width, out, stride), ResidualBlock(out, out, 1))


class FeatureEncoder(nn.Module):
    """Frames (T, 3, H, W) in [-1, 1] to features (T, latent, H / stride, W / stride)."""

    def __init__(self, latent: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        widths = (latent // 2, latent // 4 * 3, latent, latent)
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, padding=3)
        self.layer1 = _stage(widths[0], widths[0], 1)
        self.layer2 = _stage(widths[0], widths[1], 2)
        self.layer3 = _stage(widths[1], widths[2], 2)
        self.layer4 = _stage(widths[2], widths[3], 2)
        self.conv2 = nn.Conv2d(sum(widths), 2 * latent, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * latent, latent, 1)

    def forward(self, frames: Tensor) -> Tensor:
        size = (frames.shape[2] // self.stride, frames.shape[3] // self.stride)
        x = F.relu(F.instance_norm(self.conv1(frames)))
        levels = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            levels.append(F.interpolate(x, size, mode="bilinear", align_corners=True))
        return self.conv3(F.relu(F.instance_norm(self.conv2(torch.cat(levels, dim=1)))))


def unit_length(features: Tensor) -> Tensor:
    """Features (T, C, h, w) divided by their lengths."""
    return features / features.square().sum(1, keepdim=True).clamp_min(_TINY).sqrt()
