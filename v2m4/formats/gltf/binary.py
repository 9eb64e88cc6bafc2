"""How glTF lays out bytes: component and element types, and the chunks of a GLB file.

After the Khronos glTF 2.0 specification (ISO/IEC 12113), sections 3.6 (binary data) and 4 (GLB).
"""

from __future__ import annotations

import json
import struct
from typing import Any

COMPONENT_TYPES: dict[str, int] = {
    "int8": 5120,
    "uint8": 5121,
    "int16": 5122,
    "uint16": 5123,
    "uint32": 5125,
    "float32": 5126,
}
ELEMENT_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
MAGIC, JSON_CHUNK, BIN_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942


def split_glb(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON document and binary chunk of a GLB file; ValueError if it is none."""
    if len(data) < 20 or struct.unpack_from("<II", data) != (MAGIC, 2):
        raise ValueError("not a glTF 2.0 binary file")
    chunks: dict[int, bytes] = {}
    offset = 12
    while offset + 8 <= len(data):
        length, kind = struct.unpack_from("<II", data, offset)
        chunks.setdefault(kind, data[offset + 8 : offset + 8 + length])
        offset += 8 + length
    if JSON_CHUNK not in chunks:
        raise ValueError("the file has no JSON chunk")
    return json.loads(chunks[JSON_CHUNK]), chunks.get(BIN_CHUNK, b"")
