"""Pictures of every depth and mode as 8 bit RGBA, each by the full range that it can hold."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_BITS, _SAMPLE_FORMAT = 258, 339  # TIFF's tags; format 2 is signed
_SIGNED = 2


def to_rgba(image: Image.Image) -> NDArray[np.uint8]:
    """(H,W,4) of a picture in whatever mode.

    Whole numbers are scaled from their full range (16 bits: value / 257); negative ones are black. Floating-point
    values are taken to reach up to 1, or to 255 or 65535 if the picture holds larger ones.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = _deep(image)
        return np.dstack([grey, grey, grey, _keyed_alpha(image)])
    if image.mode == "LAB":
        converted = ImageCms.applyTransform(image, _from_lab())
        assert converted is not None
        image = converted
    elif image.mode == "HSV":
        image = image.convert("RGB")
    return np.asarray(image.convert("RGBA"))


def _deep(image: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=0.0)
    if image.mode == "F":
        largest = values.max(initial=0.0)
        peak = next((p for p in (1.0, 255.0, 65535.0) if largest <= p), 1.0 if np.isinf(largest) else largest)
    elif image.mode == "I":
        peak = _peak(image)
    else:
        peak = 65535.0
    return (values * (255 / peak)).round().clip(0, 255).astype(np.uint8)


def _peak(image: Image.Image) -> float:
    """The largest value of a mode that is wider than what the file stores."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:  # PNG and PGM hold at most 16 bits
        return 65535.0
    bits = tags.get(_BITS, (32,))[0]
    signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    return float(2 ** (bits - signed) - 1)


def _keyed_alpha(image: Image.Image) -> NDArray[np.uint8]:
    """Alpha of a deep picture: 0 where it has the value that its file calls transparent."""
    key = image.info.get("transparency")
    clear = np.asarray(image) == key if isinstance(key, int) else np.zeros(image.size[::-1], bool)
    return np.where(clear, 0, 255).astype(np.uint8)


@cache
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
