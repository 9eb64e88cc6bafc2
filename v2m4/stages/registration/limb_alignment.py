"""Coarse non-rigid alignment of two meshes, not in the paper: limbs that swung further than they are wide.

An embedded deformation (Sumner, Schmid and Pauly 2007) moves onto closest points of the target by Gauss-Newton, so
whole limbs swing within few rounds. At first samples are also matched one to one, by place and by how far from the
middle of the surface they are, which bending does not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from v2m4.arrays import Float64
from v2m4.geometry.embedded_deformation import (
    PointToPlane,
    Stiffness,
    build_graph,
    deform,
    farthest_points,
    geodesic_graph,
    rest_pose,
    rest_state,
    solve,
)
from v2m4.geometry.losses import face_areas
from v2m4.geometry.mesh import Mesh, face_normals
from v2m4.geometry.neighbours import Neighbours
from v2m4.geometry.sampling import sample_surface, surface_points
from v2m4.settings import LimbSettings
from v2m4.stages.registration.correspondences import concatenate


@dataclass(frozen=True)
class SurfaceMatches:
    """Points of the mesh and where they should go.

    sample: (M,) int64 which of the matcher's samples. target, normal: (M,3) point and surface normal of the target.
    trust: (M,) weights that add up to at most one.
    """

    sample: Tensor
    target: Tensor
    normal: Tensor
    trust: Tensor


class Matcher:
    """Samples of a mesh and of a target, matched to the nearest that faces alike.

    face (N,), barycentrics (N,3): where on the mesh its samples lie. goal: (N,3) the target's samples. normal_match:
    length that a difference of normals counts as. rng: on the CPU.
    """

    def __init__(
        self, vertices: Tensor, faces: Tensor, target: Mesh, samples: int, normal_match: float, rng: torch.Generator
    ) -> None:
        self.faces = faces
        self.face, self.barycentrics = sample_surface(vertices, faces, samples, rng)
        there, there_barycentrics = sample_surface(target.vertices, target.faces, samples, rng)
        self.goal = surface_points(target.vertices, target.faces, there, there_barycentrics)
        self._normal = face_normals(target.vertices, target.faces)[there]
        self._normal_match = normal_match
        self._features = torch.cat([self.goal, normal_match * self._normal], dim=1)  # (N,6)
        self._tree = Neighbours(self._features)

    @property
    def corners(self) -> Tensor:
        """(N,3) int64 vertices of the samples' faces."""
        return self.faces[self.face]

    def points(self, vertices: Tensor) -> Tensor:
        """(N,3) the samples' positions for vertices (V,3)."""
        return surface_points(vertices, self.faces, self.face, self.barycentrics)

    def closest(self, vertices: Tensor, reach: float) -> SurfaceMatches:
        """Closest points both ways; trust falls with the distance beyond ``reach`` (Geman-McClure) and with the angle
        between the normals."""
        points, normals = self.points(vertices), face_normals(vertices, self.faces)[self.face]
        features = torch.cat([points, self._normal_match * normals], dim=1)
        everyone = torch.arange(len(points), device=points.device)
        sample = torch.cat([everyone, Neighbours(features).nearest(self._features)])  # (2N,)
        goal = torch.cat([self._tree.nearest(features), everyone])
        facing = (normals[sample] * self._normal[goal]).sum(1).clamp_min(0)
        gap = (points[sample] - self.goal[goal]).square().sum(1)
        trust = facing / (1 + gap / reach**2) ** 2 / len(sample)
        return SurfaceMatches(sample, self.goal[goal], self._normal[goal], trust)

    def transport(self, vertices: Tensor, own: Tensor, goal: Tensor, importance: float, reach: float) -> SurfaceMatches:
        """`closest`, and where that leaves points of either surface alone, one to one with least total cost.

        So a limb far from where it was still finds its place, while what already fits does not slide.
        own, goal: (N,) a number that deformation keeps, at the mesh's samples and at the target's; importance: what a
        difference of one counts as, in units of length. The time grows with the cube of the number of samples.
        """
        from scipy.optimize import linear_sum_assignment  # a tenth of the start of every run, and few get here

        near = self.closest(vertices, reach)
        points = self.points(vertices).detach()
        count = len(points)
        cost = torch.cdist(points, self.goal).square() + (importance * (own[:, None] - goal[None])) ** 2  # (N,N)
        sample, at = (torch.from_numpy(t).to(points.device) for t in linear_sum_assignment(cost.cpu().numpy()))
        settled = near.trust * len(near.trust)
        alone = 1 - torch.minimum(settled[:count][sample], settled[count:][at])
        return SurfaceMatches(
            torch.cat([near.sample, sample]),  # (3N,)
            torch.cat([near.target, self.goal[at]]),
            torch.cat([near.normal, self._normal[at]]),
            torch.cat([near.trust / 2, alone / (2 * count)]),
        )


