"""Chamfer distance: what the similarity of section 4.1 and the registration of section 4.3 descend on."""

from __future__ import annotations

import torch
from torch import Tensor

from v2m4.geometry.gather import gather_rows
from v2m4.geometry.mesh import Mesh, face_normals
from v2m4.geometry.neighbours import Neighbours
from v2m4.geometry.sampling import sample_surface, surface_points


def chamfer(there: Tensor, back: Tensor) -> Tensor:
    """Of offsets (N,3) from points to their nearest targets and (M,3) from targets to their nearest points: the mean
    square of the ones plus that of the others."""
    return there.square().sum(1).mean() + back.square().sum(1).mean()


class SurfaceChamfer:
    """Chamfer distance between a deforming mesh and a target.

    samples: so many points, spread evenly over each surface, are compared; 0: the meshes' vertices, as in the paper.
    normal_match: above 0, neighbours among the samples must also face alike: a normal turned by 90 degrees counts as
    that distance times the square root of two. rng: on the CPU.
    """

    def __init__(
        self,
        vertices: Tensor,
        faces: Tensor,
        target: Mesh,
        *,
        samples: int,
        normal_match: float,
        rng: torch.Generator,
    ) -> None:
        self._faces = faces
        self._match = normal_match
        self._own: tuple[Tensor, Tensor] | None = None
        if samples > 0:
            self._own = sample_surface(vertices, faces, samples, rng)  # (N,) faces, (N,3) barycentrics
            face, weights = sample_surface(target.vertices, target.faces, samples, rng)
            self._target = surface_points(target.vertices, target.faces, face, weights)  # (N,3)
            self._features = self._facing(self._target, face_normals(target.vertices, target.faces)[face])
        else:
            self._target = self._features = target.vertices
        self._tree = Neighbours(self._features)

    def __call__(self, vertices: Tensor) -> Tensor:
        """The distance for vertices (V,3), differentiable."""
        points = features = vertices
        if self._own is not None:
            points = surface_points(vertices, self._faces, *self._own)
            features = self._facing(points, face_normals(vertices.detach(), self._faces)[self._own[0]])
        there = self._tree.nearest(features)
        back = Neighbours(features).nearest(self._features)
        return chamfer(points - self._target[there], self._target - gather_rows(points, back))

    def _facing(self, points: Tensor, normals: Tensor) -> Tensor:
        """(N,6) points beside their weighted normals, or (N,3) points alone."""
        return torch.cat([points.detach(), self._match * normals], dim=1) if self._match > 0 else points.detach()
