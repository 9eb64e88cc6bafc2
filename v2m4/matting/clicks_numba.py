"""The compiled loop of geodesic distances: one sweep down a picture and one up."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32
from v2m4.compiled import njit


@njit("(f4[:,::1],f4[:,::1])")
def relax(distance: Float32, price: Float32) -> None:
    """Lower (H,W) ``distance`` in place to the least over a pixel's eight neighbours plus the way from there, which
    costs its length times the mean ``price`` of the two; sweeps as in Toivanen (1996)."""
    height, width = distance.shape
    diagonal = np.float32(2**0.5)
    for turn in range(2):
        sign = 1 if turn == 0 else -1
        for row in range(height):
            y = row if turn == 0 else height - 1 - row
            for column in range(width):
                x = column if turn == 0 else width - 1 - column
                best = distance[y, x]
                for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
                    j, i = y + sign * dy, x + sign * dx
                    if 0 <= j < height and 0 <= i < width:
                        length = diagonal if dy != 0 and dx != 0 else np.float32(1)
                        best = min(best, distance[j, i] + length * np.float32(0.5) * (price[y, x] + price[j, i]))
                distance[y, x] = best