def average_geodesic_distance(vertices: Tensor, faces: Tensor, points: Tensor, sources: int, bridges: int) -> Tensor:
    """(N,) mean distance along the surface from points (N,3) to all of it, by the largest such: bending keeps it.

    Tips of limbs are near 1, the trunk is low (Hilaga et al. 2001). sources: points of the surface whose distances are
    averaged, each for its surroundings' area. bridges: see `geodesic_graph`.
    """
    at, corners = _float64(vertices), faces.cpu().numpy()
    area = np.bincount(corners.ravel(), np.repeat(_float64(face_areas(vertices, faces)), 3), len(at))  # (V,)
    _, distances = farthest_points(geodesic_graph(at, corners, bridges), 0, sources)  # (V,S)
    weight = np.bincount(distances.argmin(axis=1), area, distances.shape[1])
    mean = distances @ weight / max(weight.sum(), 1e-30)
    used = np.flatnonzero(area > 0)
    nearest = used[cKDTree(at[used]).query(_float64(points))[1]]
    return torch.from_numpy(mean[nearest] / mean[used].max()).to(points)


def coarse_alignment(
    vertices: Tensor,
    faces: Tensor,
    target: Mesh,
    settings: LimbSettings,
    rng: torch.Generator,
    *,
    normal_match: float,
    importance: float | None,
    stiffer: float = 1.0,
    bending: float = 0.0,
) -> Iterator[Tensor]:
    """Deform vertices (V,3) onto the target, yielding them after each of ``settings.rounds``.

    importance: what a difference in `average_geodesic_distance` counts in one-to-one matches, in diagonals; None does
    without them. stiffer: how many times ``stiffness_first`` counts. bending: how strongly neighbouring nodes turn
    together, against how they keep their distance. normal_match: see `Matcher`. rng: on the CPU.
    """
    graph = build_graph(_float64(vertices), faces.cpu().numpy(), settings.nodes, settings.graph)
    pose, rest = rest_pose(graph), rest_state(graph)
    count, rounds = len(graph.nodes), settings.rounds
    diagonal = float((target.vertices.amax(0) - target.vertices.amin(0)).norm())
    # 1. Samples that are matched one to one, and what bending keeps of them; more that are matched to the closest.
    near = Matcher(vertices, faces, target, settings.samples, normal_match, rng)
    transports = 0 if importance is None else int(settings.transport_share * rounds)
    if transports:
        far = Matcher(vertices, faces, target, settings.transport_samples, normal_match, rng)
        own, goal = (
            average_geodesic_distance(v, f, points, settings.geodesic_sources, settings.graph.bridges)
            for v, f, points in (
                (vertices, faces, far.points(vertices)),
                (target.vertices, target.faces, far.goal),
            )
        )
    moved = vertices
    for i in range(rounds):
        # 2. Ever softer, and ever less trust in what is far away.
        done = i / max(1, rounds - 1)
        stiffness = (stiffer * settings.stiffness_first) ** (1 - done) * settings.stiffness_last**done
        reach = diagonal * settings.reach_first ** (1 - done) * settings.reach_last**done
        # 3. Where samples should go.
        if i < transports:
            assert importance is not None
            matcher, sliding = far, 1.0
            matches = far.transport(moved, own, goal, importance * diagonal, settings.reach_last * diagonal)
        else:
            matcher, sliding = near, settings.sliding
            matches = near.closest(moved, reach)
        planes = match_constraints(matcher, matches, sliding, count)
        # 4. One step of the nodes there. Each direction of each edge shares the stiffness of a node.
        edge = stiffness * count / max(1, 2 * len(graph.edges))
        pose = solve(graph, pose, rest, [], planes, Stiffness(edge, bending * edge, settings.damping), np.inf)
        moved = torch.from_numpy(deform(graph, pose)).to(vertices)
        yield moved


def match_constraints(matcher: Matcher, matches: SurfaceMatches, sliding: float, total: float) -> PointToPlane:
    """Each match as a tangent plane of the target and, ``sliding`` times as strong, as its point.

    total: what the weights of matches add up to, if all are trusted.
    """
    corners = matcher.corners.cpu().numpy()[matches.sample.cpu().numpy()]  # (M,3)
    barycentrics = _float64(matcher.barycentrics[matches.sample])
    target, normal, weights = _float64(matches.target), _float64(matches.normal), total * _float64(matches.trust)
    planes = PointToPlane(corners, barycentrics, normal, (normal * target).sum(1), weights)
    return concatenate(planes, PointToPlane.at_points(corners, barycentrics, target, sliding * weights))


def _float64(values: Tensor) -> Float64:
    return values.detach().cpu().double().numpy()
