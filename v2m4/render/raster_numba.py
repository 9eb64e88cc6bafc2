"""The compiled CPU kernels: which triangle owns a pixel, and attributes without gradients.

Every kernel works on a range of views (and rows) and releases the interpreter lock, so the callers spread the ranges
over ordinary threads: unlike numba's own thread pool that survives `fork` and calls from several threads at once.
Each has a plain PyTorch twin which the tests compare it with (`visibility.visible_triangles_torch`,
`raster.interpolate`, `texture.sample_texture`).
"""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32, Int32
from v2m4.compiled import njit


@njit("(f4[:,:,::1],i4[:,::1],i8,i8,i8,i8,i4[:,:,::1])", nogil=True)
def own_pixels(clip: Float32, faces: Int32, view0: int, view1: int, row0: int, row1: int, owner: Int32) -> None:
    """Write into ``owner`` (B,H,W) the nearest face at each pixel centre, -1 where there is none.

    Homogeneous edge functions (Olano and Greer 1997): faces that cross the camera plane need no clipping, because a
    pixel whose three edge functions have the determinant's sign lies in front of the camera. All in float64, where a
    shared edge has exactly opposite functions in its two faces, so there are neither gaps nor overlaps. clip (B,V,4),
    faces (F,3).
    """
    height, width = owner.shape[1], owner.shape[2]
    sx, sy = 2.0 / width, 2.0 / height
    nearest = np.empty((row1 - row0, width), np.float64)
    for b in range(view0, view1):
        nearest[:] = np.inf
        owner[b, row0:row1] = -1
        for f in range(faces.shape[0]):
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            x0, y0, w0 = np.float64(clip[b, i, 0]), np.float64(clip[b, i, 1]), np.float64(clip[b, i, 3])
            x1, y1, w1 = np.float64(clip[b, j, 0]), np.float64(clip[b, j, 1]), np.float64(clip[b, j, 3])
            x2, y2, w2 = np.float64(clip[b, k, 0]), np.float64(clip[b, k, 1]), np.float64(clip[b, k, 3])
            # 1. The pixels that the face can own: its box; all, if it crosses the camera plane; none from behind that.
            left, right, top, bottom = 0, width - 1, row0, row1 - 1
            if w0 > 1e-9 and w1 > 1e-9 and w2 > 1e-9:
                u0, u1, u2 = x0 / w0, x1 / w1, x2 / w2
                v0, v1, v2 = y0 / w0, y1 / w1, y2 / w2
                # A thousandth of a pixel of slack: the edge functions decide, not this box.
                lo = (min(u0, u1, u2) + 1.0) / sx - 0.501
                hi = (max(u0, u1, u2) + 1.0) / sx - 0.499
                if hi < 0.0 or lo > width - 1.0:
                    continue
                left, right = int(np.ceil(max(lo, 0.0))), int(np.floor(min(hi, width - 1.0)))
                lo = (min(v0, v1, v2) + 1.0) / sy - 0.501
                hi = (max(v0, v1, v2) + 1.0) / sy - 0.499
                if hi < row0 or lo > row1 - 1.0:
                    continue
                top, bottom = int(np.ceil(max(lo, np.float64(row0)))), int(np.floor(min(hi, row1 - 1.0)))
            elif w0 <= 1e-9 and w1 <= 1e-9 and w2 <= 1e-9:
                continue
            if left > right or top > bottom:
                continue
            # 2. Edge functions a x + b y + c, each opposite to a corner; seen edge on, the determinant is zero.
            a0, b0, c0 = y1 * w2 - w1 * y2, w1 * x2 - x1 * w2, x1 * y2 - y1 * x2
            determinant = a0 * x0 + b0 * y0 + c0 * w0
            if not (determinant != 0.0 and np.isfinite(determinant)):
                continue
            a1, b1, c1 = y2 * w0 - w2 * y0, w2 * x0 - x2 * w0, x2 * y0 - y2 * x0
            a2, b2, c2 = y0 * w1 - w0 * y1, w0 * x1 - x0 * w1, x0 * y1 - y0 * x1
            z0, z1, z2 = np.float64(clip[b, i, 2]), np.float64(clip[b, j, 2]), np.float64(clip[b, k, 2])
            # z/w is linear over the image.
            za = (a0 * z0 + a1 * z1 + a2 * z2) / determinant
            zb = (b0 * z0 + b1 * z1 + b2 * z2) / determinant
            zc = (c0 * z0 + c1 * z1 + c2 * z2) / determinant
            # 3. Faces seen from behind own pixels too: all signs turn.
            if determinant < 0.0:
                a0, b0, c0, a1, b1, c1, a2, b2, c2 = -a0, -b0, -c0, -a1, -b1, -c1, -a2, -b2, -c2
            # 4. A pixel inside all three edges is the face's if that is the nearest so far, between near and far plane.
            for y in range(top, bottom + 1):
                fy = (y + 0.5) * sy - 1.0
                r0, r1, r2, rz = c0 + b0 * fy, c1 + b1 * fy, c2 + b2 * fy, zc + zb * fy
                for x in range(left, right + 1):
                    fx = (x + 0.5) * sx - 1.0
                    if r0 + a0 * fx >= 0.0 and r1 + a1 * fx >= 0.0 and r2 + a2 * fx >= 0.0:
                        z = rz + za * fx
                        if z < nearest[y - row0, x] and z >= -1.0 and z <= 1.0:
                            nearest[y - row0, x] = z
                            owner[b, y, x] = f


