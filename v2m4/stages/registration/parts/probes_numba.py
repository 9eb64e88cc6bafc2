"""The compiled kernel behind derivatives of pictures: each part is moved a little, and only it is redrawn."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32, Int32
from v2m4.compiled import njit


@njit(nogil=True, fastmath=True)
def _fill(
    faces: Int32, chosen: Int32, points: Float32, closed: bool, box: Int32, nearest: Float32, picture: Float32
) -> None:
    """Draw the ``chosen`` faces within ``box`` (left, top, right, bottom, all inside) over what is there.

    points: (V,6) column, row, one over depth, and colour of the vertices. closed: faces turned away are left out, for
    others lie before them.
    """
    for index in range(chosen.shape[0]):
        f = chosen[index]
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ix, iy, jx, jy, kx, ky = points[i, 0], points[i, 1], points[j, 0], points[j, 1], points[k, 0], points[k, 1]
        area = (jx - ix) * (ky - iy) - (kx - ix) * (jy - iy)
        if abs(area) < np.float32(1e-9) or (closed and area > 0):
            continue
        x0, x1 = max(box[0], int(np.ceil(min(ix, jx, kx)))), min(box[2], int(np.floor(max(ix, jx, kx))))
        y0, y1 = max(box[1], int(np.ceil(min(iy, jy, ky)))), min(box[3], int(np.floor(max(iy, jy, ky))))
        if x0 > x1 or y0 > y1:
            continue
        over = np.float32(1) / area
        du, dv = (jy - ky) * over, (ky - iy) * over
        iw, jw, kw = points[i, 2], points[j, 2], points[k, 2]
        for y in range(y0, y1 + 1):
            u = ((jx - x0) * (ky - y) - (kx - x0) * (jy - y)) * over
            v = ((kx - x0) * (iy - y) - (ix - x0) * (ky - y)) * over
            for x in range(x0, x1 + 1):
                t = np.float32(1) - u - v
                near = u * iw + v * jw + t * kw
                # One branch: which of them a pixel takes cannot be foreseen, and each costs more than the sums.
                if (min(u, v, t) >= 0) & (near > nearest[y, x]):
                    nearest[y, x] = near
                    for c in range(3):
                        picture[y, x, c] = u * points[i, 3 + c] + v * points[j, 3 + c] + t * points[k, 3 + c]
                u += du
                v += dv


@njit(
    "(f4[:,::1],f4[:,::1],i4[:,::1],f4[:,::1],f4[:,::1],f4[::1],b1,f4[:,:,::1],f4[:,::1],i4[::1],f4[:,:,:,::1],"
    "f4[:,:,::1],i4[::1],i4[::1],i4[::1],i4[::1],i4[::1],i4[::1],i8,i8,f4[:,:,:,:,::1])",
    nogil=True,
    fastmath=True,
)
def probe_pictures(
    vertices: Float32,
    normals: Float32,
    faces: Int32,
    albedo: Float32,
    light: Float32,
    camera: Float32,
    closed: bool,
    carried: Float32,
    shares: Float32,
    parts: Int32,
    turns: Float32,
    moves: Float32,
    face_starts: Int32,
    face_lists: Int32,
    fixed_starts: Int32,
    fixed_lists: Int32,
    corner_starts: Int32,
    corner_lists: Int32,
    group0: int,
    group1: int,
    out: Float32,
) -> None:
    """For groups of 2 Q probes, the half differences of the first and second, third and fourth, ... picture.

    vertices, normals: (V,3) of the pose. camera: focal, left, top, pixels per side of the picture. closed: whether the
    mesh has no border and its faces point outwards. carried: (N,V,3) and shares: (N,V) what of each vertex's place, and
    what share of it, parts and those below them make up. parts: (G,) what each group moves. turns: (G,2 Q,3,3) and
    moves: (G,2 Q,3) how. face_starts (N+1,), face_lists: the faces that move with each part; fixed_starts, fixed_lists:
    those that do not; corner_starts, corner_lists: the vertices of those that do. out: (G,Q,S,S,4), written wholly.
    """
    side, count = out.shape[2], vertices.shape[0]
    fine = 2 * side
    one, half, eighth = np.float32(1), np.float32(0.5), np.float32(0.125)
    focal, left, top, scale = camera[0], camera[1], camera[2], camera[3]
    bright, tilt = np.empty((count, 3), np.float32), np.empty((3, 3), np.float32)
    still, probes = np.empty((count, 6), np.float32), np.empty((turns.shape[1], count, 6), np.float32)
    nearest, picture = np.empty((fine, fine), np.float32), np.empty((fine, fine, 3), np.float32)
    near_now, now = np.empty((2, fine, fine), np.float32), np.empty((2, fine, fine, 3), np.float32)
    change = np.empty((fine, fine, 4), np.float32)
    across = np.empty((fine, side, 4), np.float32)
    box = np.empty(4, np.int32)
    # 1. The pose itself.
    for v in range(count):
        w = one / max(vertices[v, 2], np.float32(1e-4))
        still[v, 0], still[v, 1], still[v, 2] = (
            (focal * vertices[v, 0] * w + half - left) * scale - half,
            (focal * vertices[v, 1] * w + half - top) * scale - half,
            w,
        )
        for c in range(3):
            bright[v, c] = light[c, 0] + (
                light[c, 1] * normals[v, 0] + light[c, 2] * normals[v, 1] + light[c, 3] * normals[v, 2]
            )
            still[v, 3 + c] = albedo[v, c] * max(bright[v, c], np.float32(0))
    for g in range(group0, group1):
        part = parts[g]
        moved = face_lists[face_starts[part] : face_starts[part + 1]]
        fixed = fixed_lists[fixed_starts[part] : fixed_starts[part + 1]]
        corners = corner_lists[corner_starts[part] : corner_starts[part + 1]]
        out[g] = 0
        if corners.shape[0] == 0:
            continue
        # 2. Where the vertices go in each probe, and the box around all that move.
        low_x, low_y, high_x, high_y = np.float32(1e9), np.float32(1e9), np.float32(-1e9), np.float32(-1e9)
        for k in range(turns.shape[1]):
            # Numbers of the loop below, by name so that they stay in registers.
            r, m = turns[g, k], moves[g, k]
            xx, xy, xz = r[0, 0] - one, r[0, 1], r[0, 2]
            yx, yy, yz = r[1, 0], r[1, 1] - one, r[1, 2]
            zx, zy, zz = r[2, 0], r[2, 1], r[2, 2] - one
            mx, my, mz = m[0], m[1], m[2]
            for c in range(3):  # (R - I)^T light
                tilt[c, 0] = light[c, 1] * xx + light[c, 2] * yx + light[c, 3] * zx
                tilt[c, 1] = light[c, 1] * xy + light[c, 2] * yy + light[c, 3] * zy
                tilt[c, 2] = light[c, 1] * xz + light[c, 2] * yz + light[c, 3] * zz
            r0, r1, r2 = tilt[0, 0], tilt[0, 1], tilt[0, 2]
            g0, g1, g2 = tilt[1, 0], tilt[1, 1], tilt[1, 2]
            b0, b1, b2 = tilt[2, 0], tilt[2, 1], tilt[2, 2]
            for index in range(corners.shape[0]):
                v = corners[index]
                s = shares[part, v]
                ox, oy, oz = carried[part, v, 0], carried[part, v, 1], carried[part, v, 2]
                x = vertices[v, 0] + xx * ox + xy * oy + xz * oz + s * mx
                y = vertices[v, 1] + yx * ox + yy * oy + yz * oz + s * my
                z = vertices[v, 2] + zx * ox + zy * oy + zz * oz + s * mz
                w = one / max(z, np.float32(1e-4))
                px, py = (focal * x * w + half - left) * scale - half, (focal * y * w + half - top) * scale - half
                if s > 0:
                    low_x, high_x = min(low_x, px, still[v, 0]), max(high_x, px, still[v, 0])
                    low_y, high_y = min(low_y, py, still[v, 1]), max(high_y, py, still[v, 1])
                nx, ny, nz = s * normals[v, 0], s * normals[v, 1], s * normals[v, 2]
                red = bright[v, 0] + r0 * nx + r1 * ny + r2 * nz
                green = bright[v, 1] + g0 * nx + g1 * ny + g2 * nz
                blue = bright[v, 2] + b0 * nx + b1 * ny + b2 * nz
                probes[k, v, 0], probes[k, v, 1], probes[k, v, 2] = px, py, w
                probes[k, v, 3] = albedo[v, 0] * max(red, np.float32(0))
                probes[k, v, 4] = albedo[v, 1] * max(green, np.float32(0))
                probes[k, v, 5] = albedo[v, 2] * max(blue, np.float32(0))
        # 3. In whole coarse pixels, with the rim that shrinking mixes in.
        first_x, first_y = max(0, int(np.floor(low_x / 2)) - 1), max(0, int(np.floor(low_y / 2)) - 1)
        last_x, last_y = min(side - 1, int(np.ceil(high_x / 2)) + 1), min(side - 1, int(np.ceil(high_y / 2)) + 1)
        if first_x > last_x or first_y > last_y:
            continue
        box[0], box[1] = max(0, 2 * first_x - 1), max(0, 2 * first_y - 1)
        box[2], box[3] = min(fine - 1, 2 * last_x + 2), min(fine - 1, 2 * last_y + 2)
        # 4. What stays where it is.
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                nearest[y, x] = 0
                for c in range(3):
                    picture[y, x, c] = 0
        _fill(faces, fixed, still, closed, box, nearest, picture)
        for pair in range(out.shape[1]):
            # 5. What moves, by itself, in two probes.
            for way in range(2):
                for y in range(box[1], box[3] + 1):
                    for x in range(box[0], box[2] + 1):
                        near_now[way, y, x] = 0
                _fill(faces, moved, probes[2 * pair + way], closed, box, near_now[way], now[way])
            # 6. Their difference where they lie before what stays, halved and made half as large.
            for y in range(box[1], box[3] + 1):
                for x in range(box[0], box[2] + 1):
                    behind = nearest[y, x]
                    first, second = near_now[0, y, x] > behind, near_now[1, y, x] > behind
                    for c in range(4):
                        change[y, x, c] = 0
                    if not (first or second):
                        continue
                    for c in range(3):
                        change[y, x, c] = (now[0, y, x, c] if first else picture[y, x, c]) - (
                            now[1, y, x, c] if second else picture[y, x, c]
                        )
                    if behind <= 0:
                        change[y, x, 3] = np.float32(first) - np.float32(second)
            for y in range(box[1], box[3] + 1):
                for x in range(first_x, last_x + 1):
                    p, q = max(2 * x - 1, 0), min(2 * x + 2, fine - 1)
                    for c in range(4):
                        across[y, x, c] = (
                            change[y, p, c] + 3 * (change[y, 2 * x, c] + change[y, 2 * x + 1, c]) + change[y, q, c]
                        )
            for y in range(first_y, last_y + 1):
                p, q = max(2 * y - 1, 0), min(2 * y + 2, fine - 1)
                for x in range(first_x, last_x + 1):
                    for c in range(4):
                        out[g, pair, y, x, c] = (
                            eighth
                            * eighth
                            * half
                            * (across[p, x, c] + 3 * (across[2 * y, x, c] + across[2 * y + 1, x, c]) + across[q, x, c])
                        )


@njit("(f4[:,::1],i4[:,::1],f4[:,::1])", nogil=True, fastmath=True)
def vertex_normals_of(vertices: Float32, faces: Int32, normals: Float32) -> None:
    """Write unit normals (V,3) of the vertices, weighed by area."""
    normals[:] = 0
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = (vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2])
        bx, by, bz = (vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2])
        for v in (i, j, k):
            normals[v, 0] += ay * bz - az * by
            normals[v, 1] += az * bx - ax * bz
            normals[v, 2] += ax * by - ay * bx
    for v in range(vertices.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + np.float32(1e-20)
        for c in range(3):
            normals[v, c] /= length
