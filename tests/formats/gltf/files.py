"""Small glTF files made by hand, in every way the specification has of saying the same."""

from __future__ import annotations

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
CODES = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}

# A bent strip of four quads, no two corners alike in anything.
POSITIONS = np.array([[x, y, 0.1 * x * x - 0.2 * y] for x in range(5) for y in (0.0, 1.0)], np.float32)
UV = np.stack([POSITIONS[:, 0] / 4, 0.25 + 0.5 * POSITIONS[:, 1]], 1).astype(np.float32)
FACES = np.array([[a + d for d in t] for a in (0, 2, 4, 6) for t in ((0, 2, 1), (1, 2, 3))], np.uint16)
COLORS = np.linspace(0.1, 1.0, 30).reshape(10, 3).astype(np.float32)


class File:
    """A document being written: `view` and `accessor` add data, ``json`` is the rest."""

    def __init__(self) -> None:
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": []}
        self.data = bytearray()

    def view(self, data: bytes, **more: Any) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **more})
        self.data += data
        return len(self.json["bufferViews"]) - 1

    def accessor(self, values: NDArray[Any], *, normalized: bool = False, **more: Any) -> int:
        table = values.reshape(len(values), -1)
        size = table.itemsize * table.shape[1]
        padded = np.zeros((len(table), size + -size % 4), np.uint8)
        padded[:, :size] = np.ascontiguousarray(table).view(np.uint8).reshape(len(table), size)
        strided = {"byteStride": padded.shape[1]} if table.shape[1] in (2, 3, 4) else {}
        view = self.view(padded.tobytes() if strided else table.tobytes(), **strided)
        return self.declare(table, bufferView=view, normalized=normalized, **more)

    def declare(self, table: NDArray[Any], **more: Any) -> int:
        entry = {"componentType": CODES[table.dtype.name], "count": len(table), "type": TYPES[table.shape[1]]}
        if table.shape[1] == 3:
            entry |= {"min": table.min(0).tolist(), "max": table.max(0).tolist()}
        self.json["accessors"].append(entry | {k: v for k, v in more.items() if v is not False})
        return len(self.json["accessors"]) - 1

    def glb(self, path: Path) -> Path:
        document = self.json | {"buffers": [{"byteLength": len(self.data)}]}
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        data = bytes(self.data) + b"\0" * (-len(self.data) % 4)
        path.write_bytes(
            struct.pack("<IIIII", 0x46546C67, 2, 28 + len(text) + len(data), len(text), 0x4E4F534A)
            + text
            + struct.pack("<II", len(data), 0x004E4942)
            + data
        )
        return path

    def gltf(self, path: Path, uri: str | None = None) -> Path:
        """As text; the buffer in a file of the name ``uri``, escaped as it is there, or in the URI itself."""
        buffer = {"byteLength": len(self.data)}
        buffer["uri"] = uri or "data:application/octet-stream;base64," + base64.b64encode(self.data).decode()
        path.write_text(json.dumps(self.json | {"buffers": [buffer]}))
        return path


def picture(side: int = 8) -> NDArray[np.uint8]:
    """Four colours, one per quarter."""
    image = np.zeros((side, side, 3), np.uint8)
    half = side // 2
    image[:half, :half], image[:half, half:] = (220, 40, 40), (40, 200, 60)
    image[half:, :half], image[half:, half:] = (50, 70, 220), (240, 220, 60)
    return image


def png(image: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "png")
    return out.getvalue()


def strip(**attributes: NDArray[Any]) -> File:
    """The bent strip as one mesh under one node; more attributes as given."""
    file = File()
    indices = file.accessor(FACES.reshape(-1, 1))
    named = {"POSITION": file.accessor(POSITIONS)} | {k: file.accessor(v) for k, v in attributes.items()}
    file.json |= {
        "meshes": [{"primitives": [{"attributes": named, "indices": indices}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    return file


def primitive(file: File) -> dict[str, Any]:
    return file.json["meshes"][0]["primitives"][0]


def textured(**more: Any) -> File:
    """The strip with a picture; ``more`` goes into the reference to its texture."""
    file = strip(TEXCOORD_0=UV)
    material(file, {"baseColorTexture": {"index": 0, **more}})
    return file


def material(file: File, surface: dict[str, Any]) -> None:
    file.json |= {"materials": [{"pbrMetallicRoughness": surface}]}
    primitive(file)["material"] = 0
    if "baseColorTexture" in surface:
        view = file.view(png(picture()))
        file.json |= {"textures": [{"source": 0}], "images": [{"bufferView": view, "mimeType": "image/png"}]}
