"""Several materials in one texture: whole pictures as tiles, plain colours as small blocks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from v2m4.arrays import Float64, Int64, Real
from v2m4.settings import TemplateSettings

BORDER = 4  # texels of padding around every tile, which bilinear sampling and two mipmaps read
BLOCK = 4  # texels across a colour block: a border and three corners on texel centres
_FIRST_FILL = 0.8  # share of the largest texture's side that the pictures' own area may first take
_SMALLER = 0.9  # by which all is shrunk until it fits


@dataclass(frozen=True)
class MeshPart:
    """A piece with one material. positions: (N,3). faces: (F,3) into them. uv: (N,2), v down, with texture (h,w,3) in
    [0,1]; or colors: (N,3) per vertex or (F,3,3) per face and corner; or neither (plain grey)."""

    positions: Float64
    faces: Int64
    uv: Float64 | None = None
    texture: Real | None = None
    colors: Float64 | None = None

    def corner_colors(self, grey: float) -> Float64:
        """(F,3,3) colours of the faces' corners; ``grey`` if it has none."""
        if self.colors is None:
            return np.full((len(self.faces), 3, 3), grey)
        return self.colors if self.colors.ndim == 3 else self.colors[self.faces]


@dataclass(frozen=True)
class Appearance:
    """Of all parts together: either uv (T,2), uv_faces (F,3) and texture (h,w,3), or colors (N,3) per position."""

    uv: Float64 | None = None
    uv_faces: Int64 | None = None
    texture: Real | None = None
    colors: Float64 | None = None


def merge_appearances(parts: list[MeshPart], settings: TemplateSettings) -> Appearance:
    """One appearance for all parts; an empty one if none has colours.

    A single texture that needs no repeating stays as it is; a single part's vertex colours stay vertex colours.
    Anything else becomes one texture, which keeps hard borders between colours.
    """
    if all(p.texture is None and p.colors is None for p in parts):
        return Appearance()
    if len(parts) == 1:
        part = parts[0]
        if part.texture is not None and part.uv is not None:
            uv, uv_faces, repeats = _unwrap(part, settings.most_repeats)
            if max(repeats) == 1:
                return Appearance(uv, uv_faces, part.texture)
        elif part.colors is not None and part.colors.ndim == 2:
            return Appearance(colors=part.colors)
    return _tile(parts, settings)


def _unwrap(part: MeshPart, most_repeats: int) -> tuple[Float64, Int64, tuple[int, int]]:
    """Corner coordinates moved by whole periods so that every face starts in the unit square, without duplicates, and
    how many repeats they span (x, y), at most ``most_repeats``."""
    assert part.uv is not None
    corners = part.uv[part.faces]
    inside = (corners >= -1e-4).all() and (corners <= 1 + 1e-4).all()
    if not inside:
        corners = corners - np.floor(corners.min(1, keepdims=True) + 1e-4)
    corners = np.clip(corners, 0, None)
    repeats = np.minimum(np.ceil(corners.max((0, 1)) - 1e-3), most_repeats).astype(int).clip(1)
    corners = np.minimum(corners, repeats)
    uv, index = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
    return uv, index.reshape(-1, 3), (int(repeats[0]), int(repeats[1]))


