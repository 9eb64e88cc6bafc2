"""Cleaning a mask: which pieces belong to the object, and which holes are real."""

from __future__ import annotations

import cv2
import numpy as np

from v2m4.arrays import Float32, Mask
from v2m4.settings import MaskCleanupSettings


def keep_object(mask: Mask, settings: MaskCleanupSettings) -> Mask:
    """The largest piece of (H,W) ``mask`` and the pieces that belong to it.

    A piece belongs if it is not tiny and near the largest one (a boot below a dark shin), or if it is of some size
    and no further away than a third of the object (a part that floats).
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    areas[0] = 0
    main = int(areas.argmax())
    diagonal = float(np.hypot(stats[main, cv2.CC_STAT_WIDTH], stats[main, cv2.CC_STAT_HEIGHT]))
    distance = cv2.distanceTransform((labels != main).astype(np.uint8), cv2.DIST_L2, 3)
    nearest = np.full(count, np.inf)
    np.minimum.at(nearest, np.asarray(labels, np.intp).ravel(), np.asarray(distance, np.float64).ravel())
    relative = areas / areas[main]
    keep = (relative >= settings.near_area) & (nearest <= settings.near * diagonal)
    keep |= (relative >= settings.far_area) & (nearest <= settings.far * diagonal)
    keep[main], keep[0] = True, False
    return keep[labels]


def pieces_of(mask: Mask) -> list[int]:
    """Areas of the connected pieces of (H,W) ``mask`` in pixels, the largest first."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return sorted((int(area) for area in stats[1:, cv2.CC_STAT_AREA]), reverse=True)


def largest_piece(mask: Mask) -> int:
    """Area of the largest connected piece of (H,W) ``mask`` in pixels; 0 if there is none."""
    return next(iter(pieces_of(mask)), 0)


def holes_of(mask: Mask) -> int:
    """Area in pixels of what (H,W) ``mask`` encloses without covering it."""
    around = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(around, connectivity=4)
    return int(((labels != labels[0, 0]) & (around > 0)).sum())


def fill_speckles(mask: Mask, settings: MaskCleanupSettings, looks_like_background: Float32 | None = None) -> Mask:
    """Fill holes of (H,W) ``mask`` that are too small to be real, or do not look like background.

    looks_like_background: (H,W) in [0,1]; a hole of some size stays when it looks so on average (seen between the
    legs). Without it only small holes are filled.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    height, width = mask.shape
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    enclosed = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    areas = stats[:, cv2.CC_STAT_AREA]
    fill = areas <= max(float(settings.speckle_px), settings.hole_area * float(mask.sum()))
    if looks_like_background is not None:
        likeness = np.bincount(labels.ravel(), looks_like_background.ravel(), minlength=count) / np.maximum(areas, 1)
        # A small hole that is background through and through is a gap between limbs.
        fill &= (likeness < settings.gap_likeness) | (areas <= settings.speckle_px)
        fill |= likeness < settings.hole_likeness
    fill &= enclosed
    fill[0] = False
    return mask | fill[labels]
