"""What an inflated object looks like: the picture where it sees well, else large areas of the same colours."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from v2m4.arrays import Bytes, Int64, Mask, Real
from v2m4.generators.inflate.heights import Heights, shrink
from v2m4.generators.inflate.outline import Crop
from v2m4.generators.inflate.triangulation import Sides
from v2m4.masks import mask_iou, solid_pixels
from v2m4.render.atlas import dominant_colors, push_pull
from v2m4.settings import BackSettings, InflateSettings

GUTTER = 8  # pixels around each half of the texture: what filtering reads beyond it


def paint(
    picture: Bytes, crop: Crop, sides: Sides, heights: Heights, settings: InflateSettings
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The picture for the front and a filled one for the back, side by side: texture, uv, uv_faces.

    Both sides take the object's large areas of colour where they are steep, so that they meet at the rim without a
    seam. The back has the picture's details where
    the object is seen from its side, as `is_sideways` tells; else what most of the outline shows, for a face or a belly
    that the outline cuts belongs to the front.
    """
    # 1. The picture around the object (h,w,3), its rim continued outwards without the background.
    size = np.round(np.array(crop.rgba.shape[1::-1]) / crop.scale).astype(int)
    low = crop.origin.astype(int) - GUTTER
    extent = size + 2 * GUTTER
    matrix = np.array([[1.0, 0, -low[0]], [0, 1, -low[1]]])
    cut = cv2.warpAffine(picture, matrix, (int(extent[0]), int(extent[1])), flags=cv2.INTER_NEAREST)
    front = push_pull(
        cut[..., :3].astype(np.float32) / 255, solid_pixels(np.asarray(cut[..., 3], np.uint8)).astype(np.float32)
    )
    # 2. Its large areas, and how far each side shows the picture itself instead (h,w,1).
    areas = _large_areas(front, crop, low, heights.distance, settings, behind=False)
    near, far = (
        _to_texture(_facing(side, settings.back), crop, low, front)[..., None] for side in (heights.front, heights.back)
    )
    if is_sideways(crop.rgba[..., 3] > 0.5, settings.back):
        back: Real = far * front + (1 - far) * areas
    else:
        behind = _large_areas(front, crop, low, heights.distance, settings, behind=True)
        share = np.clip(heights.distance / settings.back.seam_px, 0, 1)
        share = _to_texture(share, crop, low, front)[..., None]
        back = share * behind + (1 - share) * areas
    texture = np.concatenate([near * front + (1 - near) * areas, back], axis=1)
    # 3. Where the surface's points lie in it.
    points = [crop.to_picture(side.points) - low for side in (sides.front, sides.back)]
    uv = np.concatenate([points[0], points[1] + np.array([extent[0], 0])]) / [2 * extent[0], extent[1]]
    uv_faces = np.concatenate([sides.front.faces[:, ::-1], sides.back.faces + len(points[0])])
    return (
        torch.from_numpy(np.ascontiguousarray(texture, dtype=np.float32)),
        torch.from_numpy(uv.astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(uv_faces)),
    )


