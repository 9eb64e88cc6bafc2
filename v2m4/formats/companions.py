"""The files that a mesh file names: they belong to its content."""

from __future__ import annotations

import json
import re
from pathlib import Path

from v2m4.formats.beside import find_beside
from v2m4.formats.wavefront import decode_text, split_map

_URI = re.compile(rb'"uri"\s*:\s*("(?!data:)(?:[^"\\]|\\.)+")')
_LIBRARY = re.compile(r"^\s*mtllib\s+(.+?)\s*$", re.MULTILINE)
_MAP = re.compile(r"^\s*map_kd\s+(.+?)\s*$", re.MULTILINE | re.IGNORECASE)
_TEXTURE = re.compile(rb"^comment\s+TextureFile\s+(.+?)\s*$", re.MULTILINE | re.IGNORECASE)


def companions(path: Path) -> list[Path]:
    """The material files, pictures and buffers that a glTF, GLB, OBJ or PLY file names, as far as they are there.

    Files of other kinds name none.
    """
    suffix = path.suffix.lower()
    if suffix not in (".gltf", ".glb", ".obj", ".ply") or not path.is_file():
        return []
    data = path.read_bytes()
    names: list[str] = []
    if suffix == ".ply":
        names = [decode_text(name) for name in _TEXTURE.findall(data.partition(b"end_header")[0])]
    elif suffix == ".obj":
        libraries = [name for line in _LIBRARY.findall(decode_text(data)) for name in (line, *line.split())]
        found = _found(path.parent, libraries)
        texts = [decode_text(library.read_bytes()) for library in found]
        maps = [
            _found(library.parent, [split_map(line)[1] for line in _MAP.findall(text)])
            for library, text in zip(found, texts, strict=True)
        ]
        return list(dict.fromkeys([*found, *(picture for pictures in maps for picture in pictures)]))
    else:
        # The description of a GLB is its first chunk.
        end = 20 + int.from_bytes(data[12:16], "little") if data[:4] == b"glTF" else len(data)
        names = [_unquoted(uri) for uri in _URI.findall(data[:end])]
    return _found(path.parent, names)


def _found(folder: Path, names: list[str]) -> list[Path]:
    return list(dict.fromkeys(p for p in (find_beside(folder, name) for name in names) if p is not None))


def _unquoted(uri: bytes) -> str:
    try:
        return str(json.loads(uri))
    except ValueError:
        return ""
