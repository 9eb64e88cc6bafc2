"""What the predictors of stereo models have in common: square pictures in, maps at the pictures' own size out."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from v2m4.errors import V2M4Error


class Padding(NamedTuple):
    """Rows and columns added around a picture to make it square."""

    left: int
    right: int
    top: int
    bottom: int


def check_images(images: Tensor, plug: str, fewest: int) -> None:
    """Refuse anything but at least `fewest` pictures as floats (N, H, W, 3)."""
    if images.dim() != 4 or images.shape[-1] != 3 or not images.is_floating_point() or len(images) < fewest:
        raise V2M4Error(
            f"{plug}: needs at least {fewest} pictures as floats (N, height, width, 3) in [0, 1], "
            f"not {tuple(images.shape)} of {images.dtype}. Pass them so."
        )


def pad_to_square(images: Tensor) -> tuple[Tensor, Padding]:
    """`images` (N, H, W, 3) in the middle of black squares (N, S, S, 3), and what was added."""
    height, width = images.shape[1:3]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    padding = Padding(left, side - width - left, top, side - height - top)
    return F.pad(images, (0, 0, *padding)), padding


def maps_to_images(maps: Tensor, side: int, padding: Padding) -> Tensor:
    """`maps` (N, h, h, C) of padded squares, resampled to squares of `side` and freed of their padding."""
    if maps.shape[1] != side:
        channels_first = maps.permute(0, 3, 1, 2)
        resampled = F.interpolate(channels_first, size=(side, side), mode="bilinear", align_corners=False)
        maps = resampled.permute(0, 2, 3, 1)
    return maps[:, padding.top : side - padding.bottom, padding.left : side - padding.right].contiguous()
