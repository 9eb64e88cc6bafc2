"""Masks: which pixels show the object."""

from __future__ import annotations

from v2m4.arrays import Mask


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one shape; 1 if both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0
