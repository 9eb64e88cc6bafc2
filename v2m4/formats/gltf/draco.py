"""Draco-compressed primitives (KHR_draco_mesh_compression), decoded by the package DracoPy."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from v2m4.arrays import Int64
from v2m4.errors import V2M4Error

EXTENSION = "KHR_draco_mesh_compression"


def available() -> bool:
    """Whether the decoder is installed."""
    return importlib.util.find_spec("DracoPy") is not None


def decode(data: bytes, attributes: dict[str, int], title: str) -> tuple[Int64, dict[str, NDArray[Any]]]:
    """Faces (F,3) and, by glTF's names, the attributes (N,C) of a compressed primitive, in their own types.

    ``attributes``: Draco's number of each. Raises V2M4Error without the decoder or for damaged data.
    """
    if not available():
        raise V2M4Error(
            f"{title} is compressed with Draco ({EXTENSION}). Install the decoder with “pip install 'v2m4[draco]'”, "
            "unpack the file with “npx @gltf-transform/cli copy IN.glb OUT.glb”, or export it without compression."
        )
    import DracoPy

    try:
        mesh = DracoPy.decode(data)
        columns = {name: np.asarray(mesh.get_attribute_by_unique_id(n)["data"]) for name, n in attributes.items()}
        faces = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
    # The decoder's own exceptions have no common base.
    except Exception as error:
        raise V2M4Error(
            f"{title} holds Draco-compressed data that cannot be decoded ({error}). Export it again."
        ) from error
    return faces, {name: values.reshape(len(values), -1) for name, values in columns.items()}
