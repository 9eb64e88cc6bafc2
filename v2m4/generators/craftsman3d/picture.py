"""The picture side of CraftsMan3D: the object fills 95 % of a white square of 518 pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor

from v2m4.generators.craftsman3d.checkpoints import PLUG
from v2m4.generators.vecset.pictures import Picture, alpha_box, as_values, normalised, resized_rgba

FOREGROUND_RATIO = 0.95
WHITE = (255, 255, 255)


def object_on_white(rgba: Picture, foreground_ratio: float = FOREGROUND_RATIO) -> Picture:
    """The object of (H, W, 4) straight-alpha `rgba` enlarged to the frame, centred on white: (S, S, 3) uint8."""
    height, width = rgba.shape[:2]
    box = alpha_box(rgba[..., 3], PLUG)
    across, down = box[2] - box[0], box[3] - box[1]
    scale = min(height * foreground_ratio / down, width * foreground_ratio / across)
    size = (int(across * scale), int(down * scale))
    image = Image.fromarray(rgba, "RGBA")
    flat = Image.new("RGBA", image.size, (*WHITE, 255))
    flat.alpha_composite(image)
    part = flat.convert("RGB").crop(box).resize(size, Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (width, height), WHITE)
    canvas.paste(part, ((width - size[0]) // 2, (height - size[1]) // 2))
    if width != height:
        side = max(width, height)
        square = Image.new("RGB", (side, side), WHITE)
        square.paste(canvas, ((side - width) // 2, (side - height) // 2))
        canvas = square
    return np.asarray(canvas)


def encoder_input(rgba: Picture) -> Tensor:
    """The whole frame (H, W, 4) uint8 -> (1, 3, 518, 518) float32, normalised."""
    prepared = object_on_white(resized_rgba(Image.fromarray(rgba, "RGBA")))
    return normalised(as_values(prepared))[None]
