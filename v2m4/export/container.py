"""Writing glTF 2.0 binary files: buffers, accessors, chunks.

After the Khronos glTF 2.0 specification (ISO/IEC 12113), sections 3.6 (binary data) and 4 (GLB).
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from v2m4.formats.gltf.binary import BIN_CHUNK, COMPONENT_TYPES, ELEMENT_TYPES, JSON_CHUNK, MAGIC

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963  # glTF 2.0, bufferView.target


class GltfDocument:
    """A glTF document under construction, with its one binary buffer.

    Set top-level properties (scenes, nodes, meshes, ...) through ``json``; buffers, views and accessors through the
    methods, which return indices.
    """

    def __init__(self, generator: str) -> None:
        self.json: dict[str, Any] = {"asset": {"version": "2.0", "generator": generator}}
        self._binary = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, **properties: int) -> int:
        """Append bytes as a buffer view that starts at a multiple of four."""
        self._binary += b"\0" * (-len(self._binary) % 4)
        self._views.append({"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data), **properties})
        self._binary += data
        return len(self._views) - 1

    def accessor(
        self, values: NDArray[Any], *, target: int | None = None, normalised: bool = False, bounds: bool = False
    ) -> int:
        """Append (N,) or (N,C) values of a glTF component type.

        ``target``: ARRAY_BUFFER for vertex attributes (elements are then padded to multiples of four bytes, as
        required), ELEMENT_ARRAY_BUFFER for indices, None for the rest. ``bounds`` adds min and max.
        """
        table = values.reshape(len(values), -1)
        count, components = table.shape
        size = table.itemsize * components
        view: dict[str, int] = {} if target is None else {"target": target}
        if target == ARRAY_BUFFER:
            padding = -size % 4
            if padding:
                padded = np.zeros((count, size + padding), np.uint8)
                padded[:, :size] = np.ascontiguousarray(table).view(np.uint8).reshape(count, size)
                data = padded.tobytes()
                view["byteStride"] = size + padding
            else:
                data = table.tobytes()
        else:
            data = table.tobytes()
        return self._add_accessor(table, self.view(data, **view), normalised, bounds)

    def zeros(self, count: int, components: int) -> int:
        """An accessor of float32 zeros, which takes no room in the buffer."""
        return self._add_accessor(np.zeros((count, components), np.float32), None, False, True)

    def _add_accessor(self, table: NDArray[Any], view: int | None, normalised: bool, bounds: bool) -> int:
        entry: dict[str, Any] = {
            "componentType": COMPONENT_TYPES[table.dtype.name],
            "count": len(table),
            "type": ELEMENT_TYPES[table.shape[1]],
        }
        if view is not None:
            entry["bufferView"] = view
        if normalised:
            entry["normalized"] = True
        if bounds:
            entry["min"], entry["max"] = table.min(axis=0).tolist(), table.max(axis=0).tolist()
        self._accessors.append(entry)
        return len(self._accessors) - 1

    def to_bytes(self) -> bytes:
        """The finished GLB file."""
        document = dict(self.json)
        document["accessors"] = self._accessors
        document["bufferViews"] = self._views
        document["buffers"] = [{"byteLength": len(self._binary)}]
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self._binary) + b"\0" * (-len(self._binary) % 4)
        length = 12 + 8 + len(text) + 8 + len(binary)
        return b"".join(
            [
                struct.pack("<III", MAGIC, 2, length),
                struct.pack("<II", len(text), JSON_CHUNK),
                text,
                struct.pack("<II", len(binary), BIN_CHUNK),
                binary,
            ]
        )
