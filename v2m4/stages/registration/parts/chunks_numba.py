"""The compiled loop of `chunks`: rays through a body."""

from __future__ import annotations

from v2m4.arrays import Float64, Int64
from v2m4.compiled import njit


@njit("(f8[:,::1],f8[:,::1],f8[:,::1],i8[:,::1],f8[::1],i8[::1])")
def cross_body(points: Float64, normals: Float64, vertices: Float64, faces: Int64, depth: Float64, hit: Int64) -> None:
    """From points (P,3) against their normals to the other side of a mesh: ``depth`` (P,) and the face ``hit`` (P,).

    Both are left as they are where the ray meets nothing. Moeller and Trumbore (1997).
    """
    for i in range(points.shape[0]):
        dx, dy, dz = -normals[i, 0], -normals[i, 1], -normals[i, 2]
        for f in range(faces.shape[0]):
            a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
            ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
            vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
            px, py, pz = dy * vz - dz * vy, dz * vx - dx * vz, dx * vy - dy * vx
            volume = ux * px + uy * py + uz * pz
            if abs(volume) < 1e-18:
                continue
            sx, sy, sz = points[i, 0] - a[0], points[i, 1] - a[1], points[i, 2] - a[2]
            u = (sx * px + sy * py + sz * pz) / volume
            if u < 0.0 or u > 1.0:
                continue
            qx, qy, qz = sy * uz - sz * uy, sz * ux - sx * uz, sx * uy - sy * ux
            v = (dx * qx + dy * qy + dz * qz) / volume
            if v < 0.0 or u + v > 1.0:
                continue
            far = (vx * qx + vy * qy + vz * qz) / volume
            if 0.0 < far < depth[i]:
                depth[i] = far
                hit[i] = f
