"""The compiled loop of the graph cut: Chambolle and Pock's primal-dual iterations (2011)."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32
from v2m4.compiled import njit


@njit("(f4[:,::1],f4[:,::1],f4[:,::1],i8)", nogil=True, fastmath=True)
def primal_dual(u: Float32, w: Float32, x: Float32, iterations: int) -> Float32:
    """Minimise sum u x + w |grad x| over x in [0,1], from and in place of ``x``; all (H,W).

    The dual is a vector (px, py) per pixel, no longer than its w. Gradients are forward differences, and the divergence
    is their transpose with the other sign, so that both steps may be 0.35 < 1 / sqrt(8).
    """
    height, width = u.shape
    step = np.float32(0.35)
    px, py = np.zeros_like(u), np.zeros_like(u)
    ahead = x.copy()
    for _ in range(iterations):
        # 1. The dual climbs along the gradient of the extrapolated x, and is cut to length w.
        for i in range(height):
            for j in range(width):
                gx = ahead[i, j + 1] - ahead[i, j] if j + 1 < width else np.float32(0)
                gy = ahead[i + 1, j] - ahead[i, j] if i + 1 < height else np.float32(0)
                a, b = px[i, j] + step * gx, py[i, j] + step * gy
                length = np.sqrt(a * a + b * b)
                if length > w[i, j]:
                    shrink = w[i, j] / length
                    a, b = a * shrink, b * shrink
                px[i, j], py[i, j] = a, b
        # 2. x descends, is clipped to [0,1], and is extrapolated by the step it took.
        for i in range(height):
            for j in range(width):
                divergence = px[i, j] + py[i, j]
                if j > 0:
                    divergence -= px[i, j - 1]
                if i > 0:
                    divergence -= py[i - 1, j]
                new = x[i, j] + step * (divergence - u[i, j])
                new = min(max(new, np.float32(0)), np.float32(1))
                ahead[i, j] = 2 * new - x[i, j]
                x[i, j] = new
    return x
