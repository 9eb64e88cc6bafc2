"""PLY files as other programs leave them: comments in any encoding, textures under names of other machines, colours
under several names, faces of several sizes (Turk, “The PLY Polygon File Format”, 1994)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from v2m4.arrays import Float32
from v2m4.formats.beside import decode_picture, find_beside
from v2m4.formats.wavefront import decode_text

MOST_HEADER = 1 << 20  # bytes
_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
_COLORS = {
    **{f"{prefix}{name}": name for prefix in ("diffuse_", "vertex_") for name in ("red", "green", "blue")},
    "r": "red",
    "g": "green",
    "b": "blue",
}


@dataclass
class PlyText:
    """A PLY file in which trimesh finds only what it reads, and the texture, if there is one: its bytes
    and, decoded, its picture (H,W,3)."""

    data: bytes
    texture: bytes | None = None
    picture: Float32 | None = None
    warnings: list[str] = field(default_factory=list)

    TEXTURE = "texture"

    @classmethod
    def of(cls, data: bytes, folder: Path | None, what: str) -> PlyText:
        """From a PLY file's content and the texture in ``folder`` that its header names. what: how warnings call it."""
        end = data.find(b"end_header", 0, MOST_HEADER)
        if end < 0:
            raise ValueError("it has no header of a PLY file")
        lines = data[:end].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        out = cls(b"")
        kept = []
        for line in lines:
            words = line.split(None, 2)
            if not words or words[0] not in (b"comment", b"obj_info"):
                kept.append(_color_named(line))
            elif len(words) == 3 and words[1].lower() == b"texturefile":
                out._find_texture(decode_text(words[2]).strip(), folder, what)
        if out.texture is not None:
            kept.insert(2, f"comment TextureFile {cls.TEXTURE}".encode())
        # What follows the header's last line starts after that line's own end.
        rest = data[end + len(b"end_header") :]
        rest = rest[2:] if rest[:2] == b"\r\n" else rest[1:]
        kept, rest = _in_triangles([line for line in kept if line.strip()], rest)
        out.data = b"\n".join([*kept, b"end_header\n"]) + rest
        return out

    @property
    def named(self) -> dict[str, bytes]:
        """What the header refers to: the texture, if there is one."""
        return {} if self.texture is None else {self.TEXTURE: self.texture}

    def _find_texture(self, name: str, folder: Path | None, what: str) -> None:
        found = find_beside(folder, name)
        try:
            if found is None:
                raise ValueError("it is not there")
            data = found.read_bytes()
            self.picture = decode_picture(data)
            self.texture = data
        except (ValueError, OSError) as error:
            self.warnings.append(
                f"The texture “{name}” of the {what} is left out: {error}. Put it beside the file, as PNG or JPEG."
            )


def _color_named(line: bytes) -> bytes:
    """A header's line with the usual name for a colour where it has another."""
    words = line.split()
    name = words[-1].decode("latin-1") if len(words) == 3 and words[0] == b"property" else ""
    return b" ".join([*words[:-1], _COLORS[name].encode()]) if name in _COLORS else line


@dataclass
class _Element:
    """An element of a header: its line's number, how many there are, and its properties: the type of a list's length
    ("" for no list), that of its numbers, and the name."""

    line: int
    name: str
    count: int
    properties: list[tuple[str, str, str]] = field(default_factory=list)


def _elements(lines: list[bytes], order: str) -> list[_Element]:
    """The elements that a header declares. ValueError if it cannot be understood."""
    found: list[_Element] = []
    for number, line in enumerate(lines):
        words = line.decode("latin-1").split()
        if words[0] == "element" and len(words) == 3:
            found.append(_Element(number, words[1], int(words[2])))
        elif words[0] == "property" and found and len(words) in (3, 5) and set(words[1:-1]) <= {*_TYPES, "list"}:
            length = order + _TYPES[words[2]] if len(words) == 5 else ""
            found[-1].properties.append((length, order + _TYPES[words[-2]], words[-1]))
        elif words[0] == "property":
            raise ValueError(f"its header has a line that is not understood: {' '.join(words)[:80]}")
    return found


