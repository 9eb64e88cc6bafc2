"""One picture to a closed mesh, without weights: the object's silhouette, inflated.

The thickness z over the silhouette comes from the Poisson equation laplace(u) = -2 with u = 0 on the outline:
z = sqrt(u) is exactly a circle across a straight limb and a flattened ellipsoid over a disc, meets the outline
vertically (a round rim), and is smooth where limbs join the trunk. (Inflation by a Poisson equation: Gorelick et al.
2006; Repoussé, Joshi and Carr 2008.) The front stays on the rays of its pixels, so that the mesh, seen by the returned
camera, reproduces the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, diags_array
from scipy.sparse.linalg import splu

from v2m4.errors import V2M4Error
from v2m4.generators import Generated
from v2m4.generators.inflate.outline import WORKING_SIDE, Crop, crop_object, trace
from v2m4.generators.inflate.triangulation import Sheet, edges_for, triangulate
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render.atlas import dominant_colors, push_pull

Floats = NDArray[Any]

COARSE = 2.5  # working pixels per cell of the grid on which the equations are solved
TRUNK = 0.28  # half thickness beyond which the trunk is flattened, as a share of the object's mean side
PALETTE = 6  # colours told apart when the far side is filled
GUTTER = 8  # pixels around each half of the texture


@dataclass(frozen=True)
class Inflate:
    """The generator `inflate`.

    faces: about how many faces the mesh gets. thickness: scales the depth; 1 makes limbs as deep as wide.
    """

    faces: int = 6000
    thickness: float = 1.0

    def __post_init__(self) -> None:
        if not 200 <= self.faces <= 200_000:
            raise V2M4Error(
                f"An inflated mesh can have 200 to 200000 faces, not {self.faces}. Change generator.inflate.faces."
            )
        if not 0.05 <= self.thickness <= 5:
            raise V2M4Error(f"The thickness must lie between 0.05 and 5, but is {self.thickness:g}.")

    def __call__(
        self, reference: NDArray[np.uint8], rng: torch.Generator, device: torch.device | str = "cpu"
    ) -> Generated:
        """A closed, textured mesh and its camera from an (S,S,4) uint8 picture. Raises `V2M4Error` if it is empty."""
        crop = crop_object(reference)
        sheet, distance = self._sheet(crop)
        mesh, camera = _in_space(sheet, crop, reference.shape[0])
        texture, uv, uv_faces = _texture(reference, crop, sheet, distance)
        mesh = Mesh(mesh.vertices, mesh.faces, uv, uv_faces, texture)
        return Generated(mesh.to(device), Camera(camera.world_to_camera.to(device), camera.fov_deg))

    def _sheet(self, crop: Crop) -> tuple[Sheet, Floats]:
        """The front side, with the number of faces wanted, to within a few per cent where the outline allows it."""
        outline = trace(crop.rgba[..., 3])
        slope = _slope(outline.distance) * np.float32(self.thickness**2)
        edge, coarser = edges_for(outline, slope, self.faces // 2)
        sheet = triangulate(outline, slope, edge, coarser)
        ratio = 2 * len(sheet.faces) / self.faces
        if not 0.85 < ratio < 1.15:
            sheet = triangulate(outline, slope, edge * float(np.clip(ratio**0.5, 0.6, 1.7)), coarser)
        return sheet, outline.distance


def _shrink(image: Floats) -> Floats:
    size = (round(image.shape[1] / COARSE), round(image.shape[0] / COARSE))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _laplacian(inside: NDArray[np.bool_]) -> csc_array:
    """Degree minus adjacency of the cells inside, where cells outside count as neighbours: zero on the border."""
    n = int(inside.sum())
    number = np.full(inside.shape, -1, np.int64)
    number[inside] = np.arange(n)
    pairs = [
        np.stack([number.take(range(length - 1), axis).ravel(), number.take(range(1, length), axis).ravel()])
        for axis, length in enumerate(inside.shape)
    ]
    i, j = np.concatenate(pairs, axis=1)
    both = (i >= 0) & (j >= 0)
    half = coo_array((np.ones(int(both.sum())), (i[both], j[both])), shape=(n, n))
    return csc_array(diags_array(np.full(n, 4.0)) - half - half.T)


def _slope(distance: Floats) -> Floats:
    """(h,w) such that z^2 = distance * slope, in working pixels."""
    inside = np.pad(_shrink(distance)[1:-1, 1:-1] > 0, 1)
    u = np.zeros(inside.shape, np.float64)
    u[inside] = splu(_laplacian(inside)).solve(np.full(int(inside.sum()), 2.0 * COARSE**2))
    z = np.sqrt(np.maximum(u, 0))
    rows, columns = np.nonzero(inside)
    limit = TRUNK * COARSE * float(np.sqrt((np.ptp(rows) + 1) * (np.ptp(columns) + 1)))
    u = (z / (1 + (z / limit) ** 4) ** 0.25) ** 2
    depth = np.maximum(_shrink(distance).astype(np.float64), 0.5 * COARSE)
    weight = inside.astype(np.float64)
    ratio = u / depth
    for sigma in (0.7, 2.0, 6.0):
        spread = cv2.GaussianBlur(ratio * weight, (0, 0), sigma)
        total = cv2.GaussianBlur(weight, (0, 0), sigma)
        known = weight > 0
        ratio = np.where(known & (sigma > 1), ratio, spread / np.maximum(total, 1e-9))
        weight = np.where(known, weight, (total > 1e-4).astype(np.float64) * 1e-3)
    size = (distance.shape[1], distance.shape[0])
    return np.maximum(cv2.resize(ratio.astype(np.float32), size, interpolation=cv2.INTER_CUBIC), 0.05)


def _in_space(sheet: Sheet, crop: Crop, side: int) -> tuple[Mesh, Camera]:
    """Both sides around the plane of the rim, in the canonical pose: z up, the front towards +y."""
    extent = WORKING_SIDE / crop.scale.max() / side
    camera = Camera.identity()
    away = camera.focal / extent
    ray = crop.to_picture(sheet.points) / side - 0.5
    ray = np.column_stack([ray / camera.focal, np.ones(len(ray))])
    depth = sheet.height / crop.scale.mean() / side / camera.focal * away
    # The front moves along the rays, and so cannot leave the silhouette. The back moves along the object's own axis:
    # along the rays it would grow wider than the front.
    low, high = ray[sheet.rim].min(0), ray[sheet.rim].max(0)
    axis = (low + high) / 2
    front = ray * (away - depth)[:, None]
    inner = np.flatnonzero(~sheet.rim)
    back = ray[inner] * away + axis * depth[inner, None]
    behind = np.arange(len(ray))
    behind[inner] = len(ray) + np.arange(len(inner))
    # Faces are positively oriented in (x right, y down), which from the camera is clockwise.
    faces = np.concatenate([sheet.faces[:, ::-1], behind[sheet.faces]])
    world_to_camera = torch.tensor(
        [[-1, 0, 0, axis[0] * away], [0, 0, -1, axis[1] * away], [0, -1, 0, away], [0, 0, 0, 1]], dtype=torch.float32
    )
    points = torch.from_numpy(np.concatenate([front, back])).float() - world_to_camera[:3, 3]
    vertices = points @ world_to_camera[:3, :3]
    return Mesh(vertices, torch.from_numpy(np.ascontiguousarray(faces))), Camera(world_to_camera)


def _texture(
    picture: NDArray[np.uint8], crop: Crop, sheet: Sheet, distance: Floats
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The picture for the front and a filled one for the back, side by side: texture, uv, uv_faces."""
    size = np.round(np.array(crop.rgba.shape[1::-1]) / crop.scale).astype(int)
    low = crop.origin.astype(int) - GUTTER
    shape = size + 2 * GUTTER
    matrix = np.array([[1.0, 0, -low[0]], [0, 1, -low[1]]])
    cut = cv2.warpAffine(picture, matrix, (int(shape[0]), int(shape[1])), flags=cv2.INTER_NEAREST)
    alpha = cut[..., 3]
    solid = cv2.erode((alpha > 250).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    if solid.sum() < 0.3 * (alpha > 127).sum():
        solid = (alpha > 127).astype(np.float32)
    front = push_pull(cut[..., :3].astype(np.float32) / 255, solid)
    back = _back(front, crop, low, distance)
    texture = np.concatenate([front, back], axis=1)
    at = crop.to_picture(sheet.points) - low
    count = len(at)
    uv = np.concatenate([at, at + np.array([shape[0], 0])]) / [2 * shape[0], shape[1]]
    uv_faces = np.concatenate([sheet.faces[:, ::-1], sheet.faces + count])
    return (
        torch.from_numpy(np.ascontiguousarray(texture, dtype=np.float32)),
        torch.from_numpy(uv.astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(uv_faces)),
    )


def _back(front: Floats, crop: Crop, low: NDArray[np.int64], distance: Floats) -> Floats:
    """The far side's picture: the front's large areas of colour, without eyes and other details.

    Each place takes the prevailing colour of the outline's neighbourhood, the wider the farther it is from the
    outline: a mode filter over a small palette, in which rare colours and those far from the outline count little.
    At the outline itself it is the front's picture.
    """
    height, width = distance.shape
    # The affine map from texture to working pixels, for cv2, whose pixel centres are at integers.
    scale = crop.scale
    offset = (low - crop.origin) * scale + 0.5 * scale - 0.5
    to_working = np.array([[1 / scale[0], 0, -offset[0] / scale[0]], [0, 1 / scale[1], -offset[1] / scale[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    working = cv2.warpAffine(front, to_working, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=flags)
    coarse, inside = _shrink(working), (_shrink(distance) > 0).astype(np.float32)
    away = np.maximum(_shrink(distance), 0) / COARSE
    filled = _prevailing(coarse, inside, away)
    back = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    to_texture = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    size = (front.shape[1], front.shape[0])
    back = cv2.warpAffine(back, to_texture, size, borderMode=cv2.BORDER_REPLICATE, flags=flags)
    rim = cv2.warpAffine(distance, to_texture, size, borderMode=cv2.BORDER_REPLICATE, flags=flags)[..., None]
    keep = np.exp(-((np.maximum(rim, 0) / 5) ** 2))
    return np.clip(keep * front + (1 - keep) * back, 0, 1)


def _prevailing(colors: Floats, inside: Floats, away: Floats) -> Floats:
    """Mode filter of (h,w,3) whose width grows with ``away`` (h,w), the distance to the outline in cells."""
    known = inside > 0
    samples = np.ascontiguousarray(colors[known])
    label, count = dominant_colors(samples, PALETTE)
    share = np.bincount(label, minlength=count) / len(samples)
    near_rim = 0.05 + np.exp(-away[known] / (0.35 * max(float(away.max()), 1)))
    layers = np.zeros((count, *inside.shape, 4), np.float32)
    for k in range(count):
        weight = np.where(label == k, share[k] * near_rim, 0)
        layers[k][known] = np.column_stack([samples * weight[:, None], weight])
    widths = [1.0, 2.0, 4.0, 8.0, 16.0]
    stack = np.stack([[cv2.GaussianBlur(layer, (0, 0), w) for layer in layers] for w in widths])
    level = np.clip(np.log2(np.maximum(0.8 * away, 1)), 0, len(widths) - 1.001)
    index, part = level.astype(int), (level % 1)[..., None]
    rows, columns = np.indices(inside.shape)
    total = np.zeros((*inside.shape, 4))
    for k in range(count):
        here = (1 - part) * stack[index, k, rows, columns] + part * stack[index + 1, k, rows, columns]
        total += here * here[..., 3:] ** 2
    mixed = (total[..., :3] / np.maximum(total[..., 3:], 1e-20)).astype(np.float32)
    return push_pull(mixed, inside)
