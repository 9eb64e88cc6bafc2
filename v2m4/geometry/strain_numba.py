"""Compiled loops over faces that measure and limit strain."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float64, Int64, Mask
from v2m4.compiled import njit


@njit(nogil=True)
def face_normals(vertices: Float64, faces: Int64, normal: Float64, around: Float64) -> None:
    """The normals (F,3) of faces (F,3), twice the area long, and their sums (V,3) over the faces of each vertex, which
    are zero before."""
    for f in range(len(faces)):
        i, j, k = faces[f]
        ax, ay, az = vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2]
        bx, by, bz = vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2]
        normal[f, 0] = ay * bz - az * by
        normal[f, 1] = az * bx - ax * bz
        normal[f, 2] = ax * by - ay * bx
        for corner in range(3):
            for axis in range(3):
                around[faces[f, corner], axis] += normal[f, axis]


@njit("(f8[:,::1],i8[:,::1])", nogil=True)
def folded_faces(vertices: Float64, faces: Int64) -> Mask:
    """(F,) the faces (F,3) whose normal points against the area-weighted unit normals of their corners."""
    normal, around = np.empty((len(faces), 3)), np.zeros((len(vertices), 3))
    face_normals(vertices, faces, normal, around)
    for v in range(len(vertices)):
        size = np.sqrt(max(around[v, 0] ** 2 + around[v, 1] ** 2 + around[v, 2] ** 2, 1e-60))
        for axis in range(3):
            around[v, axis] /= size
    out = np.empty(len(faces), np.bool_)
    for f in range(len(faces)):
        i, j, k = faces[f]
        along = 0.0
        for axis in range(3):
            along += normal[f, axis] * (around[i, axis] + around[j, axis] + around[k, axis])
        out[f] = along < 0
    return out


@njit(nogil=True)
def face_gradients(
    posed: Float64, faces: Int64, length: Float64, along: Float64, height: Float64
) -> tuple[Float64, Float64]:
    """(F,3,2) where each face's deformation gradient takes its plane's axes, and (F,3) the xx, xy, yy of its square.

    length, along, height: (F,) the rest shape of the faces (F,3), laid into the plane: corners at (0, 0), (length, 0)
    and (along, height).
    """
    gradient, square = np.empty((len(faces), 3, 2)), np.zeros((len(faces), 3))
    for f in range(len(faces)):
        i, j, k = faces[f]
        for axis in range(3):
            x = (posed[j, axis] - posed[i, axis]) / length[f]
            y = (posed[k, axis] - posed[i, axis] - along[f] * x) / height[f]
            gradient[f, axis, 0], gradient[f, axis, 1] = x, y
            square[f, 0] += x * x
            square[f, 1] += x * y
            square[f, 2] += y * y
    return gradient, square


@njit("(f8[:,::1],i8[:,::1],f8[::1],f8[::1],f8[::1])", nogil=True)
def principal_stretches(posed: Float64, faces: Int64, length: Float64, along: Float64, height: Float64) -> Float64:
    """(2,F) the largest and the smallest singular value of each face's deformation gradient; arguments as of
    `face_gradients`."""
    square = face_gradients(posed, faces, length, along, height)[1]
    out = np.empty((2, len(faces)))
    for f in range(len(faces)):
        xx, xy, yy = square[f]
        middle, radius = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy * xy)
        out[0, f], out[1, f] = np.sqrt(middle + radius), np.sqrt(max(middle - radius, 0.0))
    return out


@njit("(f8[:,::1],i8[:,::1],f8[::1],f8[::1],f8[::1],f8)", nogil=True)
def limited_pose(
    posed: Float64, faces: Int64, length: Float64, along: Float64, height: Float64, most: float
) -> Float64:
    """The pose (V,3) whose faces' singular values are cut at ``most``, every corner at the mean of where the faces that
    are cut want it; arguments as of `face_gradients`."""
    gradient, square = face_gradients(posed, faces, length, along, height)
    total, number = np.zeros(posed.shape), np.zeros(len(posed), np.int64)
    for f in range(len(faces)):
        # 1. The squared gradient's eigenvalues, and the angle of the first eigenvector in the face's plane.
        xx, xy, yy = square[f]
        middle, radius = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy * xy)
        if np.sqrt(middle + radius) <= most:
            continue
        angle = np.arctan2(2 * xy, xx - yy) / 2
        c, s = np.cos(angle), np.sin(angle)
        first = most / np.sqrt(middle + radius)  # what is left of each singular value
        second = min(1.0, most / np.sqrt(max(middle - radius, 1e-60)))
        # 2. The face so shrunk, about its middle.
        for axis in range(3):
            x, y = gradient[f, axis]
            long, short = first * (c * x + s * y), second * (c * y - s * x)
            x, y = c * long - s * short, s * long + c * short
            to_second, to_third = x * length[f], x * along[f] + y * height[f]
            i, j, k = faces[f]
            start = (posed[i, axis] + posed[j, axis] + posed[k, axis] - to_second - to_third) / 3
            total[i, axis] += start
            total[j, axis] += start + to_second
            total[k, axis] += start + to_third
        for corner in range(3):
            number[faces[f, corner]] += 1
    out = posed.copy()
    for v in range(len(posed)):
        if number[v]:
            for axis in range(3):
                out[v, axis] = total[v, axis] / number[v]
    return out
