"""The compiled kernel of `project.ProjectedFrame`: what a frame shows of many points of a surface."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Int32, Real
from v2m4.compiled import njit


@njit("(f4[:,::1],f4[:,::1],i4[:,::1],f4[:,::1],f4[::1],f4[:,:,::1],f4[:,::1],f4[:,::1],f8,f8,f8,f8)", nogil=True)
def sample_view(
    points: Real,
    normals: Real,
    texel: Int32,
    share: Real,
    wanted: Real,
    image: Real,
    depth: Real,
    trust: Real,
    focal: float,
    tolerance: float,
    grazing: float,
    facing: float,
) -> tuple[Real, Real]:
    """Colours (N,3) and trust (N,) of points between three samples each; the rest is as in `ProjectedFrame`.

    points, normals (P,3), texel and share (N,3), wanted (P,), image (S,S,3), depth and trust (S,S).
    """
    side = image.shape[0]
    colors = np.zeros((len(texel), 3), np.float32)
    seen = np.zeros(len(texel), np.float32)
    for n in range(len(texel)):
        # 1. The point and its normal, if wanted at all.
        i, j, k = texel[n, 0], texel[n, 1], texel[n, 2]
        if wanted[i] + wanted[j] + wanted[k] <= 0:
            continue
        a, b, c = share[n, 0], share[n, 1], share[n, 2]
        x = a * points[i, 0] + b * points[j, 0] + c * points[k, 0]
        y = a * points[i, 1] + b * points[j, 1] + c * points[k, 1]
        z = a * points[i, 2] + b * points[j, 2] + c * points[k, 2]
        nx = a * normals[i, 0] + b * normals[j, 0] + c * normals[k, 0]
        ny = a * normals[i, 1] + b * normals[j, 1] + c * normals[k, 1]
        nz = a * normals[i, 2] + b * normals[j, 2] + c * normals[k, 2]
        # 2. Faces away, or is not in the picture: not seen.
        reach = np.sqrt((x * x + y * y + z * z) * (nx * nx + ny * ny + nz * nz))
        if z <= 0 or reach <= 0:
            continue
        cosine = -(nx * x + ny * y + nz * z) / reach
        if cosine <= grazing:
            continue
        s, t = (focal * x / z + 0.5) * side - 0.5, (focal * y / z + 0.5) * side - 0.5
        if s < 0 or t < 0 or s >= side - 1 or t >= side - 1:
            continue
        u, v = int(s), int(t)
        p, q = s - u, t - v
        # 3. A pixel counts as far as it is trusted, and not at all where it shows something nearer: at a limb's edge
        # the four pixels around a point can show two things. A slanted surface is itself nearer half a pixel on.
        nearest = z - tolerance - 0.5 * z / (focal * side) * np.sqrt(max(1 - cosine * cosine, 0.0)) / cosine
        w0 = (1 - p) * (1 - q) * trust[v, u] * (depth[v, u] > nearest)
        w1 = p * (1 - q) * trust[v, u + 1] * (depth[v, u + 1] > nearest)
        w2 = (1 - p) * q * trust[v + 1, u] * (depth[v + 1, u] > nearest)
        w3 = p * q * trust[v + 1, u + 1] * (depth[v + 1, u + 1] > nearest)
        believed = w0 + w1 + w2 + w3
        if believed <= 1e-4:
            continue
        # 4. Bilinear among the pixels that are believed; the trust falls where the surface turns away.
        front = min((cosine - grazing) / (facing - grazing), 1.0)
        seen[n] = front * front * (3 - 2 * front) * believed
        for h in range(3):
            colors[n, h] = (
                image[v, u, h] * w0 + image[v, u + 1, h] * w1 + image[v + 1, u, h] * w2 + image[v + 1, u + 1, h] * w3
            ) / believed
    return colors, seen
