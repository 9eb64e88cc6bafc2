"""Coarse non-rigid alignment by an embedded deformation graph (Sumner, Schmid and Pauly 2007).

A few hundred nodes on the mesh each carry a rotation and a translation; a vertex follows the nodes near it, counted
along the surface. Gauss-Newton over closest points finds all of them at once, so whole limbs swing within few rounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree
from torch import Tensor

from v2m4.geometry.mesh import Mesh, unique_edges
from v2m4.geometry.rotations import rotation_from_axis_angle
from v2m4.stages.registration.matching import Matcher

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
_GLIDE = 0.03  # what a point's distance within the plane counts, against that to the plane
_FOLLOWED = 4  # nodes a vertex follows
_GLUE = 0.05  # pieces of the mesh closer than this share of the diagonal hold together


@dataclass(frozen=True)
class DeformationGraph:
    """nodes (K,) vertex indices; follow (V,4) nodes each vertex follows, by share (V,4); edges (E,2) between nodes."""

    nodes: Ints
    follow: Ints
    share: Doubles
    edges: Ints


def deformation_graph(vertices: Tensor, faces: Tensor, count: int) -> DeformationGraph:
    """Spread ``count`` nodes evenly over a mesh (farthest first, along the surface)."""
    points = vertices.detach().cpu().double().numpy()
    links = surface_graph(points, faces.cpu().numpy())
    count = min(count, len(points))
    nodes, away = [0], dijkstra(links, indices=0)
    rows = [away]
    while len(nodes) < count:
        nodes.append(int(np.argmax(np.where(np.isfinite(away), away, np.inf))))
        rows.append(dijkstra(links, indices=nodes[-1]))
        away = np.minimum(away, rows[-1])
    distance = np.stack(rows, axis=1)  # (V,K)
    few = min(_FOLLOWED + 1, count)
    near = np.argsort(distance, axis=1)[:, :few]
    reach = np.take_along_axis(distance, near, axis=1)
    follow = near[:, :_FOLLOWED]
    limit = np.maximum(reach[:, -1:], 1e-12) * 1.0001
    share = np.where(np.isfinite(reach[:, :_FOLLOWED]), np.maximum(1 - reach[:, :_FOLLOWED] / limit, 0) ** 2, 0)
    share[:, 0] += 1e-9
    share /= share.sum(1, keepdims=True)
    # Nodes that move a common vertex are neighbours.
    wide = follow.shape[1]
    first, second = np.repeat(np.arange(wide), wide), np.tile(np.arange(wide), wide)
    both = (share[:, first] > 0) & (share[:, second] > 0)
    pairs = np.unique(np.stack([follow[:, first][both], follow[:, second][both]], axis=1), axis=0)
    return DeformationGraph(np.array(nodes), follow, share, pairs[pairs[:, 0] != pairs[:, 1]])


def surface_graph(points: Doubles, faces: Ints) -> csr_matrix:
    """(V,V) lengths of the edges, and of links between pieces of the mesh that nearly touch."""
    pairs = unique_edges(torch.from_numpy(faces)).numpy()
    count = len(points)
    mesh = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    pieces, label = connected_components(mesh, directed=False)
    reach = _GLUE * np.linalg.norm(points.max(0) - points.min(0))
    links = [pairs]
    for piece in range(pieces if pieces > 1 else 0):
        inside = label == piece
        distance, index = cKDTree(points[~inside]).query(points[inside])
        near = distance <= max(reach, distance.min())  # every piece holds to another one somewhere
        links.append(np.stack([inside.nonzero()[0][near], (~inside).nonzero()[0][index[near]]], axis=1))
    both = np.unique(np.sort(np.concatenate(links), axis=1), axis=0)
    length = np.linalg.norm(points[both[:, 0]] - points[both[:, 1]], axis=1).clip(1e-9)
    half = coo_matrix((length, (both[:, 0], both[:, 1])), shape=(count, count))
    return (half + half.T).tocsr()


def remoteness(vertices: Tensor, faces: Tensor, points: Tensor, sources: int = 60) -> Tensor:
    """(N,) mean distance along the surface from points (N,3) to all of it, by the largest such: bending keeps it.

    Tips of limbs are near 1, the trunk is low. Unconnected pieces are joined where they nearly touch.
    """
    at = vertices.detach().cpu().double().numpy()
    links = surface_graph(at, faces.cpu().numpy())
    chosen, away = [0], dijkstra(links, indices=0)
    total = np.zeros(len(at))
    area = np.zeros(len(at))
    np.add.at(area, faces.cpu().numpy().reshape(-1), np.repeat(_areas(at, faces.cpu().numpy()), 3))
    rows = []
    for _ in range(min(sources, len(at))):
        row = dijkstra(links, indices=chosen[-1])
        rows.append(row)
        away = np.minimum(away, row)
        chosen.append(int(np.argmax(np.where(np.isfinite(away), away, -1))))
    distance = np.stack(rows)
    owner = np.argmin(distance, axis=0)
    weight = np.bincount(owner, area, minlength=len(rows))
    finite = np.isfinite(distance)
    total = (np.where(finite, distance, 0) * weight[:, None]).sum(0) / np.maximum(
        (finite * weight[:, None]).sum(0), 1e-12
    )
    used = area > 0
    value = total / total[used].max()
    _, index = cKDTree(at[used]).query(points.detach().cpu().double().numpy())
    return torch.from_numpy(value[used][index]).to(points)


def _areas(points: Doubles, faces: Ints) -> Doubles:
    a, b, c = (points[faces[:, i]] for i in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1)


def coarse_alignment(
    vertices: Tensor,
    faces: Tensor,
    target: Mesh,
    rng: torch.Generator,
    *,
    rounds: int,
    transport_rounds: int = 8,
    transport_samples: int = 800,
    importance: float = 0.2,
    nodes: int = 150,
    samples: int = 3000,
    stiffness: tuple[float, float] = (1.0, 0.01),
    normal_match: float = 0.1,
) -> Iterator[Tensor]:
    """Deform vertices (V,3) onto the target, yielding them after each round.

    transport_rounds: rounds at first that also match one to one (see `Matcher.transport`), ``transport_samples``
    points, by place and, as far as ``importance`` says (0 to 1), by `remoteness`.
    stiffness: first and last weight of keeping nodes rigid to one another, against the distance to the target.
    samples: points matched in each direction. normal_match: see `Matcher`. rng: on the CPU.
    """
    graph = deformation_graph(vertices, faces, nodes)
    matcher = Matcher(vertices, faces, target, samples, normal_match, rng)
    diagonal = float((target.vertices.amax(0) - target.vertices.amin(0)).norm())
    rest = vertices.detach().cpu().double()
    centre = rest[graph.nodes]
    follow, share = torch.from_numpy(graph.follow), torch.from_numpy(graph.share)
    rotation, shift = torch.eye(3, dtype=torch.float64).repeat(len(centre), 1, 1), torch.zeros_like(centre)

    def deform(points: Tensor, nodes: Tensor, parts: Tensor) -> Tensor:
        moved = (rotation[nodes] @ (points[:, None] - centre[nodes])[..., None])[..., 0] + centre[nodes] + shift[nodes]
        return (parts[..., None] * moved).sum(1)

    near = matcher
    far = Matcher(vertices, faces, target, transport_samples, normal_match, rng)
    own, goal = torch.zeros(2, transport_samples).to(vertices)
    if transport_rounds > 0 and importance > 0:
        own = remoteness(vertices, faces, far.points(vertices))
        goal = remoteness(target.vertices, target.faces, far.goal)
    x = vertices
    for i in range(rounds):
        matcher = far if i < transport_rounds else near
        # A sample follows what its nearest corner follows.
        heavy = matcher.corners.cpu().gather(1, matcher.weights.cpu().argmax(1, keepdim=True))[:, 0]
        start = matcher.points(vertices).detach().cpu().double()
        fraction = i / max(1, rounds - 1)
        stiff = stiffness[0] ** (1 - fraction) * stiffness[1] ** fraction
        if i < transport_rounds:
            matches = far.transport(x, own, goal, importance * diagonal, 0.03 * diagonal)
        else:
            matches = matcher.match(x, diagonal * 0.15 ** (1 - fraction) * 0.03**fraction)
        glide = 1.0 if i < transport_rounds else _GLIDE
        sample = matches.sample.cpu()
        chosen, parts = follow[heavy[sample]], share[heavy[sample]]
        arm = (rotation[chosen] @ (start[sample][:, None] - centre[chosen])[..., None])[..., 0]
        now = deform(start[sample], chosen, parts)
        gap, normal = matches.target.cpu().double() - now, matches.normal.cpu().double()
        trust = matches.trust.cpu().double().sqrt()
        rows, values, right = [], [], []
        directions = [
            (normal, 1.0),
            *((torch.eye(3, dtype=torch.float64)[k].expand_as(gap), glide**0.5) for k in range(3)),
        ]
        for direction, weight in directions:
            turn = torch.linalg.cross(arm, direction[:, None].expand_as(arm)) * parts[..., None]
            move = direction[:, None] * parts[..., None]
            rows.append(chosen)
            values.append(torch.cat([turn, move], dim=2) * (weight * trust)[:, None, None])
            right.append((gap * direction).sum(1) * weight * trust)
        update = _gauss_newton(
            graph, torch.cat(rows), torch.cat(values), torch.cat(right), rotation, shift, centre, stiff
        )
        rotation = rotation_from_axis_angle(update[:, :3]) @ rotation
        shift = shift + update[:, 3:]
        x = deform(rest, follow, share).to(vertices)
        yield x


def _gauss_newton(
    graph: DeformationGraph,
    chosen: Tensor,
    values: Tensor,
    right: Tensor,
    rotation: Tensor,
    shift: Tensor,
    centre: Tensor,
    stiff: float,
) -> Tensor:
    """(K,6) turn and move of each node: least squares of the matches (N,4 nodes, (N,4,6) derivatives, (N,)) and of
    neighbouring nodes staying rigid to one another."""
    count = len(centre)
    unknowns = (chosen[..., None] * 6 + torch.arange(6)).reshape(len(chosen), -1).numpy()
    n = unknowns.shape[1]
    data = csr_matrix(
        (values.reshape(-1).numpy(), unknowns.reshape(-1), np.arange(len(chosen) + 1) * n),
        shape=(len(chosen), 6 * count),
    )
    i, j = torch.from_numpy(graph.edges).unbind(1)
    arm = (rotation[i] @ (centre[j] - centre[i])[..., None])[..., 0]
    miss = centre[j] + shift[j] - (arm + centre[i] + shift[i])
    # Rotating node i moves its idea of node j by w x arm.
    weight = (stiff / len(i)) ** 0.5
    zero = torch.zeros_like(arm[:, 0])
    ax, ay, az = arm.unbind(1)
    cross = torch.stack([zero, az, -ay, -az, zero, ax, ay, -ax, zero], dim=1).view(-1, 3, 3)
    eye = torch.eye(3, dtype=torch.float64).expand(len(i), 3, 3)
    block = weight * torch.cat([cross, eye, -eye], dim=2)  # (E,3,9)
    columns = torch.cat([i[:, None] * 6 + torch.arange(6), j[:, None] * 6 + torch.arange(3, 6)], dim=1)
    places = columns[:, None].expand(-1, 3, -1).reshape(-1).numpy()
    rigid = csr_matrix(
        (block.reshape(-1).numpy(), places, np.arange(3 * len(i) + 1) * 9), shape=(3 * len(i), 6 * count)
    )
    normal = (data.T @ data + rigid.T @ rigid).toarray()
    normal[np.diag_indices_from(normal)] += 1e-9 * np.trace(normal) / len(normal) + 1e-12
    side = data.T @ right.numpy() + rigid.T @ (weight * miss.reshape(-1).numpy())
    update: Doubles = cho_solve(cho_factor(normal, lower=True), side)
    return torch.from_numpy(update).view(count, 6)
