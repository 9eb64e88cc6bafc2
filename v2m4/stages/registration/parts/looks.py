"""What the body looks like: a light version of its mesh with a colour for each vertex."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree

from v2m4.arrays import Bytes, Float64, Int64, Mask
from v2m4.geometry.cleanup import encloses, same_place, simplify
from v2m4.geometry.mesh import Mesh
from v2m4.render.texture import sample_texture
from v2m4.settings import LooksSettings
from v2m4.stages.registration.correspondences import to_pixels, visible_points
from v2m4.stages.registration.parts.probes_numba import vertex_normals_of

_FINE = 1e-6  # of the object's size, within which two vertices are one


@dataclass(frozen=True)
class Looks:
    """vertices: (V,3). faces: (F,3). colours: (V,3) sRGB in [0,1]; known: (V,) which of them the mesh told."""

    vertices: Float64
    faces: Int64
    colours: Float64
    known: Mask


def light_mesh(mesh: Mesh, settings: LooksSettings) -> Looks:
    """A mesh in camera space with fewer faces, but none so long that its one colour per corner would be too coarse."""
    corners = mesh.vertices.cpu().double()[mesh.faces.cpu()]  # (F,3,3)
    longest = settings.longest_edge * float(torch.as_tensor(np.ptp(mesh.vertices.cpu().numpy(), axis=0)).max())
    textured = mesh.texture is not None and mesh.uv is not None and mesh.uv_faces is not None
    if textured:
        uv = mesh.uv.cpu().double()[mesh.uv_faces.cpu()]  # type: ignore[union-attr]
        corners, uv = _quartered(torch.cat([corners, uv], dim=-1), longest).split([3, 2], dim=-1)
        colours = sample_texture(mesh.texture.cpu(), uv.reshape(-1, 2).float()).double()  # type: ignore[union-attr]
    elif mesh.colors is not None:
        colours = mesh.colors.cpu().double()[mesh.faces.cpu()].reshape(-1, 3)
    else:
        colours = torch.full((corners.shape[0] * 3, 3), 0.5, dtype=torch.double)
    # One vertex for all corners in a place, with their mean colour.
    points, shades = corners.reshape(-1, 3).numpy(), colours.numpy().clip(0, 1)
    kept, which = _welded(points)
    count = np.bincount(which, minlength=len(kept)).astype(np.float64)
    mean = np.stack([np.bincount(which, shades[:, c], len(kept)) / count for c in range(3)], axis=1)
    vertices, faces = points[kept], which.reshape(-1, 3).astype(np.int64)
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    if len(faces) > settings.faces:
        before = cKDTree(vertices)
        vertices, faces = simplify(vertices, faces, settings.faces, settings.aggressiveness)
        mean = mean[before.query(vertices)[1]]
    known = np.full(len(vertices), textured or mesh.colors is not None)
    return Looks(vertices, faces, mean, known)


def shows_fronts(mesh: Mesh, border: float) -> bool:
    """Whether the mesh, with one vertex for all in a place, shows only the fronts of its faces outside; border: as
    ``amiss`` of `encloses`. Its light version has seams where a long edge was halved on one side only."""
    kept, which = _welded(mesh.vertices.cpu().double().numpy())
    faces = which[mesh.faces.cpu().numpy()]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    return encloses(mesh.vertices.cpu().double().numpy()[kept], faces, border)


def _welded(points: Float64) -> tuple[Int64, Int64]:
    """`same_place` of points (N,3) that differ by no more than is lost in files."""
    return same_place(np.round(points / (_FINE * max(float(np.ptp(points)), 1e-12))))


def _quartered(corners: torch.Tensor, longest: float) -> torch.Tensor:
    """Faces (F,3,C), places first, cut into four until no edge is longer than ``longest``; at most four times."""
    for _ in range(4):
        length = (corners[..., :3] - corners.roll(1, dims=1)[..., :3]).norm(dim=-1)
        long = (length > longest).any(dim=1)
        if not bool(long.any()):
            break
        a, b, c = corners[long].unbind(1)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        pieces = [torch.stack(t, dim=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        corners = torch.cat([corners[~long], *pieces])
    return corners


def seen_colours(looks: Looks, frame: Bytes, light: Float64, settings: LooksSettings) -> Float64:
    """(V,3) colours that make the mesh look like ``frame``, (S,S,4) uint8, where that shows it, under ``light``.

    Vertices that it does not show keep theirs, or take the nearest seen one's if nothing else is known.
    """
    size = len(frame)
    posed = np.ascontiguousarray(looks.vertices, np.float32)
    normals = np.empty_like(posed)
    vertex_normals_of(posed, np.ascontiguousarray(looks.faces, np.int32), normals)
    pixels = to_pixels(looks.vertices, size)
    x, y = (np.clip(pixels[:, axis].astype(np.int64), 0, size - 1) for axis in range(2))
    depth = visible_points(looks.vertices, looks.faces, size).depth
    away = looks.vertices / np.linalg.norm(looks.vertices, axis=1, keepdims=True)
    facing = np.abs((normals * away).sum(1)) > settings.facing
    whole = cv2.erode((frame[..., 3] > 250).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    same = np.abs(depth[y, x] - looks.vertices[:, 2]) < settings.same_surface * looks.vertices[:, 2]
    seen = facing & same & whole[y, x]
    if not seen.any():
        return looks.colours
    blurred = cv2.GaussianBlur(frame[..., :3].astype(np.float32) / 255, (0, 0), max(settings.blur * size, 0.3))
    at = (pixels[seen] - 0.5).astype(np.float32)
    shown = np.concatenate(
        [
            cv2.remap(blurred, at[i : i + 30000, 0][None], at[i : i + 30000, 1][None], cv2.INTER_LINEAR)[0]
            for i in range(0, len(at), 30000)
        ]
    )
    bright = np.maximum(light[:, 0] + normals[seen] @ light[:, 1:].T, settings.darkest)
    out = looks.colours.copy()
    out[seen] = (shown / bright).clip(0, 1)
    blank = ~seen & ~looks.known
    if blank.any():
        out[blank] = out[seen][cKDTree(looks.vertices[seen]).query(looks.vertices[blank])[1]]
    return out
