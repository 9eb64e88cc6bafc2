"""A textured mesh with fewer faces and the same appearance."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from v2m4.arrays import Real
from v2m4.geometry.cleanup import compact, search_tree, simplify, transfer
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.sampling import cover_surface
from v2m4.render import sample_texture
from v2m4.render.atlas import texels_of, unwrap
from v2m4.settings import TemplateSettings


def fewer_faces(mesh: Mesh, count: int, settings: TemplateSettings) -> Mesh:
    """``mesh`` simplified to about ``count`` faces; vertex colours are carried over, a texture is baked anew."""
    vertices, faces = simplify(mesh.vertices.double().numpy(), mesh.faces.numpy(), count, settings.aggressiveness)
    used, faces = compact(faces)
    vertices = vertices[used]
    points = torch.from_numpy(vertices.astype(np.float32))
    simple = Mesh(points, torch.from_numpy(faces))
    if mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None:
        return _bake(mesh, simple, settings)
    if mesh.colors is not None:
        colors = transfer(search_tree(mesh.vertices.double().numpy()), mesh.colors.double().numpy(), vertices)
        return Mesh(points, simple.faces, colors=torch.from_numpy(colors.astype(np.float32)))
    return simple


def _bake(mesh: Mesh, simple: Mesh, settings: TemplateSettings) -> Mesh:
    """A new atlas for ``simple``, in which each texel has the colour of the nearest point of ``mesh``."""
    assert mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None
    # 1. Where each texel of the new atlas lies on the simplified surface: (T,3).
    uv, uv_faces = unwrap(simple.vertices, simple.faces, settings.atlas_size)
    texels = texels_of(uv, uv_faces, settings.atlas_size)
    wanted = (simple.vertices.numpy()[simple.faces.numpy()[texels.face]] * texels.weights[..., None]).sum(1)
    # 2. The face of the original that is nearest to it, and the point of that face: a cloud of points stands for it.
    corners = mesh.vertices.double().numpy()[mesh.faces.numpy()]  # (F,3,3)
    face, weights = cover_surface(corners, settings.surface_points)
    cloud = (corners[face] * weights[..., None]).sum(1)
    near = face[cKDTree(cloud).query(wanted)[1]]
    inside = _barycentrics(corners[near], wanted)
    # 3. The original's colour there.
    at = (mesh.uv.numpy()[mesh.uv_faces.numpy()[near]] * inside[..., None]).sum(1)
    colors = sample_texture(mesh.texture, torch.from_numpy(at.astype(np.float32))).numpy()
    picture = torch.from_numpy(texels.picture(colors))
    return Mesh(simple.vertices, simple.faces, uv, uv_faces, picture)


def _barycentrics(corners: Real, points: Real) -> Real:
    """(N,3) barycentrics of the points (N,3), dropped onto their triangles (N,3,3) and clamped into them."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = points - corners[:, 0]
    aa, ab, bb = (a * a).sum(1), (a * b).sum(1), (b * b).sum(1)
    pa, pb = (p * a).sum(1), (p * b).sum(1)
    determinant = np.maximum(aa * bb - ab * ab, 1e-20)
    v, w = (bb * pa - ab * pb) / determinant, (aa * pb - ab * pa) / determinant
    weights = np.clip(np.stack([1 - v - w, v, w], axis=1), 0, 1)
    return np.asarray(weights / np.maximum(weights.sum(1, keepdims=True), 1e-9))
