"""Non-rigid alignment of surfaces by closest points, stiff at first and softer later.

Point-to-plane closest points (Chen and Medioni 1992) with as-rigid-as-possible neighbourhoods (Sorkine and Alexa 2007)
and falling stiffness (Amberg, Romdhani and Vetter 2007). Each round matches points, turns neighbourhoods, and solves
one linear system by conjugate gradients, with the factorised stiffness as preconditioner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from v2m4.geometry.laplacian import cholesky, solve
from v2m4.geometry.losses import RestShape, best_rotations
from v2m4.geometry.mesh import Mesh, face_normals, unique_edges
from v2m4.geometry.neighbours import Neighbours, sample_surface, surface_points

_GLIDE = 0.05  # what a point's distance within the plane counts, against that to the plane
_GLUE = 0.05  # pieces of the mesh closer than this share of the diagonal hold together
_CG_STEPS = 12


@dataclass(frozen=True)
class _Pairs:
    """Matched points: corners (N,3) int64 and weights (N,3) of those on the mesh, target, normal (N,3), trust (N,)."""

    corners: Tensor
    weights: Tensor
    target: Tensor
    normal: Tensor
    trust: Tensor

    def at(self, x: Tensor) -> Tensor:
        """(N,3) values x (V,3) at the points."""
        return (x[self.corners] * self.weights[..., None]).sum(1)

    def pull(self, y: Tensor) -> Tensor:
        """What weighs the differences y (N,3): along the normal, and a little across."""
        along = (y * self.normal).sum(1, keepdim=True) * self.normal
        return self.trust[:, None] * (along + _GLIDE * y)

    def back(self, y: Tensor, vertices: int) -> Tensor:
        """(V,3) the transpose of `at`, of y (N,3)."""
        out = torch.zeros(vertices, 3, dtype=y.dtype, device=y.device)
        spread = (y[:, None] * self.weights[..., None]).reshape(-1, 3)
        return out.scatter_add_(0, self.corners.reshape(-1, 1).expand(-1, 3), spread)


def elastic_alignment(
    vertices: Tensor,
    faces: Tensor,
    target: Mesh,
    rng: torch.Generator,
    *,
    rounds: int,
    samples: int = 4000,
    stiffness: tuple[float, float] = (10.0, 0.01),
    normal_match: float = 0.1,
) -> Iterator[Tensor]:
    """Deform vertices (V,3) onto the target, yielding them after each round.

    samples: points matched in each direction. stiffness: first and last; at s, straining all edges by a tenth costs as
    much as a distance of sqrt(s) / 10 of the target's diagonal. normal_match: see `SurfaceDistance`. rng: on the CPU.
    """
    diagonal = float((target.vertices.amax(0) - target.vertices.amin(0)).norm())
    rest = _glued(RestShape.of(vertices, faces), vertices, faces, _GLUE * diagonal)
    count = len(vertices)
    mean_edge = float(rest.edge.square().sum(1).mean())
    face, weights = sample_surface(vertices, faces, samples, rng)
    corners = faces[face]
    there, there_weights = sample_surface(target.vertices, target.faces, samples, rng)
    goal = surface_points(target.vertices, target.faces, there, there_weights)
    goal_normal = face_normals(target.vertices, target.faces)[there]
    goal_tree = Neighbours(torch.cat([goal, normal_match * goal_normal], dim=1))

    x = vertices
    for i in range(rounds):
        share = i / max(1, rounds - 1)
        soft = stiffness[0] ** (1 - share) * stiffness[1] ** share * diagonal**2 / (mean_edge * len(rest.start))
        reach = diagonal * (0.1 ** (1 - share) * 0.02**share)
        points = surface_points(x, faces, face, weights)
        features = torch.cat([points, normal_match * face_normals(x, faces)[face]], dim=1)
        ahead = goal_tree.nearest(features)
        behind = Neighbours(features).nearest(torch.cat([goal, normal_match * goal_normal], dim=1))
        own = torch.cat([torch.arange(samples, device=x.device), behind])
        its = torch.cat([ahead, torch.arange(samples, device=x.device)])
        gap = (points[own] - goal[its]).square().sum(1)
        facing = (features[own, 3:] * goal_normal[its]).sum(1).clamp_min(0) / max(normal_match, 1e-12)
        trust = (facing if normal_match > 0 else 1.0) / (1 + gap / reach**2) ** 2 / (2 * samples)
        pairs = _Pairs(corners[own], weights[own], goal[its], goal_normal[its], trust)
        x = _settle(x, rest, pairs, soft, count)
        yield x


def _settle(x: Tensor, rest: RestShape, pairs: _Pairs, soft: float, count: int) -> Tensor:
    """Turn the neighbourhoods, then solve for the vertices with the turns and the matches held."""
    rotation = best_rotations(x[rest.end] - x[rest.start], rest, count)
    turned = 0.5 * ((rotation[rest.start] + rotation[rest.end]) @ rest.edge[..., None])[..., 0]

    def gather(y: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        return out.scatter_add_(0, rest.start[:, None].expand(-1, 3), y)

    def stiff(v: Tensor) -> Tensor:
        return 2 * soft * gather(v[rest.start] - v[rest.end])

    def apply(v: Tensor) -> Tensor:
        return stiff(v) + pairs.back(pairs.pull(pairs.at(v)), count)

    right = -2 * soft * gather(turned) + pairs.back(pairs.pull(pairs.target), count)
    mass = pairs.back((pairs.trust * (1 / 3 + _GLIDE))[:, None].expand(-1, 3).contiguous(), count)[:, 0]
    solver = cholesky(_preconditioner(rest, soft, mass, count))
    return _conjugate_gradients(apply, lambda r: solve(solver, r), right, x)


def _preconditioner(rest: RestShape, soft: float, mass: Tensor, count: int) -> Tensor:
    """(V,V) sparse: the stiffness, plus how strongly each vertex is pulled on average over directions."""
    both = torch.ones_like(rest.weight) * 2 * soft
    everyone = torch.arange(count, device=mass.device)
    rows = torch.cat([rest.start, rest.start, everyone])
    columns = torch.cat([rest.end, rest.start, everyone])
    values = torch.cat([-both, both, mass + 1e-6 * mass.mean()])
    index = torch.stack([rows, columns])
    return torch.sparse_coo_tensor(index, values, (count, count), check_invariants=False).coalesce()


def _conjugate_gradients(apply, precondition, right: Tensor, start: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    x, r = start, right - apply(start)
    z = precondition(r)
    p, rz = z, (r * z).sum()
    for _ in range(_CG_STEPS):
        ap = apply(p)
        step = rz / (p * ap).sum().clamp_min(1e-30)
        x, r = x + step * p, r - step * ap
        z = precondition(r)
        fresh = (r * z).sum()
        p, rz = z + fresh / rz.clamp_min(1e-30) * p, fresh
    return x


def _glued(rest: RestShape, vertices: Tensor, faces: Tensor, reach: float) -> RestShape:
    """The rest shape with edges of weight one, and further ones between pieces of the mesh that nearly touch."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    pairs = unique_edges(faces).cpu().numpy()
    count = len(vertices)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    pieces, label = connected_components(graph, directed=False)
    points = vertices.detach().cpu().numpy()
    links = [np.empty((0, 2), np.int64)]
    for piece in range(pieces):
        inside = label == piece
        if inside.all():
            break
        distance, index = cKDTree(points[~inside]).query(points[inside], distance_upper_bound=reach)
        near = np.isfinite(distance)
        links.append(np.stack([inside.nonzero()[0][near], (~inside).nonzero()[0][index[near]]], axis=1))
    glue = np.unique(np.sort(np.concatenate(links), axis=1), axis=0)
    both = torch.from_numpy(np.concatenate([glue, glue[:, ::-1]])).to(faces.device)
    start, end = torch.cat([rest.start, both[:, 0]]), torch.cat([rest.end, both[:, 1]])
    edge = vertices.detach()[end] - vertices.detach()[start]
    return RestShape(rest.faces, rest.area, rest.face_edge_length, start, end, edge, torch.ones_like(edge[:, 0]))