@njit("(f4[:,:,::1],i4[:,::1],i4[:,:,::1],i8,i8,f4[:,:,:,::1])", nogil=True)
def locate_pixels(clip: Float32, faces: Int32, owner: Int32, view0: int, view1: int, out: Float32) -> None:
    """Write u, v (perspective-correct weights of corners 0 and 1) and z/w to owned pixels of ``out`` (B,H,W,3)."""
    height, width = owner.shape[1], owner.shape[2]
    for b in range(view0, view1):
        for y in range(height):
            fy = (y + 0.5) * (2.0 / height) - 1.0
            for x in range(width):
                f = owner[b, y, x]
                if f < 0:
                    continue
                fx = (x + 0.5) * (2.0 / width) - 1.0
                i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                w0, w1, w2 = clip[b, i, 3], clip[b, j, 3], clip[b, k, 3]
                x0, y0 = clip[b, i, 0] - fx * w0, clip[b, i, 1] - fy * w0
                x1, y1 = clip[b, j, 0] - fx * w1, clip[b, j, 1] - fy * w1
                x2, y2 = clip[b, k, 0] - fx * w2, clip[b, k, 1] - fy * w2
                u, v, t = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
                total = u + v + t
                if total == 0.0:
                    continue
                u, v, t = u / total, v / total, t / total
                out[b, y, x, 0], out[b, y, x, 1] = u, v
                w = u * w0 + v * w1 + t * w2
                if w != 0.0:
                    out[b, y, x, 2] = (u * clip[b, i, 2] + v * clip[b, j, 2] + t * clip[b, k, 2]) / w


@njit("(f4[:,:,:,::1],i4[:,:,::1],f4[:,:,::1],i4[:,::1],i8,i8,f4[:,:,:,::1])", nogil=True)
def interpolate_pixels(
    located: Float32, owner: Int32, attributes: Float32, faces: Int32, view0: int, view1: int, out: Float32
) -> None:
    """Write attributes (1|B,N,C), indexed by ``faces``, to owned pixels of ``out`` (B,H,W,C); located: (B,H,W,3)."""
    channels = attributes.shape[2]
    for b in range(view0, view1):
        s = b if attributes.shape[0] > 1 else 0
        for y in range(owner.shape[1]):
            for x in range(owner.shape[2]):
                f = owner[b, y, x]
                if f >= 0:
                    u, v = located[b, y, x, 0], located[b, y, x, 1]
                    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                    for c in range(channels):
                        p, q, r = attributes[s, i, c], attributes[s, j, c], attributes[s, k, c]
                        out[b, y, x, c] = r + u * (p - r) + v * (q - r)


@njit("(f4[:,:,::1],f4[:,:,:,::1],i4[:,:,::1],i8,i8,f4[:,:,:,::1])", nogil=True)
def sample_pixels(texture: Float32, uv: Float32, owner: Int32, view0: int, view1: int, out: Float32) -> None:
    """Bilinear colour of ``texture`` (h,w,C) at ``uv`` (B,H,W,2) for owned pixels; repeats beyond [0,1]."""
    rows, columns, channels = texture.shape
    for b in range(view0, view1):
        for y in range(owner.shape[1]):
            for x in range(owner.shape[2]):
                if owner[b, y, x] < 0:
                    continue
                s, t = uv[b, y, x, 0] * columns - 0.5, uv[b, y, x, 1] * rows - 0.5
                s0, t0 = np.floor(s), np.floor(t)
                p, q = np.float32(s - s0), np.float32(t - t0)
                i, j = int(s0) % columns, int(t0) % rows
                i1, j1 = (i + 1) % columns, (j + 1) % rows
                for c in range(channels):
                    upper = texture[j, i, c] + p * (texture[j, i1, c] - texture[j, i, c])
                    lower = texture[j1, i, c] + p * (texture[j1, i1, c] - texture[j1, i, c])
                    out[b, y, x, c] = upper + q * (lower - upper)
