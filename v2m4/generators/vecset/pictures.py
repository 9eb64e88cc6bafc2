"""What the picture sides of vector-set generators share: 8-bit pictures in, normalised tensors out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.generators.trellis.conditioning import IMAGE_SIZE
from v2m4.nn.dinov2 import IMAGE_MEAN, IMAGE_STD

Picture = NDArray[np.uint8]


def normalised(values: Tensor) -> Tensor:
    """(..., 3, H, W) in [0, 1] with the mean and deviation of ImageNet removed."""
    mean, std = (torch.tensor(v, device=values.device)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
    return (values - mean) / std


def as_values(picture: Picture) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)


def resized_rgba(image: Image.Image, size: int = IMAGE_SIZE) -> Picture:
    """The (size, size, 4) picture with straight alpha that the paper's release hands on, through [0, 1] and back."""
    # Pillow filters RGBA with premultiplied colours, so that transparent pixels do not bleed into the edge.
    small = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))
    return (small.astype(np.float32) / 255 * 255).astype(np.uint8)


def alpha_box(alpha: Picture, plug: str) -> tuple[int, int, int, int]:
    """Box (left, upper, right, lower) of what is not fully transparent; right and lower are outside.

    Raises V2M4Error for an empty picture.
    """
    rows, columns = np.nonzero(alpha.any(1))[0], np.nonzero(alpha.any(0))[0]
    if len(rows) < 2 or len(columns) < 2:
        raise V2M4Error(
            f"{plug}: the picture shows no object (hardly any pixel is left after background removal). "
            f"Check the background removal of this frame."
        )
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
