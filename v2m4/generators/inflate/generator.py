"""One picture to a closed mesh, without weights: the object's silhouette, inflated.

The thickness z over the silhouette comes from the Poisson equation laplace(u) = -2 with u = 0 on the outline:
z = sqrt(u) is exactly a circle across a straight limb and a flattened ellipsoid over a disc, meets the outline
vertically (a round rim), and is smooth where limbs join the trunk. (Inflation by a Poisson equation: Gorelick et al.
2006; Repoussé, Joshi and Carr 2008.) The front stays on the rays of its pixels, so that the mesh, seen by the returned
camera, reproduces the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from scipy.sparse import coo_array, csc_array, diags_array
from scipy.sparse.linalg import splu

from v2m4.arrays import Bytes, Int64, Mask, Real
from v2m4.errors import V2M4Error
from v2m4.generators import Generated
from v2m4.generators.inflate.outline import Crop, crop_object, trace
from v2m4.generators.inflate.triangulation import HeightField, edges_for, triangulate
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render.atlas import dominant_colors, push_pull
from v2m4.settings import InflateSettings, Settings
from v2m4.settings.schema import problems

GUTTER = 8  # pixels around each half of the texture


@dataclass(frozen=True)
class Inflate:
    """The generator `inflate`. Raises `V2M4Error` for settings outside their ranges."""

    settings: InflateSettings = field(default_factory=InflateSettings)

    def __post_init__(self) -> None:
        wrong = [f"generator.inflate.{sentence}" for sentence in problems(self.settings)]
        if wrong:
            raise V2M4Error(" ".join(wrong))

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Inflate:
        """The plug for a run's settings."""
        return cls(settings.generator.inflate)

    def __call__(self, reference: Bytes, rng: torch.Generator, device: torch.device | str = "cpu") -> Generated:
        """A closed, textured mesh and its camera from an (S,S,4) uint8 picture. Raises `V2M4Error` if it is empty."""
        crop = crop_object(reference, self.settings.working_size)
        front, distance = self._front(crop)
        mesh, camera = _in_space(front, crop, reference.shape[0], self.settings.working_size)
        texture, uv, uv_faces = _texture(reference, crop, front, distance, self.settings)
        mesh = Mesh(mesh.vertices, mesh.faces, uv, uv_faces, texture)
        return Generated(mesh.to(device), Camera(camera.world_to_camera.to(device), camera.fov_deg))

    def _front(self, crop: Crop) -> tuple[HeightField, Real]:
        """The front side, with the number of faces wanted, to within a few per cent where the outline allows it."""
        settings = self.settings
        outline = trace(crop.rgba[..., 3], settings)
        squared = _squared_height_per_distance(outline.distance, settings) * np.float32(settings.thickness**2)
        edge, coarseness = edges_for(outline, squared, settings.faces // 2, settings.working_size)
        front = triangulate(outline, squared, edge, coarseness)
        ratio = 2 * len(front.faces) / settings.faces
        if not 0.85 < ratio < 1.15:
            front = triangulate(outline, squared, edge * float(np.clip(ratio**0.5, 0.6, 1.7)), coarseness)
        return front, outline.distance


def _shrink(image: Real, cell: float) -> Real:
    size = (round(image.shape[1] / cell), round(image.shape[0] / cell))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), image.dtype)


def _laplacian(inside: Mask) -> csc_array:
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


def _squared_height_per_distance(distance: Real, settings: InflateSettings) -> Real:
    """(h,w) z^2 over the distance to the outline, in working pixels: it varies slowly where z is steep."""
    # 1. u on a coarse grid (c,d): laplace(u) = -2, zero on the outline.
    cell = settings.grid
    inside = np.pad(_shrink(distance, cell)[1:-1, 1:-1] > 0, 1)
    u = np.zeros(inside.shape, np.float64)
    u[inside] = splu(_laplacian(inside)).solve(np.full(int(inside.sum()), 2.0 * cell**2))
    # 2. z = sqrt(u), flattened where the trunk is thick.
    z = np.sqrt(np.maximum(u, 0))
    rows, columns = np.nonzero(inside)
    limit = settings.trunk * cell * float(np.sqrt((np.ptp(rows) + 1) * (np.ptp(columns) + 1)))
    u = (z / (1 + (z / limit) ** 4) ** 0.25) ** 2
    # 3. Over the distance; beyond the outline it goes on as it is nearest inside, by ever wider blurs.
    depth = np.maximum(_shrink(distance, cell).astype(np.float64), 0.5 * cell)
    weight = inside.astype(np.float64)
    ratio = u / depth
    for sigma in (0.7, 2.0, 6.0):
        blurred = cv2.GaussianBlur(ratio * weight, (0, 0), sigma)
        total = cv2.GaussianBlur(weight, (0, 0), sigma)
        known = weight > 0
        ratio = np.where(known & (sigma > 1), ratio, blurred / np.maximum(total, 1e-9))
        weight = np.where(known, weight, (total > 1e-4).astype(np.float64) * 1e-3)
    # 4. Back to working pixels (h,w).
    size = (distance.shape[1], distance.shape[0])
    return np.maximum(cv2.resize(ratio.astype(np.float32), size, interpolation=cv2.INTER_CUBIC), 0.05)


