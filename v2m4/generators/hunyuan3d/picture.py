"""The picture side of Hunyuan3D-2: TRELLIS's crop, the object recentred on white, 512 pixels in -1..1, then 518."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from v2m4.generators.hunyuan3d.checkpoints import PLUG
from v2m4.generators.trellis.conditioning import IMAGE_SIZE, crop_box
from v2m4.generators.vecset.pictures import Picture, alpha_box, normalised, resized_rgba

BORDER_RATIO = 0.15
PROCESSOR_SIZE = 512


def cropped(rgba: Picture, size: int = IMAGE_SIZE) -> Picture:
    """TRELLIS's crop of (H, W, 4) with its alpha kept: (size, size, 4) uint8."""
    return resized_rgba(Image.fromarray(rgba, "RGBA").crop(crop_box(rgba[..., 3], PLUG)), size)


def recentred(picture: Picture, border_ratio: float = BORDER_RATIO) -> tuple[Picture, Picture]:
    """The object in the middle of a white square, its longer side 1 - `border_ratio` of it: (S, S, 3) and mask (S, S).

    `picture`: (H, W, 4) with straight alpha, or (H, W, 3), which counts as opaque.
    """
    if picture.shape[2] == 3:
        picture = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    left, upper, right, lower = alpha_box(picture[..., 3], PLUG)
    height, width = lower - 1 - upper, right - 1 - left  # the last row and column stay out, as in the release
    side = max(picture.shape[:2])
    scale = int(side * (1 - border_ratio)) / max(height, width)
    new_height, new_width = int(height * scale), int(width * scale)
    top, start = (side - new_height) // 2, (side - new_width) // 2
    canvas = np.zeros((side, side, 4), np.uint8)
    canvas[top : top + new_height, start : start + new_width] = cv2.resize(
        picture[upper : lower - 1, left : right - 1], (new_width, new_height), interpolation=cv2.INTER_AREA
    )
    alpha = canvas[..., 3:].astype(np.float32) / 255
    blended = canvas[..., :3] * alpha + 255.0 * (1 - alpha)
    return blended.clip(0, 255).astype(np.uint8), canvas[..., 3]


def processed(
    picture: Picture, size: int = PROCESSOR_SIZE, border_ratio: float = BORDER_RATIO
) -> tuple[Tensor, NDArray[np.uint8]]:
    """(H, W, 4) or (H, W, 3) uint8 -> (1, 3, size, size) float32 in -1..1, and the mask (S, S) before resizing."""
    square, mask = recentred(picture, border_ratio)
    resized = cv2.resize(square, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return torch.from_numpy(resized / 255 * 2 - 1).permute(2, 0, 1)[None], mask


def encoder_input(image: Tensor, size: int) -> Tensor:
    """(B, 3, S, S) in -1..1 -> (B, 3, size, size), normalised: what DINOv2 gets."""
    values = F.interpolate((image + 1) / 2, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    return normalised(values)
