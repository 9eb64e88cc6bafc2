"""The picture side of TripoSR: the object cut out with a margin, on grey."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from v2m4.errors import V2M4Error

FOREGROUND_RATIO = 0.85
BACKGROUND = 0.5


def object_square(rgba: NDArray[np.uint8], foreground_ratio: float = FOREGROUND_RATIO) -> NDArray[np.uint8]:
    """The object of (H, W, 4) in the middle of a square whose side it fills to `foreground_ratio`, never resized.

    The box of alpha > 0 loses its last row and column, as the released code has it. Raises V2M4Error if the picture
    shows nothing.
    """
    rows, columns = np.nonzero(rgba[..., 3] > 0)
    if len(rows) == 0 or rows.min() == rows.max() or columns.min() == columns.max():
        raise V2M4Error("TripoSR: the picture shows no object to build. Check the background removal of this frame.")
    box = rgba[rows.min() : rows.max(), columns.min() : columns.max()]
    side = max(box.shape[:2])
    return _padded(_padded(box, side), int(side / foreground_ratio))


def _padded(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    rows, columns = (side - n for n in picture.shape[:2])
    margins = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0))
    return np.pad(picture, margins)


def on_grey(rgba: NDArray[np.uint8], background: float = BACKGROUND) -> NDArray[np.uint8]:
    """Straight-alpha (H, W, 4) over a grey of `background`, cut to eight bits rather than rounded: (H, W, 3)."""
    values = rgba.astype(np.float32) / 255
    alpha = values[..., 3:]
    return ((values[..., :3] * alpha + background * (1 - alpha)) * 255).astype(np.uint8)


def network_image(image: Tensor, size: int) -> Tensor:
    """(..., H, W, 3) in [0, 1] squeezed to (..., 3, size, size), bilinearly and with antialiasing."""
    channels_first = image.movedim(-1, -3)
    batch = channels_first.reshape(-1, *channels_first.shape[-3:])
    resized = F.interpolate(batch, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
    return resized.reshape(*channels_first.shape[:-2], size, size)


def prepare(rgba: NDArray[np.uint8], size: int) -> Tensor:
    """(H, W, 4) uint8 with straight alpha to the network's (3, size, size) in [0, 1]."""
    picture = on_grey(object_square(rgba))
    return network_image(torch.from_numpy(picture.astype(np.float32) / 255), size)
