"""Readers of moving pictures: video files (PyAV), animated pictures (Pillow), folders and zips of pictures.

Each is a `Source`: facts from its header, and ``frames()``, which decodes them one at a time, upright, as sRGB.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from v2m4.errors import V2M4Error
from v2m4.sources.pictures import AnimationSource, PictureSource
from v2m4.sources.source import ACCEPTED, Source, TimedFrame
from v2m4.sources.stream import StreamSource

__all__ = ["VIDEO_SUFFIXES", "Source", "TimedFrame", "open_source", "require_input"]
VIDEO_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v", ".gif", ".zip")
# Path() has folded the second slash already.
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]+:/|data:)", re.IGNORECASE)
_SIGNATURES = (b"GIF8", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")


def require_input(path: Path) -> None:
    """Raise V2M4Error unless there is a file or folder at ``path``."""
    try:
        found, leads = path.exists(), path.is_symlink()
    except OSError:  # a name longer than the file system's
        found = leads = False
    if found:
        return
    if _ADDRESS.match(str(path)):
        raise V2M4Error(f"{path} is an address, and only files on this machine are read. Download the video first.")
    if leads:
        raise V2M4Error(f"{path} is a link that leads nowhere. Give the video itself, or mend the link.")
    raise V2M4Error(f"There is no file or folder {path}. Check the path; a video can be {ACCEPTED}.")


def open_source(path: Path, pictures_fps: float) -> Source:
    """The reader for ``path``, chosen by what the file holds rather than by its name."""
    require_input(path)
    if path.is_dir():
        return PictureSource.of_folder(path, pictures_fps)
    if not path.is_file():
        raise V2M4Error(f"{path} is neither a file nor a folder. Give {ACCEPTED}.")
    try:
        if path.stat().st_size == 0:
            raise V2M4Error(f"{path.name} is empty (0 bytes). Copy or download it again.")
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise V2M4Error(f"Cannot read {path}: {error.strerror}. Check its permissions.") from error
    if head[:4] == b"PK\x03\x04" or zipfile.is_zipfile(path):
        return PictureSource.of_zip(path, pictures_fps)
    if head.startswith(_SIGNATURES) or head[8:12] == b"WEBP":
        return AnimationSource(path)
    return StreamSource(path)