def _tile(parts: list[MeshPart], settings: TemplateSettings) -> Appearance:
    # 1. A tile for every picture that differs, and where the parts' coordinates are in it.
    pictures: list[Real] = []
    placed: list[tuple[int, Float64, Int64, int]] = []
    plain = [i for i, p in enumerate(parts) if p.texture is None or p.uv is None]
    shared: dict[tuple[int, int, int], int] = {}
    for i, part in enumerate(parts):
        if i in plain or part.texture is None:
            continue
        uv, uv_faces, (across, down) = _unwrap(part, settings.most_repeats)
        # Parts with the same picture share its tile.
        key = (hash(part.texture.tobytes()), across, down)
        if key not in shared:
            shared[key] = len(pictures)
            pictures.append(np.tile(part.texture, (down, across, 1)))
        placed.append((i, uv / [across, down], uv_faces, shared[key]))
    # 2. A block for every triple of corner colours that differs.
    blocks = np.zeros((0, BLOCK, BLOCK, 3), np.float32)
    which = np.zeros(0, np.int64)
    if plain:
        corners = np.concatenate([parts[i].corner_colors(settings.grey) for i in plain]).reshape(-1, 9)
        levels, which = np.unique(np.round(corners * 255).astype(np.int64), axis=0, return_inverse=True)
        blocks = _blocks((levels / 255).reshape(-1, 3, 3))
    # 3. All of them packed, and the coordinates moved to where they are, part by part in the old order.
    texture, boxes, block_corner = _pack(pictures, blocks, settings)
    uvs, faces, order, count = [], [], [], 0
    for i, uv, uv_faces, tile in placed:
        x, y, w, h = boxes[tile]
        uvs.append(uv * [w, h] + [x, y])
        faces.append(uv_faces + count)
        order.append(i)
        count += len(uv)
    if plain:
        # A face's corners sit on the centres of three of the inner texels, so that bilinear sampling is exact.
        offsets = np.array([[1.5, 1.5], [BLOCK - 1.5, 1.5], [1.5, BLOCK - 1.5]])
        uvs.append((block_corner[:, None] + offsets).reshape(-1, 2))
        index = count + 3 * which.reshape(-1)[:, None] + np.arange(3)
        ends = np.cumsum([len(parts[i].faces) for i in plain])
        faces += np.split(index, ends[:-1])
        order += plain
    arranged = [faces[order.index(i)] for i in range(len(parts))]
    size = np.array(texture.shape[1::-1], np.float64)
    return Appearance(np.concatenate(uvs) / size, np.concatenate(arranged), texture)


def _blocks(corners: Float64) -> Real:
    """(N,BLOCK,BLOCK,3) pictures in which colour changes linearly between three corners (N,3,3)."""
    inner = (np.arange(BLOCK) - 1) / (BLOCK - 3)
    x, y = inner[None, None, :, None], inner[None, :, None, None]
    a, b, c = (corners[:, i, None, None] for i in range(3))
    return np.clip(a + x * (b - a) + y * (c - a), 0, 1).astype(np.float32)


def _pack(
    pictures: list[Real], blocks: Real, settings: TemplateSettings
) -> tuple[Real, list[tuple[float, float, float, float]], Float64]:
    """Shelves of pictures, tallest first, then rows of blocks: the texture, (x, y, width, height) of the pictures in it
    and the (N,2) corners of the blocks, in texels."""
    total = sum(p.shape[0] * p.shape[1] for p in pictures) + len(blocks) * BLOCK**2
    shrink = min(1.0, _FIRST_FILL * settings.largest_texture / max(np.sqrt(total), 1))
    # 1. Places on shelves, everything smaller and smaller until it fits.
    while True:
        sizes = [(max(round(p.shape[1] * shrink), 1), max(round(p.shape[0] * shrink), 1)) for p in pictures]
        width = max([w + 2 * BORDER for w, _ in sizes] + [int(np.ceil(np.sqrt(total) * shrink)), 16 * BLOCK])
        corners, x, y, shelf = {}, 0, 0, 0
        for i in sorted(range(len(sizes)), key=lambda i: -sizes[i][1]):
            w, h = sizes[i][0] + 2 * BORDER, sizes[i][1] + 2 * BORDER
            if x + w > width:
                x, y, shelf = 0, y + shelf, 0
            corners[i] = (x + BORDER, y + BORDER)
            x, shelf = x + w, max(shelf, h)
        top = y + shelf
        across = width // BLOCK
        height = top + -(-len(blocks) // across) * BLOCK
        if max(width, height) <= settings.largest_texture or shrink < 0.01:
            break
        shrink *= _SMALLER
    # 2. The pictures, with a border of their own edge, and the blocks.
    texture = np.full((height, width, 3), settings.grey, np.float32)
    boxes = []
    for i, (w, h) in enumerate(sizes):
        small = pictures[i] if (w, h) == pictures[i].shape[1::-1] else cv2.resize(pictures[i], (w, h), interpolation=3)
        x, y = corners[i]
        texture[y - BORDER : y + h + BORDER, x - BORDER : x + w + BORDER] = np.pad(
            small, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge"
        )
        boxes.append((float(x), float(y), float(w), float(h)))
    places = np.zeros((len(blocks), 2))
    for n, block in enumerate(blocks):
        x, y = (n % across) * BLOCK, top + (n // across) * BLOCK
        texture[y : y + BLOCK, x : x + BLOCK] = block
        places[n] = x, y
    return texture, boxes, places
