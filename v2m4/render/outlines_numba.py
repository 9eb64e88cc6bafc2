"""The compiled CPU kernel that finds where `antialias` blends; `outlines.outlines_torch` is its plain PyTorch twin."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32, Int32, Int64
from v2m4.compiled import njit


@njit("(f4[:,::1],i4[:,::1],i4[:,::1],i4[:,::1],f4[:,::1],i8,f8,i8[:,::1])", nogil=True)
def find_outlines(
    clip: Float32,
    faces: Int32,
    across: Int32,
    owner: Int32,
    depth: Float32,
    hops: int,
    slack: float,
    out: Int64,
) -> int:
    """List the places of one view where `antialias` blends; `outlines.outlines_torch` says the same in PyTorch.

    clip (V,4), faces and across (F,3), owner and depth (H,W). Writes rows of ``out`` (N,4): the nearer face's pixel,
    its neighbour, and the two vertices of the outline's edge. Returns how many there are, which may be more than fit.
    """
    height, width = owner.shape
    n = 0
    for y in range(height):
        for x in range(width):
            for axis in range(2):
                x1, y1 = x + (1 - axis), y + axis
                if x1 >= width or y1 >= height or owner[y, x] == owner[y1, x1]:
                    continue
                # 1. From the nearer of two neighbouring pixels of different faces, one step to the other.
                first = owner[y1, x1] < 0 or (owner[y, x] >= 0 and depth[y, x] <= depth[y1, x1])
                xa, ya, step = (x, y, 1.0) if first else (x1, y1, -1.0)
                f, goal = owner[ya, xa], owner[y1, x1] if first else owner[y, x]
                fx, fy = (xa + 0.5) * (2.0 / width) - 1.0, (ya + 0.5) * (2.0 / height) - 1.0
                entered = -1
                for _ in range(hops):
                    # 2. The corners of the face at hand, seen from the nearer pixel's centre.
                    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                    pw, qw, rw = np.float64(clip[i, 3]), np.float64(clip[j, 3]), np.float64(clip[k, 3])
                    px, py = clip[i, 0] - fx * pw, clip[i, 1] - fy * pw
                    qx, qy = clip[j, 0] - fx * qw, clip[j, 1] - fy * qw
                    rx, ry = clip[k, 0] - fx * rw, clip[k, 1] - fy * rw
                    # 3. The edge by which the step leaves the face: edge functions at the centre (c), and their change.
                    best, edge, la, lb, lc = 1.0, -1, 0.0, 0.0, 0.0
                    side = 1.0
                    for e in range(3):
                        a, b, c = py * qw - pw * qy, pw * qx - px * qw, px * qy - py * qx
                        if e == 0:
                            side = 1.0 if a * rx + b * ry + c * rw > 0.0 else -1.0
                        here = c * side
                        change = (a * (2.0 / width) if axis == 0 else b * (2.0 / height)) * step * side
                        if e != entered and here >= slack * change and change < 0.0 and here / -change < best:
                            best, edge, la, lb, lc = here / -change, e, a, b, c
                        px, py, pw, qx, qy, qw, rx, ry, rw = qx, qy, qw, rx, ry, rw, px, py, pw
                    if edge < 0:
                        break
                    # 4. The surface goes on beyond it if the next face's far corner lies on the other side.
                    o = across[f, edge]
                    if o >= 0:
                        v = faces[o // 3, (o % 3 + 2) % 3]
                        w = np.float64(clip[v, 3])
                        if (la * (clip[v, 0] - fx * w) + lb * (clip[v, 1] - fy * w) + lc * w) * side < 0.0:
                            f, entered = o // 3, o % 3
                            if f == goal:
                                break
                            continue
                    # 5. Else the edge is an outline, blended along the axis that it crosses more squarely.
                    if (abs(la / width) >= abs(lb / height)) == (axis == 0):
                        if n < out.shape[0]:
                            out[n, 0] = ya * width + xa
                            out[n, 1] = (y1 * width + x1) if first else (y * width + x)
                            out[n, 2] = faces[f, edge]
                            out[n, 3] = faces[f, (edge + 1) % 3]
                        n += 1
                    break
    return n
