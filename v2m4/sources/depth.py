"""Pictures of every depth, mode and colour profile as sRGB RGBA of 8 bits, each by the full range that it can hold."""

from __future__ import annotations

import io
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_BITS, _SAMPLE_FORMAT = 258, 339  # TIFF's tags; format 2 is signed
_SIGNED = 2


def to_rgba(image: Image.Image) -> NDArray[np.uint8]:
    """(H,W,4) of a picture in whatever mode, its colours converted from the ICC profile that it brings, if any.

    Whole numbers are scaled from their full range (16 bits: value / 257); negative ones are black. Floating-point
    values are taken to reach up to 1, or to 255 or 65535 if the picture holds larger ones.
    """
    alpha = None
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        alpha = _keyed_alpha(image)
        image = Image.fromarray(_deep(image))
    elif image.mode == "LAB":
        converted = ImageCms.applyTransform(image, _from_lab())
        assert converted is not None
        image, profile = converted, None
    elif image.mode == "HSV":
        image = image.convert("RGB")
    rgba = np.array(image.convert("RGBA"))
    if profile:
        rgba[..., :3] = _by_profile(image, profile)
    if alpha is not None:
        rgba[..., 3] = alpha
    return rgba


def _by_profile(image: Image.Image, profile: bytes) -> NDArray[np.uint8]:
    """(H,W,3) sRGB of a picture whose colours are those of an ICC profile; a broken profile counts for nothing."""
    mode = image.mode if image.mode in ("L", "CMYK") else {"1": "L", "LA": "L", "La": "L"}.get(image.mode, "RGB")
    image = image.convert("RGBA").convert(mode) if mode == "RGB" else image.convert(mode)
    try:
        converted = ImageCms.applyTransform(image, _from_profile(profile, mode))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        converted = image.convert("RGB")
    return np.asarray(converted, np.uint8)


@lru_cache(maxsize=8)
def _from_profile(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), mode, "RGB"
    )


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
