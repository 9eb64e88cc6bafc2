"""The compiled kernel that draws a lit mesh with vertex colours, many poses at a time and small."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32, Float64, Int32
from v2m4.compiled import njit


@njit("(f4[:,:,::1],i4[:,::1],f4[:,::1],f4[:,::1],f8,f8[:,::1],f8,i8,i8,f4[:,:,:,::1])", nogil=True, fastmath=True)
def draw(
    vertices: Float32,
    faces: Int32,
    albedo: Float32,
    light: Float32,
    focal: float,
    corners: Float64,
    scale: float,
    view0: int,
    view1: int,
    out: Float32,
) -> None:
    """Draw poses ``view0`` to ``view1`` into ``out`` (B,S,S,4): colour and 1 where the mesh is, else zeros.

    vertices: (B,V,3) in camera space. faces: (F,3). albedo: (V,3). light: (3,4), each channel's brightness is
    ``light[:, 0] + light[:, 1:] @ normal``. Pixel x shows the place (corner + x / scale) of the picture, 0..1, where
    corners (B,2) are left and top of what each pose's picture shows.
    """
    side, count = out.shape[1], vertices.shape[1]
    px, py, pw = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    normals, shown = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    nearest = np.empty((side, side), np.float32)
    for b in range(view0, view1):
        left, top = corners[b, 0], corners[b, 1]
        # 1. Where the vertices are in the picture; 1/z is linear there.
        for v in range(count):
            z = max(vertices[b, v, 2], np.float32(1e-4))
            pw[v] = 1 / z
            px[v] = ((focal * vertices[b, v, 0] / z + 0.5) - left) * scale - 0.5
            py[v] = ((focal * vertices[b, v, 1] / z + 0.5) - top) * scale - 0.5
            normals[v, 0] = normals[v, 1] = normals[v, 2] = 0
        # 2. Normals of the vertices, weighed by area, and their colours.
        for f in range(faces.shape[0]):
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, az = (
                vertices[b, j, 0] - vertices[b, i, 0],
                vertices[b, j, 1] - vertices[b, i, 1],
                vertices[b, j, 2] - vertices[b, i, 2],
            )
            bx, by, bz = (
                vertices[b, k, 0] - vertices[b, i, 0],
                vertices[b, k, 1] - vertices[b, i, 1],
                vertices[b, k, 2] - vertices[b, i, 2],
            )
            nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            for v in (i, j, k):
                normals[v, 0] += nx
                normals[v, 1] += ny
                normals[v, 2] += nz
        for v in range(count):
            length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + np.float32(1e-20)
            for c in range(3):
                bright = (
                    light[c, 0]
                    + (light[c, 1] * normals[v, 0] + light[c, 2] * normals[v, 1] + light[c, 3] * normals[v, 2]) / length
                )
                shown[v, c] = albedo[v, c] * max(bright, np.float32(0))
        # 3. The nearest face at each pixel's middle.
        nearest[:] = 0
        out[b] = 0
        for f in range(faces.shape[0]):
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            area = (px[j] - px[i]) * (py[k] - py[i]) - (px[k] - px[i]) * (py[j] - py[i])
            if abs(area) < 1e-9:
                continue
            x0, x1 = (
                max(0, int(np.ceil(min(px[i], px[j], px[k])))),
                min(side - 1, int(np.floor(max(px[i], px[j], px[k])))),
            )
            y0, y1 = (
                max(0, int(np.ceil(min(py[i], py[j], py[k])))),
                min(side - 1, int(np.floor(max(py[i], py[j], py[k])))),
            )
            over = 1 / area
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    u = ((px[j] - x) * (py[k] - y) - (px[k] - x) * (py[j] - y)) * over
                    v = ((px[k] - x) * (py[i] - y) - (px[i] - x) * (py[k] - y)) * over
                    t = 1 - u - v
                    if u >= 0 and v >= 0 and t >= 0:
                        near = u * pw[i] + v * pw[j] + t * pw[k]
                        if near > nearest[y, x]:
                            nearest[y, x] = near
                            for c in range(3):
                                out[b, y, x, c] = u * shown[i, c] + v * shown[j, c] + t * shown[k, c]
                            out[b, y, x, 3] = 1


@njit("(f4[:,:,:,::1],i8,i8,f4[:,:,:,::1])", nogil=True, fastmath=True)
def shrink(pictures: Float32, view0: int, view1: int, out: Float32) -> None:
    """Halve pictures (B,2S,2S,C) with weights 1 3 3 1, repeating the border: to (B,S,S,C)."""
    side, channels = out.shape[1], out.shape[3]
    across = np.empty((2 * side, side, channels), np.float32)
    last = 2 * side - 1
    for b in range(view0, view1):
        for y in range(2 * side):
            for x in range(side):
                p, q = max(2 * x - 1, 0), min(2 * x + 2, last)
                for c in range(channels):
                    across[y, x, c] = (
                        pictures[b, y, p, c]
                        + 3 * (pictures[b, y, 2 * x, c] + pictures[b, y, 2 * x + 1, c])
                        + pictures[b, y, q, c]
                    ) * np.float32(0.125)
        for y in range(side):
            p, q = max(2 * y - 1, 0), min(2 * y + 2, last)
            for x in range(side):
                for c in range(channels):
                    out[b, y, x, c] = (
                        across[p, x, c] + 3 * (across[2 * y, x, c] + across[2 * y + 1, x, c]) + across[q, x, c]
                    ) * np.float32(0.125)
