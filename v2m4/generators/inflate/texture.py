"""What an inflated object looks like: the picture on its front, and large areas of the same colours on its back."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from v2m4.arrays import Bytes, Int64, Real
from v2m4.generators.inflate.heights import shrink
from v2m4.generators.inflate.outline import Crop
from v2m4.generators.inflate.triangulation import Sides
from v2m4.masks import solid_pixels
from v2m4.render.atlas import dominant_colors, push_pull
from v2m4.settings import InflateSettings

GUTTER = 8  # pixels around each half of the texture: what filtering reads beyond it


def paint(
    picture: Bytes, crop: Crop, sides: Sides, distance: Real, settings: InflateSettings
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The picture for the front and a filled one for the back, side by side: texture, uv, uv_faces."""
    size = np.round(np.array(crop.rgba.shape[1::-1]) / crop.scale).astype(int)
    low = crop.origin.astype(int) - GUTTER
    extent = size + 2 * GUTTER
    matrix = np.array([[1.0, 0, -low[0]], [0, 1, -low[1]]])
    cut = cv2.warpAffine(picture, matrix, (int(extent[0]), int(extent[1])), flags=cv2.INTER_NEAREST)
    front = push_pull(
        cut[..., :3].astype(np.float32) / 255, solid_pixels(np.asarray(cut[..., 3], np.uint8)).astype(np.float32)
    )
    back = _back(front, crop, low, distance, settings)
    texture = np.concatenate([front, back], axis=1)
    near, far = (crop.to_picture(side.points) - low for side in (sides.front, sides.back))
    uv = np.concatenate([near, far + np.array([extent[0], 0])]) / [2 * extent[0], extent[1]]
    uv_faces = np.concatenate([sides.front.faces[:, ::-1], sides.back.faces + len(near)])
    return (
        torch.from_numpy(np.ascontiguousarray(texture, dtype=np.float32)),
        torch.from_numpy(uv.astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(uv_faces)),
    )


def _back(front: Real, crop: Crop, low: Int64, distance: Real, settings: InflateSettings) -> Real:
    """The far side's picture: the front's large areas of colour, without eyes and other details.

    Each place takes the prevailing colour of the outline's neighbourhood, the wider the farther it is from the
    outline: a mode filter over a small palette, in which rare colours and those far from the outline count little.
    At the outline itself it is the front's picture.
    """
    height, width = distance.shape
    # The affine map from texture to working pixels, for cv2, whose pixel centres are at integers.
    scale = crop.scale
    offset = (low - crop.origin) * scale + 0.5 * scale - 0.5
    to_working = np.array([[1 / scale[0], 0, -offset[0] / scale[0]], [0, 1 / scale[1], -offset[1] / scale[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    working = cv2.warpAffine(front, to_working, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=flags)
    small = shrink(distance, settings.grid)
    away = np.maximum(small, 0) / settings.grid
    filled = _prevailing(
        shrink(np.asarray(working, front.dtype), settings.grid), (small > 0).astype(np.float32), away, settings
    )
    back = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    to_texture = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    size = (front.shape[1], front.shape[0])
    back = cv2.warpAffine(back, to_texture, size, borderMode=cv2.BORDER_REPLICATE, flags=flags)
    rim = cv2.warpAffine(distance, to_texture, size, borderMode=cv2.BORDER_REPLICATE, flags=flags)[..., None]
    keep = np.exp(-((np.maximum(rim, 0) / settings.back.rim_px) ** 2))
    return np.clip(keep * front + (1 - keep) * back, 0, 1)


def _prevailing(colors: Real, inside: Real, away: Real, settings: InflateSettings) -> Real:
    """Mode filter of (h,w,3) whose width grows with ``away`` (h,w), the distance to the outline in cells."""
    # 1. A palette of K colours, and how much each pixel votes for its own.
    known, back = inside > 0, settings.back
    samples = np.ascontiguousarray(colors[known])  # (N,3)
    label, count = dominant_colors(samples, settings.palette)
    frequency = np.bincount(label, minlength=count) / len(samples)  # (K,)
    near_rim = back.inner_vote + np.exp(-away[known] / (back.rim_votes * max(float(away.max()), 1)))
    layers = np.zeros((count, *inside.shape, 4), np.float32)  # (K,h,w,4): colour times votes, and votes
    for k in range(count):
        weight = np.where(label == k, frequency[k] * near_rim, 0)
        layers[k][known] = np.column_stack([samples * weight[:, None], weight])
    # 2. The votes around each pixel, W blurs wide, and which two of them its distance lies between.
    widths = [2.0**i for i in range(back.levels)]
    stack = np.stack([[cv2.GaussianBlur(layer, (0, 0), w) for layer in layers] for w in widths])  # (W,K,h,w,4)
    level = np.clip(np.log2(np.maximum(back.width * away, 1)), 0, len(widths) - 1.001)
    index, part = level.astype(int), (level % 1)[..., None]
    # 3. The palette's colours mixed by a power of their votes, so that the prevailing one wins.
    rows, columns = np.indices(inside.shape)
    total = np.zeros((*inside.shape, 4))
    for k in range(count):
        here = (1 - part) * stack[index, k, rows, columns] + part * stack[index + 1, k, rows, columns]
        total += here * here[..., 3:] ** (back.sharpness - 1)
    mixed = (total[..., :3] / np.maximum(total[..., 3:], 1e-20)).astype(np.float32)
    return push_pull(mixed, inside)
