"""The picture side of TripoSG: the object cropped, on white, squared with a margin, 224 pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from v2m4.generators.triposg.checkpoints import PLUG
from v2m4.generators.vecset.pictures import Picture, alpha_box, as_values, normalised

PADDING_RATIO = 0.1
SHORTEST_EDGE = 256
IMAGE_SIZE = 224


def object_on_white(
    rgb: Picture, alpha: NDArray[np.float32], box: tuple[int, int, int, int], padding_ratio: float = PADDING_RATIO
) -> NDArray[np.float32]:
    """(H, W, 3) uint8 under `alpha` (H, W) in [0, 1], cut to `box` (left, upper, right, lower), nearly square.

    The margin is `padding_ratio` of the longer side; everything around the object is white (1).
    """
    values = rgb.astype(np.float32) / 255
    blended = values * alpha[..., None] + (1 - alpha[..., None])
    left, upper, right, lower = box
    cut = blended[upper:lower, left:right]
    height, width = cut.shape[:2]
    across = down = int(padding_ratio * max(width, height))
    if width > height:
        down = int(across + (width - height) / 2)
    else:
        across = int(down + (height - width) / 2)
    return np.pad(cut, ((down, down), (across, across), (0, 0)), constant_values=1.0)


def object_picture(rgba: Picture, padding_ratio: float = PADDING_RATIO) -> Picture:
    """The object of (H, W, 4) straight-alpha `rgba` as the image processor gets it, (H', W', 3) uint8."""
    alpha: NDArray[np.float32] = rgba[..., 3].astype(np.float32) / np.float32(255)
    prepared = object_on_white(rgba[..., :3], alpha, alpha_box(rgba[..., 3], PLUG), padding_ratio)
    return (prepared * 255).astype(np.uint8)


def centre_crop(picture: Picture, shortest_edge: int = SHORTEST_EDGE, size: int = IMAGE_SIZE) -> Picture:
    """(H, W, 3) uint8 -> (size, size, 3): the shortest side to `shortest_edge` pixels, then the middle."""
    height, width = picture.shape[:2]
    scale = shortest_edge / min(height, width)
    whole = (shortest_edge, int(height * scale)) if width <= height else (int(width * scale), shortest_edge)
    image = Image.fromarray(picture).resize(whole, Image.Resampling.BICUBIC)
    left, upper = ((side - size) // 2 for side in whole)
    return np.asarray(image.crop((left, upper, left + size, upper + size)))


def encoder_input(rgba: Picture) -> Tensor:
    """(H, W, 4) uint8 -> (1, 3, 224, 224) float32, normalised."""
    return normalised(as_values(centre_crop(object_picture(rgba))))[None]