def _in_space(front: HeightField, crop: Crop, side: int, working_size: int) -> tuple[Mesh, Camera]:
    """Both sides around the plane of the rim, in the canonical pose: z up, the front towards +y."""
    extent = working_size / crop.scale.max() / side
    camera = Camera.identity()
    away = camera.focal / extent
    ray = crop.to_picture(front.points) / side - 0.5
    ray = np.column_stack([ray / camera.focal, np.ones(len(ray))])
    depth = front.height / crop.scale.mean() / side / camera.focal * away
    # The front moves along the rays, and so cannot leave the silhouette. The back moves along the object's own axis:
    # along the rays it would grow wider than the front.
    low, high = ray[front.rim].min(0), ray[front.rim].max(0)
    axis = (low + high) / 2
    near = ray * (away - depth)[:, None]
    inner = np.flatnonzero(~front.rim)
    back = ray[inner] * away + axis * depth[inner, None]
    behind = np.arange(len(ray))
    behind[inner] = len(ray) + np.arange(len(inner))
    # Faces are positively oriented in (x right, y down), which from the camera is clockwise.
    faces = np.concatenate([front.faces[:, ::-1], behind[front.faces]])
    world_to_camera = torch.tensor(
        [[-1, 0, 0, axis[0] * away], [0, 0, -1, axis[1] * away], [0, -1, 0, away], [0, 0, 0, 1]], dtype=torch.float32
    )
    points = torch.from_numpy(np.concatenate([near, back])).float() - world_to_camera[:3, 3]
    vertices = points @ world_to_camera[:3, :3]
    return Mesh(vertices, torch.from_numpy(np.ascontiguousarray(faces))), Camera(world_to_camera)


def _texture(
    picture: Bytes, crop: Crop, shape: HeightField, distance: Real, settings: InflateSettings
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The picture for the front and a filled one for the back, side by side: texture, uv, uv_faces."""
    size = np.round(np.array(crop.rgba.shape[1::-1]) / crop.scale).astype(int)
    low = crop.origin.astype(int) - GUTTER
    extent = size + 2 * GUTTER
    matrix = np.array([[1.0, 0, -low[0]], [0, 1, -low[1]]])
    cut = cv2.warpAffine(picture, matrix, (int(extent[0]), int(extent[1])), flags=cv2.INTER_NEAREST)
    alpha = cut[..., 3]
    solid = cv2.erode((alpha > 250).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    if solid.sum() < 0.3 * (alpha > 127).sum():
        solid = (alpha > 127).astype(np.float32)
    front = push_pull(cut[..., :3].astype(np.float32) / 255, solid)
    back = _back(front, crop, low, distance, settings)
    texture = np.concatenate([front, back], axis=1)
    at = crop.to_picture(shape.points) - low
    count = len(at)
    uv = np.concatenate([at, at + np.array([extent[0], 0])]) / [2 * extent[0], extent[1]]
    uv_faces = np.concatenate([shape.faces[:, ::-1], shape.faces + count])
    return (
        torch.from_numpy(np.ascontiguousarray(texture, dtype=np.float32)),
        torch.from_numpy(uv.astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(uv_faces)),
    )


def _back(front: Real, crop: Crop, low: Int64, distance: Real, settings: InflateSettings) -> Real:
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
    small = _shrink(distance, settings.grid)
    away = np.maximum(small, 0) / settings.grid
    filled = _prevailing(
        _shrink(np.asarray(working, front.dtype), settings.grid), (small > 0).astype(np.float32), away, settings.palette
    )
    back = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    to_texture = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    size = (front.shape[1], front.shape[0])
    back = cv2.warpAffine(back, to_texture, size, borderMode=cv2.BORDER_REPLICATE, flags=flags)
    rim = cv2.warpAffine(distance, to_texture, size, borderMode=cv2.BORDER_REPLICATE, flags=flags)[..., None]
    keep = np.exp(-((np.maximum(rim, 0) / 5) ** 2))
    return np.clip(keep * front + (1 - keep) * back, 0, 1)


def _prevailing(colors: Real, inside: Real, away: Real, palette: int) -> Real:
    """Mode filter of (h,w,3) whose width grows with ``away`` (h,w), the distance to the outline in cells."""
    # 1. A palette of K colours, and how much each pixel votes for its own.
    known = inside > 0
    samples = np.ascontiguousarray(colors[known])  # (N,3)
    label, count = dominant_colors(samples, palette)
    frequency = np.bincount(label, minlength=count) / len(samples)  # (K,)
    near_rim = 0.05 + np.exp(-away[known] / (0.35 * max(float(away.max()), 1)))
    layers = np.zeros((count, *inside.shape, 4), np.float32)  # (K,h,w,4): colour times votes, and votes
    for k in range(count):
        weight = np.where(label == k, frequency[k] * near_rim, 0)
        layers[k][known] = np.column_stack([samples * weight[:, None], weight])
    # 2. The votes around each pixel, W blurs wide, and which two of them its distance lies between.
    widths = [1.0, 2.0, 4.0, 8.0, 16.0]
    stack = np.stack([[cv2.GaussianBlur(layer, (0, 0), w) for layer in layers] for w in widths])  # (W,K,h,w,4)
    level = np.clip(np.log2(np.maximum(0.8 * away, 1)), 0, len(widths) - 1.001)
    index, part = level.astype(int), (level % 1)[..., None]
    # 3. The palette's colours mixed by their votes cubed, so that the prevailing one wins.
    rows, columns = np.indices(inside.shape)
    total = np.zeros((*inside.shape, 4))
    for k in range(count):
        here = (1 - part) * stack[index, k, rows, columns] + part * stack[index + 1, k, rows, columns]
        total += here * here[..., 3:] ** 2
    mixed = (total[..., :3] / np.maximum(total[..., 3:], 1e-20)).astype(np.float32)
    return push_pull(mixed, inside)
