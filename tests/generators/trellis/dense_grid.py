"""FlexiCubes over a whole grid: what the extraction on voxels is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from v2m4.generators.trellis.flexicubes import MeshResult, _corner_keys, _Cubes, _dual_surface, _no_surface
from v2m4.geometry.mesh import face_normals


def extract_grid(
    sdf: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor, attributes: Tensor | None = None
) -> MeshResult:
    """The surface in a whole grid of R^3 cubes.

    ``sdf``: ((R+1)^3,) at the corners, row-major over (x,y,z). ``alpha`` (R^3,8), ``beta`` (R^3,12), ``gamma`` (R^3,)
    and ``attributes`` ((R+1)^3,A) are raw, before their sigmoid and tanh. Vertices come in units of cubes: 0 to R.
    """
    resolution = round(len(sdf) ** (1 / 3)) - 1
    axis = torch.arange(resolution, device=sdf.device)
    xyz = torch.cartesian_prod(axis, axis, axis)
    corner = _corner_keys(xyz, resolution)
    inside = (sdf.detach() < 0)[corner].sum(1)
    mixed = ((inside > 0) & (inside < 8)).nonzero()[:, 0]
    if attributes is None:
        attributes = sdf.new_zeros(len(sdf), 0)
    if mixed.numel() == 0:
        return _no_surface(sdf, attributes.shape[1])
    cubes = _Cubes(xyz[mixed], mixed, corner[mixed], mixed)
    own = torch.cat([beta, alpha, gamma[:, None]], dim=1).index_select(0, mixed)
    vertices, faces, carried = _dual_surface(cubes, sdf, own, attributes.sigmoid(), resolution)
    return MeshResult(vertices, faces, carried, face_normals(vertices, faces), True)
