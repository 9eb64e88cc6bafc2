"""A glTF file opened: its description, and the numbers and pictures that this refers to, wherever they lie."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from v2m4.arrays import Float32
from v2m4.errors import V2M4Error
from v2m4.formats.beside import decode_picture, find_beside
from v2m4.formats.gltf.binary import COMPONENT_TYPES, ELEMENT_TYPES, MAGIC, split_glb

MOST_ELEMENTS = 10_000_000  # of an array, and triangles of a scene, that the file declares but need not hold

_VERSION = "2.0"
_DTYPES = {number: np.dtype(name).newbyteorder("<") for name, number in COMPONENT_TYPES.items()}
_WIDTHS = {name: width for width, name in ELEMENT_TYPES.items()} | {"MAT2": 4, "MAT3": 9, "MAT4": 16}
_SIDES = {"MAT2": 2, "MAT3": 3, "MAT4": 4}

_KNOWN = re.compile(
    # What is read here ...
    "KHR_mesh_quantization|KHR_texture_transform|KHR_draco_mesh_compression|EXT_mesh_gpu_instancing|KHR_node_visibility"
    "|KHR_texture_basisu|EXT_texture_webp|EXT_texture_avif|MSFT_texture_dds"
    # ... and what neither shape nor base colour depends on.
    "|[A-Z]+_(materials|lights|animation|xmp|audio|physics|interactivity|lod|texture_video)(_.*|)"
)
_COMPRESSION = "npx @gltf-transform/cli copy IN.glb OUT.glb"
_WAYS_OUT = {
    "EXT_meshopt_compression": f"unpack it with “{_COMPRESSION}”, or export it without meshopt",
    "KHR_meshopt_compression": "export it without meshopt compression",
    "KHR_gaussian_splatting": "it holds Gaussians, not triangles; use a file with a mesh",
}


@dataclass
class Document:
    """An open glTF file.

    json: its description. folder: where what it names is looked for, None for nowhere. binary: a GLB's own chunk.
    title: what error messages call it.
    """

    json: dict[str, Any]
    folder: Path | None
    title: str
    binary: bytes | None = None
    _buffers: dict[int, bytes] = field(default_factory=dict, repr=False)
    _pictures: dict[int, Float32] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path) -> Document:
        """Open a GLB or glTF file. Raises V2M4Error if it cannot be used."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise V2M4Error(f"Cannot read {path}: {error.strerror}.") from error
        return cls.of(data, path.parent, path.name)

    @classmethod
    def of(cls, data: bytes, folder: Path | None, title: str) -> Document:
        """From the content of a GLB or glTF file, whichever its first bytes say it is."""
        binary: bytes | None = None
        try:
            if data[:4] == struct.pack("<I", MAGIC):
                if data[4:8] == struct.pack("<I", 1):
                    raise ValueError("it is glTF 1.0; convert it to glTF 2.0")
                description, binary = split_glb(data)
            elif data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
                description = json.loads(data.decode("utf-8-sig"))
            else:
                raise ValueError("neither a GLB header nor JSON")
            if not isinstance(description, dict):
                raise ValueError("its description is no JSON object")
            if not isinstance(description.setdefault("asset", {}), dict):
                raise ValueError("its description tells no version")
            required = description.get("extensionsRequired", [])
            if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
                raise ValueError("its extensionsRequired are no names")
        except (ValueError, RecursionError) as error:
            raise V2M4Error(
                f"{title} cannot be read: it is not a GLB or glTF file ({error}). Export it again."
            ) from error
        document = cls(description, folder, title, binary)
        document.check()
        return document

    def check(self) -> None:
        """Raise V2M4Error if the file needs what cannot be read here: another version, an unknown extension."""
        version = str(self.json["asset"].get("version", "2.0"))
        if not version.startswith("2."):
            raise V2M4Error(f"{self.title} is glTF {version}; only 2.x can be read. Convert it first.")
        least = str(self.json["asset"].get("minVersion", _VERSION))
        if least != _VERSION:
            raise V2M4Error(f"{self.title} needs a reader of glTF {least}; this one is of 2.0. Convert it first.")
        for name in self.json.get("extensionsRequired", []):
            if not _KNOWN.fullmatch(name):
                way = _WAYS_OUT.get(name, "export it without that extension")
                raise V2M4Error(f"{self.title} needs the glTF extension {name}, which cannot be read here: {way}.")

    def buffer(self, index: int) -> bytes:
        """All bytes of a buffer. Raises V2M4Error if its file is missing or shorter than said."""
        if index not in self._buffers:
            entry = self.json["buffers"][index]
            if "uri" in entry:
                self._buffers[index] = self.resource(entry["uri"], f"buffer {index}")
            elif index == 0 and self.binary is not None:
                self._buffers[index] = self.binary
            else:
                what = "meshopt-compressed data only" if "meshopt" in json.dumps(entry) else "no data"
                raise V2M4Error(f"{self.title} has {what} for its buffer {index}. Export it again, uncompressed.")
        return self._buffers[index]

    def resource(self, uri: str, what: str) -> bytes:
        """The bytes behind a URI: data in the URI itself, or a file beside this one."""
        if uri.startswith("data:"):
            head, _, body = uri.partition(",")
            try:
                data = unquote_to_bytes(body)
                # Some exporters leave out the padding, or use the alphabet of addresses (RFC 4648, section 5).
                return base64.b64decode(data + b"=" * (-len(data) % 4), b"-_") if head.endswith(";base64") else data
            except binascii.Error as error:
                raise V2M4Error(f"{self.title} is damaged: its {what} is no valid base64 ({error}).") from error
        if re.match("[a-z][a-z0-9+.-]+://", uri, re.I) and not uri.lower().startswith("file://"):
            raise V2M4Error(
                f"{self.title} names {uri} as its {what}, which lies on the network. Download it, put it beside "
                "the file and name it by its file name."
            )
        found = find_beside(self.folder, re.sub("^file://", "", uri, flags=re.I))
        if found is None:
            raise V2M4Error(
                f"{self.title} needs the file “{uri}” as its {what}, which is not there. Put it beside the file, "
                "or export everything in one file (GLB)."
            )
        return found.read_bytes()

    def view(self, index: int) -> bytes:
        """The bytes of a buffer view."""
        view = self.json["bufferViews"][index]
        start, length = view.get("byteOffset", 0), view["byteLength"]
        data = self.buffer(view["buffer"])[start : start + length]
        if len(data) < length:
            raise self._cut_short()
        return data

    def accessor(self, index: int) -> NDArray[Any]:
        """(N,C) numbers: float64 in [-1,1] where they are normalised, else in their own type. Matrices come as C = 4, 9
        or 16 numbers, column by column."""
        entry = self.json["accessors"][index]
        dtype, kind, count = _DTYPES[entry["componentType"]], entry["type"], entry["count"]
        if "bufferView" in entry:
            values = self._strided(entry["bufferView"], entry.get("byteOffset", 0), count, dtype, kind)
        else:
            if count > MOST_ELEMENTS:
                raise V2M4Error(f"{self.title} has {count} elements in one array, which is too many to work with.")
            values = np.zeros((count, _WIDTHS[kind]), dtype)
        # Differences to the base, given at few places (section 3.6.2.3).
        if "sparse" in entry:
            sparse = entry["sparse"]
            at, new = sparse["indices"], sparse["values"]
            few = sparse["count"]
            places = self._strided(at["bufferView"], at.get("byteOffset", 0), few, _DTYPES[at["componentType"]])
            values[places[:, 0]] = self._strided(new["bufferView"], new.get("byteOffset", 0), few, dtype, kind)
        return normalised(values) if entry.get("normalized", False) else values

    def _strided(
        self, view_index: int, offset: int, count: int, dtype: np.dtype[Any], kind: str = "SCALAR"
    ) -> NDArray[Any]:
        """A copy of ``count`` elements of a view, (N,C)."""
        view, width = self.json["bufferViews"][view_index], _WIDTHS[kind]
        # Columns of matrices start at multiples of four bytes.
        side = _SIDES.get(kind, 1)
        column = width // side * dtype.itemsize
        step = column + -column % 4 if side > 1 else column
        size = step * (side - 1) + column
        stride = view.get("byteStride", step * side)
        data = self.buffer(view["buffer"])
        start = view.get("byteOffset", 0) + offset
        if count < 0 or start < 0 or (count and start + stride * (count - 1) + size > len(data)):
            raise self._cut_short()
        shape, strides = (count, side, width // side), (stride, step, dtype.itemsize)
        return np.ndarray(shape, dtype, data, start if count else 0, strides).reshape(count, width).copy()

    def picture(self, index: int) -> Float32:
        """(H,W,3) sRGB in [0,1] of an image. Raises V2M4Error if it is missing or cannot be decoded."""
        if index in self._pictures:
            return self._pictures[index]
        image = self.json["images"][index]
        data = self.view(image["bufferView"]) if "bufferView" in image else self.resource(image["uri"], "texture")
        try:
            picture = self._pictures[index] = decode_picture(data)
        except ValueError as error:
            name = str(image.get("name") or image.get("uri", ""))[:80] or f"image {index}"
            raise V2M4Error(
                f"{self.title} has a texture “{name}” that cannot be decoded ({error}). Save it as PNG or JPEG."
            ) from error
        return picture

    def _cut_short(self) -> V2M4Error:
        return V2M4Error(f"{self.title} is cut short: its data ends before its description says. Export it again.")


def normalised(values: NDArray[Any]) -> NDArray[Any]:
    """Integers as the numbers in [0,1] or [-1,1] they stand for (section 3.6.2.2); floating-point ones as they are."""
    if values.dtype.kind == "f":
        return values
    return np.maximum(values / np.float64(np.iinfo(values.dtype).max), -1.0)
