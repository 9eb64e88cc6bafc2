"""Closest points between a deforming mesh and a target, both ways, with trust in each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.geometry.mesh import Mesh, face_normals
from v2m4.geometry.neighbours import Neighbours
from v2m4.geometry.sampling import sample_surface, surface_points


@dataclass(frozen=True)
class Matches:
    """Points of the mesh and where they should go.

    sample: (N,) int64 which of the matcher's samples. target, normal: (N,3) point and surface normal of the target.
    trust: (N,) weights that add up to at most one.
    """

    sample: Tensor
    target: Tensor
    normal: Tensor
    trust: Tensor


class Matcher:
    """Samples of a mesh and of a target, matched to the nearest that faces alike.

    face (N,), weights (N,3): where on the mesh its samples lie. normal_match: length that a difference of normals
    counts as. rng: on the CPU.
    """

    def __init__(
        self, vertices: Tensor, faces: Tensor, target: Mesh, samples: int, normal_match: float, rng: torch.Generator
    ) -> None:
        self.faces = faces
        self.face, self.weights = sample_surface(vertices, faces, samples, rng)
        there, there_weights = sample_surface(target.vertices, target.faces, samples, rng)
        self._goal = surface_points(target.vertices, target.faces, there, there_weights)
        self._normal = face_normals(target.vertices, target.faces)[there]
        self._match = normal_match
        self._features = torch.cat([self._goal, normal_match * self._normal], dim=1)
        self._tree = Neighbours(self._features)

    @property
    def corners(self) -> Tensor:
        """(N,3) int64 vertices of the samples' faces."""
        return self.faces[self.face]

    def points(self, vertices: Tensor) -> Tensor:
        """(N,3) the samples' positions for vertices (V,3)."""
        return surface_points(vertices, self.faces, self.face, self.weights)

    def transport(self, vertices: Tensor, own: Tensor, goal: Tensor, importance: float, reach: float) -> Matches:
        """`match`, and where that leaves points of either surface alone, matches one to one with least total cost.

        So a limb far from where it was still finds its place, while what already fits does not slide.
        own, goal: (N,) a number that deformation keeps, at the mesh's samples and at the target's; importance: what a
        difference of one counts as, in units of length. The time grows with the cube of the number of samples.
        """
        from scipy.optimize import linear_sum_assignment

        near = self.match(vertices, reach)
        points = self.points(vertices).detach()
        count = len(points)
        cost = torch.cdist(points, self._goal).square() + (importance * (own[:, None] - goal[None])) ** 2
        sample, at = (torch.from_numpy(t).to(points.device) for t in linear_sum_assignment(cost.cpu().numpy()))
        settled = near.trust * len(near.trust)
        alone = 1 - torch.minimum(settled[:count][sample], settled[count:][at])
        return Matches(
            torch.cat([near.sample, sample]),
            torch.cat([near.target, self._goal[at]]),
            torch.cat([near.normal, self._normal[at]]),
            torch.cat([near.trust / 2, alone / (2 * count)]),
        )

    @property
    def goal(self) -> Tensor:
        """(N,3) the target's samples."""
        return self._goal

    def match(self, vertices: Tensor, reach: float) -> Matches:
        """Matches for vertices (V,3); trust falls with the distance beyond ``reach`` and with the angle of normals."""
        points, normals = self.points(vertices), face_normals(vertices, self.faces)[self.face]
        features = torch.cat([points, self._match * normals], dim=1)
        everyone = torch.arange(len(points), device=points.device)
        sample = torch.cat([everyone, Neighbours(features).nearest(self._features)])
        goal = torch.cat([self._tree.nearest(features), everyone])
        facing = (normals[sample] * self._normal[goal]).sum(1).clamp_min(0)
        gap = (points[sample] - self._goal[goal]).square().sum(1)
        trust = facing / (1 + gap / reach**2) ** 2 / len(sample)
        return Matches(sample, self._goal[goal], self._normal[goal], trust)
