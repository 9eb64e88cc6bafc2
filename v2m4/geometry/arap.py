"""ARAP: how far a mesh is from being as rigid as possible (Sorkine and Alexa 2007)."""

from __future__ import annotations

import torch
from torch import Tensor

from v2m4.geometry.gather import gather_rows
from v2m4.geometry.losses import RestShape
from v2m4.geometry.rotations import closest_rotation


def arap_energy(vertices: Tensor, rest: RestShape) -> Tensor:
    """As-rigid-as-possible energy (Sorkine and Alexa 2007): how far one-rings are from a rotation of their rest shape.

    Mean over the directed edges i -> j of w |e'_ij - R_i e_ij|^2 with w = 1 / |e_ij| and R_i the best rotation of
    vertex i's edges, never a reflection. R_i minimises the very terms it appears in, so its own derivative does not
    matter: it is held constant, and symmetric or flat one-rings give finite gradients.
    """
    edge = gather_rows(vertices, rest.end) - gather_rows(vertices, rest.start)
    rotation = best_rotations(edge.detach(), rest, len(vertices))
    turned = (rotation[rest.start] @ rest.edge[..., None])[..., 0]
    return (rest.weight * (edge - turned).square().sum(1)).mean()


def best_rotations(edge: Tensor, rest: RestShape, vertices: int) -> Tensor:
    """(V,3,3) rotations that best take each vertex's rest edges to ``edge`` (2E,3), as ordered in the rest shape."""
    outer = (rest.weight[:, None] * edge)[:, :, None] * rest.edge[:, None, :]
    covariance = torch.zeros(vertices, 9, dtype=edge.dtype, device=edge.device)
    covariance.scatter_add_(0, rest.start[:, None].expand(-1, 9), outer.reshape(-1, 9))
    return closest_rotation(covariance.view(-1, 3, 3))
