"""The compiled kernel of `rigid_alignment`: the normal equations of one rendering."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32, Float64
from v2m4.compiled import njit

_TYPES = "(f4[:,:,::1],f4[:,:,::1],f8,f4[:,:,::1],f4[:,::1],f8[::1],f8,f8,f8,f8,f8[:,::1],f8[::1])"


@njit(_TYPES, nogil=True)
def accumulate(
    image: Float32,
    depth: Float32,
    mean_depth: float,
    target: Float32,
    known: Float32,
    centre: Float64,
    focal: float,
    color_weight: float,
    huber: float,
    inside_least: float,
    a: Float64,
    b: Float64,
) -> float:
    """Add one view's normal equations to a (6,6) and b (6,), and return its energy; see `normal_equations`.

    image and target (S,S,4), known (S,S), centre (3,), depth (S,S,2): the blurred depth and inside-ness, whose ratio is
    the depth of the nearest surface also a little beyond the silhouette, where the mask's residuals are.
    """
    size = image.shape[0]
    energy = 0.0
    g = np.zeros(6)
    for y in range(size):
        up, down = max(y - 1, 0), min(y + 1, size - 1)
        for x in range(size):
            k = known[y, x]
            if k == 0.0 or (image[y, x, 3] < 1e-4 and target[y, x, 3] < 1e-4):
                continue
            # 1. The surface point that the pixel shows, relative to the centre, about which the object turns.
            left, right = max(x - 1, 0), min(x + 1, size - 1)
            z = depth[y, x, 0] / depth[y, x, 1] if depth[y, x, 1] > inside_least else mean_depth
            px = (x + 0.5 - 0.5 * size) / focal
            py = (y + 0.5 - 0.5 * size) / focal
            s = focal / z
            dx, dy, dz = px * z - centre[0], py * z - centre[1], z - centre[2]
            for c in range(4):
                # 2. The residual, and its weight: quadratic up to `huber`, linear beyond (Huber 1964).
                r = np.float64(target[y, x, c]) - image[y, x, c]
                w = k if c == 3 else k * color_weight
                size_r = abs(r)
                if size_r > huber:
                    energy += w * huber * (2 * size_r - huber)
                    w *= huber / size_r
                else:
                    energy += w * r * r
                # 3. Its change with the point's motion along each axis: the mean of both pictures' gradients.
                ix = 0.25 * (image[y, right, c] - image[y, left, c] + target[y, right, c] - target[y, left, c])
                iy = 0.25 * (image[down, x, c] - image[up, x, c] + target[down, x, c] - target[up, x, c])
                mx, my = ix * s, iy * s
                mz = -(mx * px + my * py)
                # 4. And with the six unknowns: turns about the centre, shifts in units of its distance.
                g[0] = mz * dy - my * dz
                g[1] = mx * dz - mz * dx
                g[2] = my * dx - mx * dy
                g[3], g[4], g[5] = mx * centre[2], my * centre[2], mz * centre[2]
                for i in range(6):
                    b[i] -= w * g[i] * r
                    for j in range(i, 6):
                        a[i, j] += w * g[i] * g[j]
    for i in range(6):
        for j in range(i):
            a[i, j] = a[j, i]
    return energy
