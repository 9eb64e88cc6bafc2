"""A texture as vertex colours."""

from __future__ import annotations

from dataclasses import replace

import torch

from v2m4.geometry.mesh import Mesh
from v2m4.render.texture import sample_texture


def vertex_colored(mesh: Mesh) -> Mesh:
    """The mesh with its texture averaged to vertex colours, over the corners around each vertex; others as they are."""
    if mesh.texture is None or mesh.uv is None or mesh.uv_faces is None:
        return mesh
    corners = mesh.uv[mesh.uv_faces]
    # Three points of the third of the face that belongs to each corner.
    weights = torch.tensor([[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.5, 0.1, 0.4]], device=corners.device)
    total = torch.zeros_like(mesh.vertices)
    count = torch.zeros_like(mesh.vertices[:, :1])
    for corner in range(3):
        turned = corners.roll(-corner, dims=1)
        points = torch.einsum("kc,fcd->fkd", weights, turned)
        color = sample_texture(mesh.texture, points.reshape(-1, 2)).view(len(corners), 3, 3).mean(1)
        total.index_add_(0, mesh.faces[:, corner], color)
        count.index_add_(0, mesh.faces[:, corner], torch.ones_like(color[:, :1]))
    return replace(mesh, texture=None, uv=None, uv_faces=None, colors=total / count.clamp_min(1))
