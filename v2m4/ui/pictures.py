"""Small pictures for the page, kept in Gradio's cache under names made from their content."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from gradio.processing_utils import save_bytes_to_cache, save_file_to_cache
from gradio.utils import get_upload_folder
from numpy.typing import NDArray
from PIL import Image, ImageFilter

_SIDE = 192
_LARGE = 448
_REMEMBERED = 4096
_OUTLINE = (255, 106, 61)


def publish(path: Path) -> str:
    """A copy of ``path`` that the browser may fetch."""
    return save_file_to_cache(path, get_upload_folder())


def thumbnail(picture: Path | NDArray[np.uint8], side: int = _SIDE) -> str:
    """A WebP of at most ``side`` pixels, transparency kept; returns its path in the cache."""
    if isinstance(picture, Path):
        return _remembered(_thumbnail, picture, _stamp(picture), side)
    return _shrunk(Image.fromarray(picture), side)


def masked_picture(frame: Path, masked: Path, side: int = _LARGE) -> str:
    """The frame without its padding, its background dimmed and the object's outline drawn; returns its path in the
    cache."""
    return _remembered(_masked_picture, frame, _stamp(frame), masked, _stamp(masked), side)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written anew."""
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def _remembered(make: Any, *what: Any) -> str:
    """The picture that ``make`` made of ``what`` already, if the sweep of old files has left it there: a run is shown
    again and again, to each tab, and when it begins after the look at its masks."""
    path = make(*what)
    if not Path(path).exists():
        make.cache_clear()
        path = make(*what)
    os.utime(path)
    return path


@lru_cache(maxsize=_REMEMBERED)
def _thumbnail(picture: Path, _stamp: tuple[int, int], side: int) -> str:
    with Image.open(picture) as image:
        return _shrunk(image, side)


def _shrunk(image: Image.Image, side: int) -> str:
    small = image.convert("RGBA")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _save(small)


@lru_cache(maxsize=_REMEMBERED)
def _masked_picture(
    frame: Path, _frame_stamp: tuple[int, int], masked: Path, _masked_stamp: tuple[int, int], side: int
) -> str:
    with Image.open(frame) as a, Image.open(masked) as b:
        picture, alpha = a.convert("RGBA"), b.convert("RGBA").getchannel("A")
        box = picture.getchannel("A").getbbox() or (0, 0, *picture.size)
        picture, alpha = picture.crop(box), alpha.crop(box)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    alpha = alpha.resize(picture.size, Image.Resampling.LANCZOS)
    mask = alpha.point(lambda v: 255 if v > 127 else 0)
    dimmed = Image.blend(picture.convert("RGB"), Image.new("RGB", picture.size, (128, 134, 140)), 0.55)
    pixels = np.array(Image.composite(picture.convert("RGB"), dimmed, alpha))
    pixels[np.asarray(mask.filter(ImageFilter.MaxFilter(5))) > np.asarray(mask)] = _OUTLINE
    return _save(Image.fromarray(pixels))


def url(path: str) -> str:
    """Where the browser finds a published file, whatever its name; relative, so that it works behind any prefix."""
    return f"gradio_api/file={quote(path)}"


def _save(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "WEBP", quality=82)
    return save_bytes_to_cache(data.getvalue(), "picture.webp", get_upload_folder())