def is_sideways(mask: Mask, settings: BackSettings) -> bool:
    """Whether the object of a mask (h,w) is probably seen from its side, so that its far flank looks like its near one:
    it is clearly longer than high, and unlike its own mirror image (their overlap is small). From the front or
    from behind, things that move are narrow or their own mirror image, and only one side has a face."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(columns) < settings.longer * len(rows) or len(rows) == 0:
        return False
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    turned = box[:, ::-1]
    # The axis of a symmetric object with a stray limb is not the middle of its box.
    reach = box.shape[1] // 8
    padded = np.pad(box, ((0, 0), (reach, reach)))
    overlaps = [
        mask_iou(padded, np.pad(turned, ((0, 0), (reach + shift, reach - shift))))
        for shift in range(-reach, reach + 1, 4)
    ]
    return max(overlaps) < settings.own_mirror


def _facing(side: Real, settings: BackSettings) -> Real:
    """(h,w) in [0,1] how far a side of `Heights` (3,h,w) faces the viewer or, from behind, its far viewer."""
    distance, squared, middle = side
    height = middle + np.sqrt(np.maximum(squared * distance, 0))
    even = np.asarray(cv2.GaussianBlur(height, (0, 0), settings.even_px), np.float32)
    down, across = np.gradient(even)
    cosine = 1 / np.sqrt(1 + down**2 + across**2)
    share = np.clip((cosine - settings.steep_cosine) / (settings.facing_cosine - settings.steep_cosine), 0, 1)
    return (share * share * (3 - 2 * share) * (distance > 0)).astype(np.float32)


def _affine(crop: Crop, low: Int64) -> tuple[Real, Real]:
    """The maps from texture to working pixels and back, for cv2, whose pixel centres are at integers."""
    scale = crop.scale
    offset = (low - crop.origin) * scale + 0.5 * scale - 0.5
    to_working = np.array([[1 / scale[0], 0, -offset[0] / scale[0]], [0, 1 / scale[1], -offset[1] / scale[1]]])
    return to_working, np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])


def _to_texture(image: Real, crop: Crop, low: Int64, front: Real) -> Real:
    """An image (h,w,…) of working pixels on the grid of ``front``."""
    size = (front.shape[1], front.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    _, to_texture = _affine(crop, low)
    return np.asarray(cv2.warpAffine(image, to_texture, size, borderMode=cv2.BORDER_REPLICATE, flags=flags), np.float32)


def _large_areas(
    front: Real, crop: Crop, low: Int64, distance: Real, settings: InflateSettings, *, behind: bool
) -> Real:
    """The front's large areas of colour, without eyes and other details.

    Each place takes the prevailing colour of the outline's neighbourhood, the wider the farther it is from the
    outline: a mode filter over a small palette, in which rare colours and those far from the outline count little.
    behind: as the far side shows them: only colours near the outline count, those of thick parts more, and
    neighbourhoods are as wide as the part is thick, up to the very outline.
    """
    height, width = distance.shape
    to_working, _ = _affine(crop, low)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    working = cv2.warpAffine(front, to_working, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=flags)
    small = shrink(distance, settings.grid)
    away = np.maximum(small, 0) / settings.grid
    filled = _prevailing(
        shrink(np.asarray(working, front.dtype), settings.grid),
        (small > 0).astype(np.float32),
        away,
        settings,
        behind=behind,
    )
    areas = np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    return np.clip(_to_texture(areas, crop, low, front), 0, 1)


def thickness(away: Real) -> Real:
    """(h,w) the radius, in whole cells, of the largest disc inside the outline that covers each place, from the
    distances ``away`` (h,w) to it, 0 outside; where no disc does, the distance (local thickness, Hildebrand and
    Ruegsegger 1997)."""
    out = away.copy()
    for radius in range(1, int(away.max()) + 1):
        to_middle = distance_transform_edt(away < radius)
        covered = (to_middle < radius) & (away > 0)
        out[covered] = np.maximum(out[covered], radius)
    return out


def _prevailing(colors: Real, inside: Real, away: Real, settings: InflateSettings, *, behind: bool) -> Real:
    """Mode filter of (h,w,3) as for `_large_areas`; ``away`` (h,w): the distance to the outline, in cells."""
    # 1. A palette of K colours, and how much each pixel votes for its own; behind, feet shall not colour the trunk.
    known, back = inside > 0, settings.back
    thick = thickness(away) if behind else away
    reach = back.behind * thick if behind else back.width * away
    samples = np.ascontiguousarray(colors[known])  # (N,3)
    label, count = dominant_colors(samples, settings.palette)
    at_rim = np.exp(-away[known] / (back.rim_votes * max(float(away.max()), 1)))
    near_rim = back.inner_vote + at_rim
    if behind:
        near_rim = at_rim * (thick[known] / max(float(thick.max()), 1)) ** back.thick_vote
    frequency = np.bincount(label, minlength=count) / len(samples)  # (K,)
    layers = np.zeros((count, *inside.shape, 4), np.float32)  # (K,h,w,4): colour times votes, and votes
    for k in range(count):
        weight = np.where(label == k, frequency[k] * near_rim, 0)
        layers[k][known] = np.column_stack([samples * weight[:, None], weight])
    # 2. The votes around each pixel, W blurs wide, and which two of them its reach lies between.
    widths = [back.narrowest * 2.0**i for i in range(back.levels)]
    stack = np.stack([[cv2.GaussianBlur(layer, (0, 0), w) for layer in layers] for w in widths])  # (W,K,h,w,4)
    level = np.clip(np.log2(np.maximum(reach / back.narrowest, 1)), 0, len(widths) - 1.001)
    index, part = level.astype(int), (level % 1)[..., None]
    # 3. The palette's colours mixed by a power of their votes, so that the prevailing one wins.
    rows, columns = np.indices(inside.shape)
    here = np.stack(
        [(1 - part) * stack[index, k, rows, columns] + part * stack[index + 1, k, rows, columns] for k in range(count)]
    )  # (K,h,w,4)
    share = (here[..., 3:] / np.maximum(here[..., 3:].max(0), 1e-20)) ** back.sharpness
    own = here[..., :3] / np.maximum(here[..., 3:], 1e-20)
    mixed = ((own * share).sum(0) / np.maximum(share.sum(0), 1e-20)).astype(np.float32)
    return push_pull(mixed, inside)