def _in_triangles(lines: list[bytes], body: bytes) -> tuple[list[bytes], bytes]:
    """Header and body of a binary file whose faces differ in size, with triangles for faces; of others, as they are."""
    forms = [line.split()[1] for line in lines if line.startswith(b"format ") and len(line.split()) > 1]
    order = {b"binary_little_endian": "<", b"binary_big_endian": ">"}.get(forms[0] if forms else b"", "")
    elements = _elements(lines, order) if order else []
    number = next((i for i, element in enumerate(elements) if element.name == "face" and element.count), None)
    if number is None or any(length for e in elements[:number] for length, *_ in e.properties):
        return lines, body
    face = elements[number]
    start = sum(e.count * sum(np.dtype(kind).itemsize for _, kind, _ in e.properties) for e in elements[:number])
    if _alike(face, body, start):
        return lines, body
    places, sizes, kind, end = _corners(face, body, start)
    if not kind or (sizes == sizes[0]).all():
        return lines, body
    # Polygons of one size after the other, as fans.
    data, width = np.frombuffer(body, np.uint8), np.dtype(kind).itemsize
    fans = []
    for size in np.unique(sizes[sizes > 2]):
        taken = places[sizes == size, None] + np.arange(size * width)
        polygons = data[taken].view(kind).astype(np.int64)
        fans.append(np.stack([polygons[:, [0, i, i + 1]] for i in range(1, int(size) - 1)], 1).reshape(-1, 3))
    triangles = np.concatenate(fans) if fans else np.zeros((0, 3), np.int64)
    rows = np.zeros(len(triangles), np.dtype([("size", "u1"), ("corners", order + "i4", 3)]))
    rows["size"], rows["corners"] = 3, triangles
    after = [i for i in range(face.line + 1, len(lines)) if not lines[i].startswith(b"property")]
    header = [f"element face {len(rows)}".encode(), b"property list uchar int vertex_indices"]
    header = [*lines[: face.line], *header, *lines[after[0] if after else len(lines) :]]
    return header, body[:start] + rows.tobytes() + body[end:]


def _alike(face: _Element, body: bytes, start: int) -> bool:
    """Whether all faces, of nothing but their corners, are as large as the first: then each need not be looked at."""
    length, number, _ = face.properties[0]
    if len(face.properties) > 1 or not length:
        return False
    size = np.dtype(length).itemsize
    first = body[start : start + size]
    row = size + int.from_bytes(first, "big" if length[0] == ">" else "little") * np.dtype(number).itemsize
    if not first or start + row * face.count > len(body):
        return False
    rows = np.frombuffer(body, np.uint8, row * face.count, start).reshape(face.count, row)
    return bool((rows[:, :size] == np.frombuffer(first, np.uint8)).all())


def _corners(face: _Element, body: bytes, start: int) -> tuple[NDArray[np.int64], NDArray[np.int64], str, int]:
    """Where each face's corner numbers start in the body and how many they are; their type ("" where there are none),
    and where the faces end. ValueError if the body is too short."""
    least = sum(np.dtype(length or number).itemsize for length, number, _ in face.properties)
    if start + face.count * least > len(body):
        raise ValueError("its faces end before its header says")
    places = np.zeros(face.count, np.int64)
    sizes = np.zeros(face.count, np.int64)
    lists: list[tuple[Any, int, bool]] = []
    kind = ""
    for length, number, name in face.properties:
        corners = name in ("vertex_indices", "vertex_index")
        kind = number if corners and length else kind
        lists.append((np.dtype(length) if length else None, np.dtype(number).itemsize, corners))
    at = start
    for index in range(face.count):
        for length, width, corners in lists:
            if length is None:
                at += width
                continue
            if at + length.itemsize > len(body):
                raise ValueError("its faces end before its header says")
            size = int.from_bytes(body[at : at + length.itemsize], "little" if length.str[0] != ">" else "big")
            at += length.itemsize
            if corners:
                places[index], sizes[index] = at, size
            at += size * width
    if at > len(body):
        raise ValueError("its faces end before its header says")
    return places, sizes, kind, at
