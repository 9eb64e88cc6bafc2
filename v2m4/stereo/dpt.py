"""Convolutions of the dense heads of DUSt3R and VGGT: the DPT decoder (arXiv 2103.13413), checkpoint names kept."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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
