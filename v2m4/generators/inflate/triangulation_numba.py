"""The compiled loop of the triangulation: points inside the outline."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float64, Real
from v2m4.compiled import njit


@njit("(f4[:,::1],f4[:,::1],f8,f8)")
def sample_interior(distance: Real, size: Real, from_rim: float, spacing: float) -> Float64:
    """Interior points ``spacing`` sizes apart and ``from_rim`` sizes from the outline, on the rows of a triangular
    lattice that changes its pitch with ``size`` (greedy thinning of the pixel centres)."""
    height, width = distance.shape
    reach = 0
    for y in range(height):
        for x in range(width):
            reach = max(reach, int(size[y, x]) + 2)
    taken = np.zeros((height, width), np.bool_)
    found = np.empty((height * width, 2), np.float64)
    count = 0
    for y in range(height):
        for x in range(width):
            s = size[y, x]
            if distance[y, x] < from_rim * s:
                continue
            r = int(s * spacing) + 1
            free = True
            limit = (spacing * s) ** 2
            for dy in range(-r, 1):
                for dx in range(-r, r + 1):
                    v, h = y + dy, x + dx
                    if v >= 0 and h >= 0 and h < width and taken[v, h] and dx * dx + dy * dy < limit:
                        free = False
                        break
                if not free:
                    break
            if free:
                taken[y, x] = True
                found[count, 0] = x + 0.5
                found[count, 1] = y + 0.5
                count += 1
    return found[:count]
