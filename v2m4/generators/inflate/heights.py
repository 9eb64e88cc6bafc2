"""How deep an object is behind and before the plane of its picture.

Depth from the medial axis: over a point p lies the highest of the balls that fit into the outline, z^2 = max over q of
d(q)^2 - |p - q|^2 with d the distance to the outline (the union of the medial balls; Blum 1967). A straight limb and a
round trunk are both exactly as deep as wide, and both meet the outline vertically, in a round rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from v2m4.arrays import Float32, Real
from v2m4.generators.inflate.remeshing_numba import LEAST_HEIGHT
from v2m4.settings import InflateSettings


@dataclass(frozen=True)
class Heights:
    """Two surfaces over the picture plane, all (h,w) float32 in working pixels: the middle between them, towards the
    viewer, plus and minus the half depth.

    distance: to the outline, positive inside. squared_per_distance: the half depth's square over that distance; it
    varies slowly where the half depth is steep. middle: None for zero.
    """

    distance: Real
    squared_per_distance: Real
    middle: Real | None = None

    @property
    def is_mirrored(self) -> bool:
        """Whether the two sides are each other's mirror image."""
        return self.middle is None

    @property
    def front(self) -> Float32:
        """The near side as `remeshing` takes it (3,h,w)."""
        middle = np.zeros_like(self.distance) if self.middle is None else self.middle
        return np.stack([self.distance, self.squared_per_distance, middle], dtype=np.float32)

    @property
    def back(self) -> Float32:
        """The far side (3,h,w), its height growing away from the viewer."""
        return self.front * np.array([1, 1, -1], np.float32)[:, None, None]


def round_heights(distance: Real, settings: InflateSettings) -> Heights:
    """The depth that suits an outline, whose distance (h,w) is given."""
    # 1. The union of balls on a coarse grid (c,d).
    cell = settings.grid
    small = shrink(distance, cell)
    inside = np.pad(small[1:-1, 1:-1] > 0, 1)
    squared = np.maximum(_parabolas(np.where(inside, (small / cell) ** 2, -np.inf)), 0) * cell**2
    # 2. Flattened where the trunk is thick.
    rows, columns = np.nonzero(inside)
    limit = settings.trunk * cell * float(np.sqrt((np.ptp(rows) + 1) * (np.ptp(columns) + 1)))
    squared = squared / np.sqrt(1 + (squared / limit**2) ** 2) * settings.thickness**2
    # 3. Over the distance; beyond the outline it goes on as it is nearest inside, by ever wider blurs.
    ratio = squared / np.maximum(small, 0.5 * cell)
    weight = inside.astype(np.float64)
    for i, sigma in enumerate((settings.smoothing, settings.beyond, settings.far_beyond)):
        blurred = cv2.GaussianBlur(ratio * weight, (0, 0), sigma)
        total = cv2.GaussianBlur(weight, (0, 0), sigma)
        known = weight > 0
        ratio = np.where(known & (i > 0), ratio, blurred / np.maximum(total, 1e-9))
        weight = np.where(known, weight, (total > 1e-4).astype(np.float64) * 1e-3)
    # 4. Back to working pixels (h,w).
    size = (distance.shape[1], distance.shape[0])
    grown = cv2.resize(ratio.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return Heights(distance, np.maximum(grown, LEAST_HEIGHT))


def shrink(image: Real, cell: float) -> Real:
    """The image (h,w) or (h,w,C), averaged over cells of so many pixels."""
    size = (round(image.shape[1] / cell), round(image.shape[0] / cell))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), image.dtype)


def _parabolas(squared: Real) -> Real:
    """(h,w) the upper envelope of a paraboloid that falls from each pixel's value: max over q of value(q) - |p - q|^2.

    The two axes are independent (Felzenszwalb and Huttenlocher 2012).
    """
    for _ in range(2):
        places = np.arange(squared.shape[1])
        fall = (places[:, None] - places) ** 2  # (w,w)
        squared = np.stack([(row - fall).max(axis=1) for row in squared], axis=1)  # (w,h)
    return squared
