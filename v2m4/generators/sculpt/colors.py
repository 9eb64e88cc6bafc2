"""A texture for the surface: the picture where the camera sees it, the network's colours where it does not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from v2m4.arrays import Bytes, Int64, Real
from v2m4.generators.sculpt.network import GRID, Prediction
from v2m4.generators.sculpt.picture import Square
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh, vertex_normals
from v2m4.masks import solid_pixels
from v2m4.render import render_fast
from v2m4.render.atlas import push_pull, texels_of, unwrap
from v2m4.settings import SculptSettings, SolidColorSettings


def textured(mesh: Mesh, picture: Bytes, square: Square, found: Prediction, settings: SculptSettings) -> Mesh:
    """The mesh (in the camera's space) with an atlas and its texture."""
    side = settings.texture_size
    uv, uv_faces = unwrap(mesh.vertices, mesh.faces, side)
    texels = texels_of(uv, uv_faces, side)
    corners = mesh.faces.numpy()[texels.face]  # (N,3)
    points = _at(mesh.vertices.numpy(), corners, texels.weights)
    normals = _at(vertex_normals(mesh.vertices, mesh.faces).numpy(), corners, texels.weights)
    front = _picture_colors(picture, points)
    weight = _seen(mesh, points, normals, settings.colors)[:, None]
    front_cells = square.cut(picture.astype(np.float32) / 255, GRID)
    far = matched(found.colors[0].permute(1, 2, 0).numpy(), front_cells, settings)
    colors = weight * front + (1 - weight) * _far_colors(far, found, square, points)
    texture = torch.from_numpy(texels.picture(np.clip(colors, 0, 1).astype(np.float32)))
    return replace(mesh, uv=uv, uv_faces=uv_faces, texture=texture)


def _at(values: Real, corners: Int64, weights: Real) -> Real:
    out: Real = (values[corners] * weights[..., None]).sum(1)
    return out


def _lookup(image: Real, at: Real) -> Real:
    """(N,C) bilinear values of (h,w,C) at (N,2) in [0,1], x first."""
    size = np.array(image.shape[1::-1])
    pixel = (at * size - 0.5).astype(np.float32)
    # cv2.remap takes at most 32767 rows or columns, so the points are laid out as a square.
    side = int(np.ceil(np.sqrt(len(at))))
    flat = np.zeros((side * side, 2), np.float32)
    flat[: len(at)] = pixel
    grid = flat.reshape(side, side, 2)
    found = cv2.remap(image, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(side * side, -1)[: len(at)]


def _picture_colors(picture: Bytes, points: Real) -> Real:
    """Colours of the picture at points of the camera's space; its rim is continued outwards, without the background."""
    clean = push_pull(picture[..., :3].astype(np.float32) / 255, solid_pixels(picture[..., 3]).astype(np.float32))
    slopes = points[:, :2] / points[:, 2:]
    return _lookup(clean, slopes * Camera.identity().focal + 0.5)


def _seen(mesh: Mesh, points: Real, normals: Real, settings: SolidColorSettings) -> Real:
    """(N,) how much the picture shows places: 1 what is in front and faces the camera, 0 what is hidden or steep."""
    depth = render_fast(mesh, Camera.identity(), settings.depth_size, ("depth",)).depth
    assert depth is not None
    slopes = points[:, :2] / points[:, 2:]
    # The farthest of the pixels around: at the rim of a part its own depth must not hide it.
    around = np.asarray(cv2.dilate(depth[0].numpy(), np.ones((3, 3), np.uint8)), np.float32)
    ahead = _lookup(around[..., None], slopes * Camera.identity().focal + 0.5)[:, 0]
    facing = -(normals * points).sum(1) / np.linalg.norm(points, axis=1)
    steep = settings.steep_cosine
    smooth = np.clip((facing - steep) / max(settings.facing_cosine - steep, 1e-6), 0, 1)
    return smooth * (points[:, 2] < ahead + settings.hidden)


def matched(far: Real, front: Real, settings: SculptSettings) -> Real:
    """Colours (GRID,GRID,6) of the far sides, made as bright as the picture (GRID,GRID,4) at the outline, where near
    and far side meet: the network tells the pattern better than the light."""
    colors = settings.colors
    solid = (front[..., 3] > settings.opaque).astype(np.uint8)
    depth = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
    rim = ((depth > 1) & (depth < colors.rim)).astype(np.float32)
    if not rim.any():
        return far
    seen = push_pull(np.ascontiguousarray(front[..., :3]), solid.astype(np.float32))
    out = far.copy()
    for half in (slice(0, 3), slice(3, 6)):
        ratio = (seen + colors.floor) / (far[..., half] + colors.floor)
        gain = push_pull(np.clip(ratio, colors.darkest, colors.brightest), rim)
        out[..., half] = far[..., half] * cv2.GaussianBlur(gain, (0, 0), colors.evenness)
    return out


def _far_colors(maps: Real, found: Prediction, square: Square, points: Real) -> Real:
    """Colours of what the camera does not see: of the first exit up to halfway to the next part, then of the last.

    maps: (GRID,GRID,6) colours of the two."""
    slopes = points[:, :2] / points[:, 2:]
    at = square.place(slopes)
    colors = _lookup(np.ascontiguousarray(maps), at)
    layers = found.layers[0].permute(1, 2, 0).numpy()
    second = (found.exist[0, 1] > 0).numpy()
    middle = np.where(second, (layers[..., 1] + layers[..., 2]) / 2, -np.inf)
    cell = np.clip((at * middle.shape[0]).astype(int), 0, middle.shape[0] - 1)
    near = points[:, 2] - 1 / square.ray_width < middle[cell[:, 1], cell[:, 0]]
    out: Real = np.where(near[:, None], colors[:, :3], colors[:, 3:])
    return out
