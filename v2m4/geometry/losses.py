"""What the deformed mesh is asked to keep: ARAP, face areas and edge lengths, the consistency losses of section 4.3.

What it is asked to reach is the Chamfer distance (`chamfer`) and the normal maps (`stages.registration.meshes`). The
method has no loss on the Laplacian: it is in the large-steps parametrisation (`laplacian`). ARAP between the nodes of a
graph instead of a mesh's vertices, which the fast registration solves for, is in `embedded_deformation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.geometry.gather import gather_rows
from v2m4.geometry.mesh import face_normals, unique_edges

_SHORTEST = 1e-3  # of the mean: shorter edges weigh as this one, else those that collapsed would outweigh all others


@dataclass(frozen=True)
class RestShape:
    """What `arap.arap_energy`, `area_change` and `edge_change` compare with: a mesh at rest, prepared once."""

    faces: Tensor
    area: Tensor
    face_edge_length: Tensor
    start: Tensor
    end: Tensor
    edge: Tensor
    weight: Tensor

    @staticmethod
    def of(vertices: Tensor, faces: Tensor) -> RestShape:
        """The rest shape of vertices (V,3) and faces (F,3)."""
        vertices = vertices.detach()
        pairs = unique_edges(faces)
        start, end = torch.cat([pairs, pairs.flip(1)]).unbind(1)
        edge = vertices[end] - vertices[start]
        length = edge.norm(dim=1)
        return RestShape(
            faces=faces,
            area=face_areas(vertices, faces),
            face_edge_length=face_edge_lengths(vertices, faces),
            start=start,
            end=end,
            edge=edge,
            weight=1 / (torch.maximum(length, _SHORTEST * length.mean()) + 1e-8),
        )


def area_change(vertices: Tensor, rest: RestShape) -> Tensor:
    """Mean over the faces of the squared change of area."""
    return (face_areas(vertices, rest.faces) - rest.area).square().mean()


def edge_change(vertices: Tensor, rest: RestShape) -> Tensor:
    """Mean over the faces' three edges of the squared change of length (inner edges count twice)."""
    return (face_edge_lengths(vertices, rest.faces) - rest.face_edge_length).square().mean()


def face_areas(vertices: Tensor, faces: Tensor) -> Tensor:
    """(F,) areas of faces (F,3)."""
    normals = face_normals(vertices, faces, normalise=False)
    return 0.5 * (normals.square().sum(-1) + 1e-30).sqrt()


def face_edge_lengths(vertices: Tensor, faces: Tensor) -> Tensor:
    """(F,3) lengths of the edges from corner e to e + 1."""
    corners = gather_rows(vertices, faces)
    return ((corners.roll(-1, 1) - corners).square().sum(-1) + 1e-30).sqrt()
