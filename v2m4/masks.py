"""Masks: which pixels show the object."""

from __future__ import annotations

import cv2
import numpy as np

from v2m4.arrays import Bytes, Mask
from v2m4.color import OPAQUE

_LEAST_SOLID = 0.3  # share of a mask: where less of it is opaque, the picture is soft throughout


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one shape; 1 if both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0


def solid_pixels(alpha: Bytes) -> Mask:
    """Of an (H,W) uint8 opacity, the pixels whose colour is the object's alone: opaque, and not at the rim.

    Where hardly any are, all that are more than half opaque.
    """
    half = alpha > 127
    solid = cv2.erode((alpha > OPAQUE).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.asarray(half if solid.sum() < _LEAST_SOLID * half.sum() else solid)
