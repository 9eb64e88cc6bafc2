"""Images in the form that DUSt3R was trained on."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

PATCH = 16


def network_image(image: Tensor, size: int) -> Tensor:
    """(3, H', W') in [-1, 1] on the CPU, sides multiples of 16, of one `image` (H, W, 3) in [0, 1].

    As the authors do: cut to 8 bits, longer side resized to `size` (Lanczos when it shrinks, else bicubic), middle cut
    out so that the sides divide by 16.
    """
    eight_bit = (image.clamp(0, 1) * 255).to(torch.uint8).cpu().numpy()
    picture = Image.fromarray(np.ascontiguousarray(eight_bit))
    longer = max(picture.size)
    resampling = Image.Resampling.LANCZOS if longer > size else Image.Resampling.BICUBIC
    width, height = (round(side * size / longer) for side in picture.size)
    picture = picture.resize((width, height), resampling)
    half_width, half_height = (side // 2 * 2 // PATCH * PATCH // 2 for side in (width, height))
    left, top = width // 2 - half_width, height // 2 - half_height
    picture = picture.crop((left, top, left + 2 * half_width, top + 2 * half_height))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255 * 2 - 1
