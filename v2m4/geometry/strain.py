"""How much a deformation strains the faces of a mesh, and which it turns over."""

from __future__ import annotations

import copy

import numpy as np

from v2m4.arrays import Float64, Int64, Mask
from v2m4.geometry.strain_numba import folded_faces, limited_pose, principal_stretches

_FLATTEST = 1e-9  # least height of a face over its first edge, in units of that edge: no face is without area


class FaceStrain:
    """Compares poses of a mesh with its rest shape (V,3), faces (F,3)."""

    def __init__(self, rest: Float64, faces: Int64) -> None:
        self.faces = faces
        first, second = _edges(rest, faces)
        # 1. Each face laid into the plane, its first edge along x: (length, 0) and (along, height).
        length = np.maximum(np.linalg.norm(first, axis=1), 1e-30)
        along = _dot(first, second) / length
        height = np.linalg.norm(second - (along / length)[:, None] * first, axis=1)
        self._length, self._along = length, along
        self._height = np.maximum(height, _FLATTEST * length)
        # 2. What is folded at rest is nobody's fault later.
        self._folded_at_rest = folded(rest, faces)

    def part(self, faces: Int64, place: Int64) -> FaceStrain:
        """The same for some faces (N,) by themselves. place: (V,) the numbers of their corners in poses of these."""
        out = copy.copy(self)
        out.faces = place[self.faces[faces]]
        out._length, out._along, out._height = self._length[faces], self._along[faces], self._height[faces]
        out._folded_at_rest = self._folded_at_rest[faces]
        return out

    def largest_stretch(self, posed: Float64) -> Float64:
        """(F,) the largest singular value of each face's deformation gradient in a pose (V,3): 1 leaves its lengths as
        they are, 3 draws it out to three times some length."""
        return self.stretches(posed)[0]

    def smallest_stretch(self, posed: Float64) -> Float64:
        """(F,) the smallest singular value: 1/3 presses a face to a third of some length."""
        return self.stretches(posed)[1]

    def limited(self, posed: Float64, most: float) -> Float64:
        """The pose (V,3) with every corner at the mean of where its faces want it, each of which shrinks about its
        middle along those directions in which it is drawn out to more than ``most`` times its length."""
        return limited_pose(posed, self.faces, self._length, self._along, self._height, most)

    def turned_over(self, posed: Float64) -> Mask:
        """(F,) the faces that are folded over in a pose (V,3), but not at rest."""
        return folded(posed, self.faces) & ~self._folded_at_rest

    def torn(self, posed: Float64, most: float) -> Mask:
        """(F,) the faces that a pose (V,3) stretches more than ``most`` times or turns over."""
        return (self.largest_stretch(posed) > most) | self.turned_over(posed)

    def stretches(self, posed: Float64) -> Float64:
        """(2,F) `largest_stretch` and `smallest_stretch`, in the time of one."""
        return principal_stretches(posed, self.faces, self._length, self._along, self._height)


def folded(vertices: Float64, faces: Int64) -> Mask:
    """(F,) the faces whose normal points against the area-weighted normals of their corners."""
    return folded_faces(vertices, faces)


def _dot(a: Float64, b: Float64) -> Float64:
    """(N,) of (N,3) and (N,3)."""
    return np.asarray(np.einsum("nc,nc->n", a, b))


def _edges(vertices: Float64, faces: Int64) -> tuple[Float64, Float64]:
    """(F,3) each: from every face's first corner to its second, and to its third."""
    start = vertices[faces[:, 0]]
    return vertices[faces[:, 1]] - start, vertices[faces[:, 2]] - start
