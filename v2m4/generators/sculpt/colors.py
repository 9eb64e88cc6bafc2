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
from v2m4.render import render_fast
from v2m4.render.atlas import push_pull, texels_of, unwrap

DEPTH_SIDE = 512  # pixels per side of the depth picture that tells what is hidden
HIDDEN = 0.02  # a place this much behind the depth picture is hidden, in widths of the square
RIM = 6.0  # cells of the network's grid from the outline within which near and far side show about the same colour
GAINS = (0.4, 2.5)  # between which the network's colours are made darker or brighter
SPREAD = 3.0  # cells over which that changes
STEEP, FACING = 0.12, 0.4  # cosines to the ray between which the picture takes over from the network


def textured(mesh: Mesh, picture: Bytes, square: Square, found: Prediction, side: int) -> Mesh:
    """The mesh (in the camera's space) with an atlas and its (side,side) texture."""
    uv, uv_faces = unwrap(mesh.vertices, mesh.faces, side)
    texels = texels_of(uv, uv_faces, side)
    corners = mesh.faces.numpy()[texels.face]  # (N,3)
    points = _at(mesh.vertices.numpy(), corners, texels.weights)
    normals = _at(vertex_normals(mesh.vertices, mesh.faces).numpy(), corners, texels.weights)
    front = _picture_colors(picture, points)
    weight = _seen(mesh, points, normals)[:, None]
    far = matched(found.colors[0].permute(1, 2, 0).numpy(), square.cut(picture.astype(np.float32) / 255, GRID))
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
    alpha = picture[..., 3]
    solid = cv2.erode((alpha > 250).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    if solid.sum() < 0.3 * (alpha > 127).sum():
        solid = (alpha > 127).astype(np.float32)
    clean = push_pull(picture[..., :3].astype(np.float32) / 255, solid)
    slopes = points[:, :2] / points[:, 2:]
    return _lookup(clean, slopes * Camera.identity().focal + 0.5)


def _seen(mesh: Mesh, points: Real, normals: Real) -> Real:
    """(N,) how much the picture shows places: 1 what is in front and faces the camera, 0 what is hidden or steep."""
    depth = render_fast(mesh, Camera.identity(), DEPTH_SIDE, ("depth",)).depth
    assert depth is not None
    slopes = points[:, :2] / points[:, 2:]
    # The farthest of the pixels around: at the rim of a part its own depth must not hide it.
    around = np.asarray(cv2.dilate(depth[0].numpy(), np.ones((3, 3), np.uint8)), np.float32)
    ahead = _lookup(around[..., None], slopes * Camera.identity().focal + 0.5)[:, 0]
    facing = -(normals * points).sum(1) / np.linalg.norm(points, axis=1)
    smooth = np.clip((facing - STEEP) / (FACING - STEEP), 0, 1)
    return smooth * (points[:, 2] < ahead + HIDDEN)


def matched(far: Real, front: Real) -> Real:
    """Colours (GRID,GRID,6) of the far sides, made as bright as the picture (GRID,GRID,4) at the outline, where near
    and far side meet: the network tells the pattern better than the light."""
    alpha = front[..., 3]
    solid = (alpha > 0.95).astype(np.uint8)
    depth = cv2.distanceTransform(solid, cv2.DIST_L2, 5)
    rim = ((depth > 1) & (depth < RIM)).astype(np.float32)
    if not rim.any():
        return far
    seen = push_pull(np.ascontiguousarray(front[..., :3]), solid.astype(np.float32))
    out = far.copy()
    for half in (slice(0, 3), slice(3, 6)):
        ratio = (seen + 0.02) / (far[..., half] + 0.02)
        gain = push_pull(np.clip(ratio, *GAINS), rim)
        out[..., half] = far[..., half] * cv2.GaussianBlur(gain, (0, 0), SPREAD)
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
