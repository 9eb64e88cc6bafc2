"""A shadow with a hard edge has the looks of an object: a part of a mask that is nothing but darker background."""

from __future__ import annotations

import cv2
import numpy as np

from v2m4.arrays import Bytes, Mask
from v2m4.settings import WarningSettings


def shadow_share(rgb: Bytes, mask: Mask, settings: WarningSettings) -> float:
    """Part of (H,W) ``mask`` in (H,W,3) ``rgb`` that is evenly darkened background, at its rim.

    0 where the background around the mask is not plain, or too dark to tell.
    """
    if not mask.any():
        return 0.0
    area = mask.astype(np.uint8)
    near, far = (cv2.dilate(area, np.ones((size, size), np.uint8)) for size in (7, 21))
    around = rgb[(far > 0) & (near == 0)].astype(np.float32)
    if not len(around):
        return 0.0
    # 1. The background's colour, if it has one.
    behind = np.median(around, axis=0)
    if behind.max() < settings.shadow_least_light:
        return 0.0
    if np.median(np.abs(around - behind)) > settings.shadow_tolerance:
        return 0.0
    # 2. Pixels of that colour but darker, and the darkness that most of them share.
    inside = rgb.astype(np.float32)
    light = inside @ behind / float(behind @ behind)
    alike = np.abs(inside - light[..., None] * behind).max(-1) < settings.shadow_tolerance
    alike &= mask & (light < 1 - settings.shadow_depth) & (light > settings.shadow_depth)
    if not alike.any():
        return 0.0
    counts, edges = np.histogram(light[alike], bins=50, range=(0, 1))
    shade = edges[counts.argmax()] + 0.01
    even = alike & (np.abs(light - shade) < 0.03)
    # 3. The pieces of them that reach the outline (legs may cut a shadow into several): within the object they would
    # be the object's own colour.
    even = cv2.morphologyEx(even.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, pieces = cv2.connectedComponents(even, connectivity=4)
    rim = (cv2.erode(area, np.ones((5, 5), np.uint8)) == 0) & mask
    sizes = np.bincount(pieces.ravel()) / mask.sum()
    touching = np.unique(pieces[rim & (pieces > 0)])
    return float(sizes[touching][sizes[touching] > settings.shadow_piece].sum())
