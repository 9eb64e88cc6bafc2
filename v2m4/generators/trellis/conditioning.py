"""The image side: cropping the object, and DINOv2 tokens as the condition of both flows.

DINOv2 with registers: Oquab et al. (arXiv 2304.07193), Darcet et al. (arXiv 2309.16588); ViT-L/14. The
tokens are taken before the network's own final norm and normalised without learned weights.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from v2m4.errors import V2M4Error
from v2m4.nn.dinov2 import IMAGE_MEAN, IMAGE_STD, Dinov2

IMAGE_SIZE = 518
CROP_MARGIN = 1.2
ALPHA_THRESHOLD = 0.8 * 255


def crop_box(alpha: NDArray[np.uint8], plug: str = "TRELLIS") -> tuple[int, int, int, int]:
    """Square crop (left, upper, right, lower) in pixels about the opaque part of `alpha` (H, W); may leave the image.

    Raises V2M4Error if no pixel is opaque (alpha above 0.8).
    """
    rows, columns = np.nonzero(alpha > ALPHA_THRESHOLD)
    if len(rows) == 0:
        raise V2M4Error(
            f"{plug}: no opaque pixel is left in the picture, so there is no object to build. "
            "Check the background removal of this frame."
        )
    low = np.array([columns.min(), rows.min()], dtype=np.int64)
    high = np.array([columns.max(), rows.max()], dtype=np.int64)
    half = int((high - low).max() * CROP_MARGIN) // 2
    centre = (low + high) / 2
    left, upper = (round(float(c - half)) for c in centre)
    right, lower = (round(float(c + half)) for c in centre)
    if right <= left:
        raise V2M4Error(
            f"{plug}: the object in the picture is a single pixel. Use a larger picture, or check the cut-out."
        )
    return left, upper, right, lower


def object_image(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The object of (H, W, 4) straight-alpha `rgba`, cropped with a margin, on black: (518, 518, 3) uint8."""
    return on_black(Image.fromarray(rgba, "RGBA").crop(crop_box(rgba[..., 3])))


def on_black(image: Image.Image) -> NDArray[np.uint8]:
    """An RGBA picture squeezed to a square, on black: (518, 518, 3) uint8."""
    # Pillow filters RGBA with premultiplied colours, so that transparent pixels do not bleed into the edge.
    resized = np.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)).astype(np.float32) / 255
    return (resized[..., :3] * resized[..., 3:] * 255).astype(np.uint8)


def encoder_input(image: NDArray[np.uint8]) -> Tensor:
    """RGB (H, W, 3) uint8 -> (3, 518, 518) float32, with the mean and deviation of ImageNet removed."""
    if image.shape[:2] != (IMAGE_SIZE, IMAGE_SIZE):
        resized = Image.fromarray(image).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
        image = np.asarray(resized)
    pixels = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
    return (pixels - mean) / std


def condition_from_tokens(tokens: Tensor) -> Tensor:
    """Encoder tokens (B, T, C) before the encoder's final norm -> condition (B, T, C)."""
    return F.layer_norm(tokens, tokens.shape[-1:])


def negative_condition(cond: Tensor) -> Tensor:
    """The condition that stands for no image: zeros like one item of `cond` (K, T, C) -> (1, T, C)."""
    return torch.zeros_like(cond[:1])


class ImageEncoder(nn.Module):
    """DINOv2 with registers -> condition tokens: class, registers, then patches row by row. Runs in float32."""

    def __init__(self, backbone: Dinov2) -> None:
        """`backbone`: its final norm is taken off."""
        super().__init__()
        self.backbone = backbone
        self.backbone.norm = nn.Identity()

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, 518, 518) from `encoder_input` -> (B, 1374, 1024) for ViT-L/14."""
        return condition_from_tokens(self.backbone(pixels.float()))
