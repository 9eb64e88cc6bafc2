"""Masks: which pixels show the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape; 1 if both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0
