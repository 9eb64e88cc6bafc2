"""The triangle mesh every stage passes on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from v2m4.geometry.gather import gather_rows


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh with an optional texture or vertex colours.

    vertices: (V,3) float32. faces: (F,3) int64, counter-clockwise seen from outside.
    uv: (T,2) float32 in [0,1], glTF convention (u to the right, v *down* from the image's first row).
    uv_faces: (F,3) int64 into ``uv``. texture: (H,W,3) float32 in [0,1]. colors: (V,3) float32 in [0,1].
    """

    vertices: Tensor
    faces: Tensor
    uv: Tensor | None = None
    uv_faces: Tensor | None = None
    texture: Tensor | None = None
    colors: Tensor | None = None

    def with_vertices(self, vertices: Tensor) -> Mesh:
        """The same surface with its vertices elsewhere."""
        return replace(self, vertices=vertices)

    def to(self, device: torch.device | str) -> Mesh:
        """A copy whose tensors live on ``device``."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def transformed(self, matrix: Tensor) -> Mesh:
        """Apply a (4,4) affine transform to the vertices."""
        return self.with_vertices(self.vertices @ matrix[:3, :3].T + matrix[:3, 3])


def face_normals(vertices: Tensor, faces: Tensor, *, normalise: bool = True) -> Tensor:
    """(…,F,3) normals of the faces of (…,V,3) vertices; not normalised, their length is twice the area."""
    flat = vertices.dim() == 2
    a, b, c = (gather_rows(vertices, faces[:, i]) if flat else vertices[..., faces[:, i], :] for i in range(3))
    n = torch.linalg.cross(b - a, c - a)
    return torch.nn.functional.normalize(n, dim=-1) if normalise else n


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(…,V,3) area-weighted vertex normals; zero where a vertex has no face."""
    n = face_normals(vertices, faces, normalise=False)
    out = torch.zeros_like(vertices)
    for i in range(3):
        out = out.index_add(-2, faces[:, i], n)
    return torch.nn.functional.normalize(out, dim=-1, eps=1e-20)


def unique_edges(faces: Tensor) -> Tensor:
    """(E,2) int64 undirected edges, lower index first, sorted."""
    low, high = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values.unbind(1)
    count = int(high.max()) + 1 if len(high) else 1
    both = torch.unique(low * count + high)  # one sort of numbers instead of one of pairs
    return torch.stack([both // count, both % count], dim=1)
