"""The compiled kernel behind derivatives of pictures: each part is moved a little, and only it is redrawn."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float32, Int32
from v2m4.compiled import njit


@njit(nogil=True, fastmath=True)
def _fill(
    faces: Int32,
    chosen: Int32,
    px: Float32,
    py: Float32,
    pw: Float32,
    shown: Float32,
    closed: bool,
    box: Int32,
    nearest: Float32,
    picture: Float32,
) -> None:
    """Draw the ``chosen`` faces within ``box`` (left, top, right, bottom, all inside) over what is there.

    closed: faces turned away are left out, for others lie before them.
    """
    for index in range(chosen.shape[0]):
        f = chosen[index]
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        left, right = min(px[i], px[j], px[k]), max(px[i], px[j], px[k])
        if right < box[0] or left > box[2]:
            continue
        upper, lower = min(py[i], py[j], py[k]), max(py[i], py[j], py[k])
        if lower < box[1] or upper > box[3]:
            continue
        area = (px[j] - px[i]) * (py[k] - py[i]) - (px[k] - px[i]) * (py[j] - py[i])
        if abs(area) < 1e-9 or (closed and area > 0):
            continue
        x0, x1 = max(box[0], int(np.ceil(left))), min(box[2], int(np.floor(right)))
        y0, y1 = max(box[1], int(np.ceil(upper))), min(box[3], int(np.floor(lower)))
        over = np.float32(1) / area
        du, dv = -(py[k] - py[j]) * over, -(py[i] - py[k]) * over
        for y in range(y0, y1 + 1):
            u = ((px[j] - x0) * (py[k] - y) - (px[k] - x0) * (py[j] - y)) * over
            v = ((px[k] - x0) * (py[i] - y) - (px[i] - x0) * (py[k] - y)) * over
            for x in range(x0, x1 + 1):
                t = np.float32(1) - u - v
                if u >= 0 and v >= 0 and t >= 0:
                    near = u * pw[i] + v * pw[j] + t * pw[k]
                    if near > nearest[y, x]:
                        nearest[y, x] = near
                        for c in range(3):
                            picture[y, x, c] = u * shown[i, c] + v * shown[j, c] + t * shown[k, c]
                        picture[y, x, 3] = 1
                u += du
                v += dv


@njit(nogil=True, fastmath=True)
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
    group0: int,
    group1: int,
    out: Float32,
) -> None:
    """For groups of six probes, the half differences of the first and second, third and fourth, ... picture.

    vertices, normals: (V,3) of the pose. camera: focal, left, top, pixels per side of the picture. closed: whether the
    mesh has no border and its faces point outwards. carried: (N,V,3) and shares: (N,V) what of each vertex's place, and
    what share of it, parts and those below them make up. parts: (G,) what each group moves. turns: (G,6,3,3), moves:
    (G,6,3) how. face_starts (N+1,), face_lists: the faces that move with each part; fixed_starts, fixed_lists: those
    that do not. out: (G,3,S,S,4), written wholly.
    """
    side, count = out.shape[2], vertices.shape[0]
    fine = 2 * side
    focal, left, top, scale = camera[0], camera[1], camera[2], camera[3]
    px, py, pw = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    shown = np.empty((count, 3), np.float32)
    qx, qy, qw = np.empty((6, count), np.float32), np.empty((6, count), np.float32), np.empty((6, count), np.float32)
    lit = np.empty((6, count, 3), np.float32)
    nearest, picture = np.empty((fine, fine), np.float32), np.empty((fine, fine, 4), np.float32)
    near_now, now = np.empty((fine, fine), np.float32), np.empty((fine, fine, 4), np.float32)
    across = np.empty((fine, side, 4), np.float32)
    box = np.empty(4, np.int32)
    # 1. The pose itself.
    for v in range(count):
        pw[v] = np.float32(1) / max(vertices[v, 2], np.float32(1e-4))
        px[v] = (focal * vertices[v, 0] * pw[v] + np.float32(0.5) - left) * scale - np.float32(0.5)
        py[v] = (focal * vertices[v, 1] * pw[v] + np.float32(0.5) - top) * scale - np.float32(0.5)
        for c in range(3):
            bright = light[c, 0] + (
                light[c, 1] * normals[v, 0] + light[c, 2] * normals[v, 1] + light[c, 3] * normals[v, 2]
            )
            shown[v, c] = albedo[v, c] * max(bright, np.float32(0))
    for g in range(group0, group1):
        part = parts[g]
        moved = face_lists[face_starts[part] : face_starts[part + 1]]
        fixed = fixed_lists[fixed_starts[part] : fixed_starts[part + 1]]
        out[g] = 0
        if moved.shape[0] == 0:
            continue
        # 2. Where the vertices go in each probe, and the box around all that move.
        low_x, low_y, high_x, high_y = np.float32(1e9), np.float32(1e9), np.float32(-1e9), np.float32(-1e9)
        for v in range(count):
            s = shares[part, v]
            if s > 0:
                a, b, c0 = carried[part, v, 0], carried[part, v, 1], carried[part, v, 2]
                low_x, high_x = min(low_x, px[v]), max(high_x, px[v])
                low_y, high_y = min(low_y, py[v]), max(high_y, py[v])
            for k in range(6):
                if s <= 0:
                    qx[k, v], qy[k, v], qw[k, v] = px[v], py[v], pw[v]
                    for c in range(3):
                        lit[k, v, c] = shown[v, c]
                    continue
                r, m = turns[g, k], moves[g, k]
                x = vertices[v, 0] - a + r[0, 0] * a + r[0, 1] * b + r[0, 2] * c0 + s * m[0]
                y = vertices[v, 1] - b + r[1, 0] * a + r[1, 1] * b + r[1, 2] * c0 + s * m[1]
                z = vertices[v, 2] - c0 + r[2, 0] * a + r[2, 1] * b + r[2, 2] * c0 + s * m[2]
                w = np.float32(1) / max(z, np.float32(1e-4))
                qw[k, v] = w
                qx[k, v] = (focal * x * w + np.float32(0.5) - left) * scale - np.float32(0.5)
                qy[k, v] = (focal * y * w + np.float32(0.5) - top) * scale - np.float32(0.5)
                low_x, high_x = min(low_x, qx[k, v]), max(high_x, qx[k, v])
                low_y, high_y = min(low_y, qy[k, v]), max(high_y, qy[k, v])
                n0, n1, n2 = normals[v, 0], normals[v, 1], normals[v, 2]
                e0 = n0 + s * (r[0, 0] * n0 + r[0, 1] * n1 + r[0, 2] * n2 - n0)
                e1 = n1 + s * (r[1, 0] * n0 + r[1, 1] * n1 + r[1, 2] * n2 - n1)
                e2 = n2 + s * (r[2, 0] * n0 + r[2, 1] * n1 + r[2, 2] * n2 - n2)
                for c in range(3):
                    bright = light[c, 0] + light[c, 1] * e0 + light[c, 2] * e1 + light[c, 3] * e2
                    lit[k, v, c] = albedo[v, c] * max(bright, np.float32(0))
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
                for c in range(4):
                    picture[y, x, c] = 0
        _fill(faces, fixed, px, py, pw, shown, closed, box, nearest, picture)
        # 5. Each probe over it, made half as large, and subtracted in pairs.
        for k in range(6):
            for y in range(box[1], box[3] + 1):
                for x in range(box[0], box[2] + 1):
                    near_now[y, x] = nearest[y, x]
                    for c in range(4):
                        now[y, x, c] = picture[y, x, c]
            _fill(faces, moved, qx[k], qy[k], qw[k], lit[k], closed, box, near_now, now)
            for y in range(box[1], box[3] + 1):
                for x in range(first_x, last_x + 1):
                    p, q = max(2 * x - 1, 0), min(2 * x + 2, fine - 1)
                    for c in range(4):
                        across[y, x, c] = (
                            now[y, p, c] + 3 * (now[y, 2 * x, c] + now[y, 2 * x + 1, c]) + now[y, q, c]
                        ) * np.float32(0.125)
            sign = np.float32(0.0625) if k % 2 == 0 else np.float32(-0.0625)  # an eighth of the kernel, and a half
            for y in range(first_y, last_y + 1):
                p, q = max(2 * y - 1, 0), min(2 * y + 2, fine - 1)
                for x in range(first_x, last_x + 1):
                    for c in range(4):
                        out[g, k // 2, y, x, c] += sign * (
                            across[p, x, c] + 3 * (across[2 * y, x, c] + across[2 * y + 1, x, c]) + across[q, x, c]
                        )


@njit(nogil=True, fastmath=True)
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
