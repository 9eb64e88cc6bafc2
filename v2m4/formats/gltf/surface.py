"""The base colour of a primitive: factor, picture and vertex colours, with the coordinates that lay the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from v2m4.arrays import Float32, Float64
from v2m4.errors import V2M4Error
from v2m4.formats.gltf.document import Document

CLAMP, _MIRROR = 33071, 33648
MOST_PERIODS = 1  # how far a clamped picture's border is carried on, in widths of the picture


@dataclass(frozen=True)
class Surface:
    """The base colour is the product, in linear light, of those that are there (section 3.9.2).

    factor: (3,) linear, None where the material names none. picture: (H,W,3) sRGB in [0,1], and uv: (N,2), v down,
    repeating outside the unit square. colors: (N,3) linear. missing: why a picture that the file names is not there.
    """

    factor: Float64 | None = None
    picture: Float32 | None = None
    uv: Float64 | None = None
    colors: Float64 | None = None
    missing: str | None = None


def read_surface(document: Document, primitive: dict[str, Any], attributes: Mapping[str, NDArray[Any]]) -> Surface:
    """The base colour of ``primitive``, whose vertex ``attributes`` (N,C) are given by name."""
    material = document.json["materials"][primitive["material"]] if "material" in primitive else {}
    named, texture = _base_color(material)
    factor = None if named is None else np.asarray(named, np.float64)[:3]
    stored = attributes.get("COLOR_0")
    colors = None if stored is None else stored[:, :3].astype(np.float64)
    if texture is None:
        return Surface(factor, colors=colors)
    # 1. The coordinates: which set, and how KHR_texture_transform moves them.
    transform = texture.get("extensions", {}).get("KHR_texture_transform", {})
    uv = attributes.get(f"TEXCOORD_{transform.get('texCoord', texture.get('texCoord', 0))}")
    if uv is None or not np.isfinite(uv).all():
        return Surface(factor, colors=colors)
    moved = transformed_uv(uv.astype(np.float64), transform)
    # 2. The picture, laid as its sampler says.
    entry = document.json["textures"][texture["index"]]
    try:
        picture = document.picture(_source(document, entry))
    except V2M4Error as error:
        return Surface(factor, colors=colors, missing=str(error))
    sampler = document.json["samplers"][entry["sampler"]] if "sampler" in entry else {}
    for axis, key in enumerate(("wrapS", "wrapT")):
        picture, moved = repeating(picture, moved, axis, sampler.get(key, 0))
    return Surface(factor, picture, moved, colors)


def _base_color(material: dict[str, Any]) -> tuple[Any, dict[str, Any] | None]:
    """Factor and texture, of the core's workflow or the older KHR_materials_pbrSpecularGlossiness; of a black surface
    that shines by itself, what it emits, as shadeless exports have it."""
    older = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    surface = material.get("pbrMetallicRoughness", {})
    if older is not None and not surface.keys() & {"baseColorFactor", "baseColorTexture"}:
        return older.get("diffuseFactor"), older.get("diffuseTexture")
    black = not any(surface.get("baseColorFactor", (1.0,))[:3])
    if black and any(material.get("emissiveFactor", ())):
        return material["emissiveFactor"], material.get("emissiveTexture")
    return surface.get("baseColorFactor"), surface.get("baseColorTexture")


def _source(document: Document, texture: dict[str, Any]) -> int:
    """The image of a texture: the core's where it has one, for every reader knows its format."""
    if "source" in texture:
        return int(texture["source"])
    extensions = texture.get("extensions", {})
    for name in ("EXT_texture_webp", "EXT_texture_avif"):
        if name in extensions:
            return int(extensions[name]["source"])
    names = " and ".join(extensions) or "no image at all"
    raise V2M4Error(
        f"{document.title} stores a texture as {names}, which cannot be read here. Export it with PNG or JPEG "
        "textures, or unpack it with “npx @gltf-transform/cli ktxdecompress IN.glb OUT.glb”, which needs the command "
        "ktx of KTX-Software."
    )


def transformed_uv(uv: Float64, transform: dict[str, Any]) -> Float64:
    """(N,2) coordinates scaled, then turned, then moved, as KHR_texture_transform defines it."""
    c, s = math.cos(transform.get("rotation", 0.0)), math.sin(transform.get("rotation", 0.0))
    scaled = uv * np.asarray(transform.get("scale", (1.0, 1.0)), np.float64)
    turned = scaled @ np.array([[c, s], [-s, c]]).T
    return np.asarray(turned + np.asarray(transform.get("offset", (0.0, 0.0)), np.float64))


def repeating(picture: Float32, uv: Float64, axis: int, wrap: int) -> tuple[Float32, Float64]:
    """The same look by a picture that simply repeats along ``axis`` (0: u, 1: v): mirrored ones are drawn with their
    mirror image, clamped ones with their border carried on as far as the coordinates reach."""
    side, uv = 1 - axis, uv.copy()
    lowest, highest = float(uv[:, axis].min()), float(uv[:, axis].max())
    if lowest >= -1e-6 and highest <= 1 + 1e-6:
        return picture, uv
    if wrap == _MIRROR:
        uv[:, axis] /= 2
        return np.concatenate([picture, np.flip(picture, side)], side), uv
    if wrap == CLAMP:
        texels = picture.shape[side]
        before = math.ceil(min(max(-lowest, 0), MOST_PERIODS) * texels)
        after = math.ceil(min(max(highest - 1, 0), MOST_PERIODS) * texels)
        reach = [(0, 0)] * 3
        reach[side] = (before, after)
        uv[:, axis] = ((uv[:, axis] * texels + before) / (texels + before + after)).clip(0, 1)
        return np.pad(picture, reach, mode="edge"), uv
    return picture, uv
