"""Which part of the stored pictures a container wants shown: MP4's and MOV's clean aperture, Matroska's pixel cropping.

FFmpeg knows both but PyAV does not hand them on, so they are read here: the box ``clap`` (ISO/IEC 14496-12, 12.1.4;
QuickTime File Format, "Clean aperture") and PixelCropLeft and its like (RFC 9559, 5.1.4.1.28.8).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

_BEFORE_ENTRIES, _BEFORE_BOXES = 8, 78  # bytes of a sample table, and of a visual entry, before the boxes within
_LARGEST_INDEX = 64 * 2**20  # bytes of an index that are read; real ones have far fewer
_EBML, _SEGMENT, _CLUSTER, _TRACKS, _TRACK = b"\x1a\x45\xdf\xa3", 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE
_TRACK_TYPE, _VIDEO, _IS_VIDEO = 0x83, 0xE0, 1
_LEFT, _TOP, _RIGHT, _BOTTOM = 0x54CC, 0x54BB, 0x54DD, 0x54AA


class Aperture(NamedTuple):
    """Pixels that are cut off at each side of the stored picture."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def aperture_of(path: Path, track: int, order: int, size: tuple[int, int]) -> Aperture:
    """What the container at ``path`` cuts off; nothing if it does not say so, or if its word makes no sense.

    track: the stream's number in an MP4 or MOV. order: how many video streams come before it. size: (width, height)
    of the decoded pictures.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            file.seek(0)
            found = _pixel_crop(file, order) if head.startswith(_EBML) else _clean_aperture(file, track, size)
    except (OSError, struct.error, IndexError, ZeroDivisionError):  # damaged: FFmpeg made sense of the rest
        return Aperture()
    left, top, right, bottom = found
    sensible = min(found) >= 0 and left + right < size[0] and top + bottom < size[1]
    return found if sensible else Aperture()


def _clean_aperture(file: BinaryIO, track: int, size: tuple[int, int]) -> Aperture:
    """The box ``clap`` of the ``track``. It tells the size shown and how far its middle lies from the picture's."""
    file.seek(0, 2)
    for kind, start, end in _boxes_of_file(file, file.tell()):
        if kind == b"moov" and end - start <= _LARGEST_INDEX:
            file.seek(start)
            index = file.read(end - start)
            for trak in _inside(index, b"trak"):
                for tkhd in _inside(trak, b"tkhd"):
                    # Version 1 has times of 8 bytes before the number.
                    number = struct.unpack_from(">I", tkhd, 20 if tkhd[0] else 12)[0]
                    box = _first(trak, b"mdia", b"minf", b"stbl", b"stsd") if number == track else None
                    if box is not None:
                        return _from_description(box, size)
    return Aperture()


def _from_description(stsd: bytes, size: tuple[int, int]) -> Aperture:
    for _, start, end in _boxes(stsd, _BEFORE_ENTRIES):
        for kind, at, _ in _boxes(stsd[start:end], _BEFORE_BOXES):
            if kind == b"clap":
                numbers = struct.unpack_from(">IIIIiIiI", stsd, start + at)
                width, height, right_by, down_by = (
                    Fraction(n, d) for n, d in zip(numbers[::2], numbers[1::2], strict=True)
                )
                left, top = (size[0] - width) / 2 + right_by, (size[1] - height) / 2 + down_by
                return Aperture(round(left), round(top), size[0] - round(left + width), size[1] - round(top + height))
        return Aperture()
    return Aperture()


def _first(box: bytes, *names: bytes) -> bytes | None:
    """The content of the box that lies in ``box`` under the ``names``, one within the other."""
    for name in names:
        inner = next(_inside(box, name), None)
        if inner is None:
            return None
        box = inner
    return box


def _inside(box: bytes, name: bytes) -> Iterator[bytes]:
    return (box[start:end] for kind, start, end in _boxes(box, 0) if kind == name)


def _boxes(data: bytes, at: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box in ``data`` from ``at`` on."""
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            size, start = struct.unpack_from(">Q", data, start)[0], start + 8
        end = len(data) if size == 0 else at + size
        if end < start or end > len(data):
            return
        yield kind, start, end
        at = end


def _boxes_of_file(file: BinaryIO, length: int) -> Iterator[tuple[bytes, int, int]]:
    """The same for the boxes of a whole file, whose contents are not read."""
    at = 0
    while at + 8 <= length:
        file.seek(at)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        start = at + 8
        if size == 1:
            size, start = struct.unpack_from(">Q", head, 8)[0], at + 16
        end = length if size == 0 else at + size
        if end < start:
            return
        yield kind, start, min(end, length)
        at = end


def _pixel_crop(file: BinaryIO, order: int) -> Aperture:
    """PixelCrop* of the video track that comes after ``order`` others."""
    file.seek(0, 2)
    length = file.tell()
    at = 0
    while at < length:
        file.seek(at)
        kind, start, end = _element(file.read(12), 0)
        start, end = at + start, at + end if end >= 0 else length
        if kind == _TRACKS and end - start <= _LARGEST_INDEX:
            file.seek(start)
            tracks = file.read(end - start)
            entries = [tracks[a:b] for k, a, b in _elements(tracks) if k == _TRACK]
            videos = [e for e in entries if _number(e, _TRACK_TYPE) == _IS_VIDEO]
            video = next((videos[order][a:b] for k, a, b in _elements(videos[order]) if k == _VIDEO), b"")
            return Aperture(*(_number(video, side) for side in (_LEFT, _TOP, _RIGHT, _BOTTOM)))
        # The segment is entered; other elements are passed over. Tracks come before the first cluster.
        if kind == _CLUSTER:
            return Aperture()
        at = start if kind == _SEGMENT else end
    return Aperture()


def _number(data: bytes, wanted: int) -> int:
    return next((int.from_bytes(data[a:b], "big") for kind, a, b in _elements(data) if kind == wanted), 0)


def _elements(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of the content of each EBML element in ``data``."""
    at = 0
    while at < len(data):
        kind, start, end = _element(data, at)
        yield kind, start, end if end >= 0 else len(data)
        if end < 0:
            return
        at = end


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Kind, start and end of the content of the EBML element at ``at``; the end is -1 where its length is unknown."""
    wide = 9 - data[at].bit_length()
    if wide > 8:
        raise struct.error("no EBML element")
    kind = int.from_bytes(data[at : at + wide], "big")
    at += wide
    wide = 9 - data[at].bit_length()
    if wide > 8:
        raise struct.error("no EBML length")
    length = int.from_bytes(data[at : at + wide], "big") & ((1 << 7 * wide) - 1)
    at += wide
    return kind, at, -1 if length == (1 << 7 * wide) - 1 else at + length
