"""Files that another file names: pictures, materials, buffers. Names come from other machines and other systems."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from v2m4.arrays import Float32
from v2m4.host import on_public_host


def find_beside(folder: Path | None, name: str) -> Path | None:
    """The file in or below ``folder`` that is meant by ``name``, as another file writes it; None if there is none, or
    no folder to look in.

    Tried in this order: the name as it stands, absolute or relative; with its %-escapes undone; with backslashes for
    slashes; without an address's query (`skin.png?v=3`); each without regard to case and to how accents are composed;
    and at last its ends, so that `C:\\art\\tex\\skin.png` finds `tex/skin.png` or `skin.png`. Where strangers use the
    program, nothing outside ``folder`` is found.
    """
    if folder is None:
        return None
    spellings = [name, unquote(name), name.replace("\\", "/"), unquote(name).replace("\\", "/")]
    spellings.append(unquote(name.partition("?")[0]).replace("\\", "/"))
    for spelling in dict.fromkeys(s.strip().strip('"') for s in spellings):
        found = _exactly(folder / spelling) if spelling else None
        if found is not None and (not on_public_host() or found.resolve().is_relative_to(folder.resolve())):
            return found
    for spelling in spellings[-2:]:
        tail = [part for part in spelling.strip().strip('"').split("/") if part not in ("", ".", "..")]
        for start in range(len(tail)):
            if (found := _any_case(folder, tail[start:])) is not None:
                return found
    return None


def _exactly(path: Path) -> Path | None:
    try:
        return path if path.is_file() else None
    except (OSError, ValueError):  # a name that this system cannot hold
        return None


def _any_case(folder: Path, parts: list[str]) -> Path | None:
    """The file at ``parts`` below ``folder``; where nothing fits exactly, upper and lower case are taken for the same,
    and so are an accented letter and a letter with an accent (NFC, NFD), of which systems choose one or the other."""
    for number, part in enumerate(parts):
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            return None
        fitting = [e for e in entries if e.name == part] or [e for e in entries if _folded(e.name) == _folded(part)]
        if not fitting:
            return None
        if number == len(parts) - 1:
            return next((e for e in fitting if e.is_file()), None)
        folder = fitting[0]
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def decode_picture(data: bytes) -> Float32:
    """(H,W,3) in [0,1] of an encoded picture; what it has of alpha is left out. ValueError if it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            pixels: NDArray[Any] = np.asarray(picture)
            if pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 1:  # 16 bit; Pillow's own conversion would clip
                grey = np.divide(pixels, 65535, dtype=np.float32)
                return np.stack([grey] * 3, axis=-1)
            return np.divide(np.asarray(picture.convert("RGB")), 255, dtype=np.float32)
    except UnidentifiedImageError as error:  # its own words hold an address in memory
        raise ValueError("it is empty, or no picture of a known kind") from error
    # Decoders of a dozen formats fail in as many ways on damaged data.
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
