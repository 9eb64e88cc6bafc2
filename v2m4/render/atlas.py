"""Texture atlases: unwrapping a mesh, which texel shows which point of it, and filling the texels between charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Float32, Int64, Mask, Real
from v2m4.geometry.mesh import Mesh, face_normals
from v2m4.render.raster import rasterize
from v2m4.settings import OwnAtlasSettings

PADDING = 4  # texels between charts
PART_FACES = 1500  # at most, of what is unwrapped as one


@dataclass(frozen=True)
class Texels:
    """The texels that show the surface. side: of the square texture. index: (N,) into its flattened rows. face: (N,)
    triangle shown at the texel's centre. weights: (N,3) float32 barycentrics of its corners."""

    side: int
    index: Int64
    face: Int64
    weights: Float32

    @property
    def mask(self) -> Mask:
        """(side,side), True where a texel shows the surface."""
        out = np.zeros(self.side * self.side, bool)
        out[self.index] = True
        return out.reshape(self.side, self.side)

    def picture(self, values: Real) -> Float32:
        """(side,side,C) picture with ``values`` (N,C) at the texels and the rest filled from the nearest ones."""
        flat = np.zeros((self.side * self.side, values.shape[1]), np.float32)
        flat[self.index] = values
        return fill_gutters(flat.reshape(self.side, self.side, -1), self.mask)


def unwrap(vertices: Tensor, faces: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """uv (T,2) in [0,1] and uv_faces (F,3) of charts that nowhere overlap in a ``side`` x ``side`` texture (xatlas).

    Charts end where the parts do that a large mesh is given in: the time for one grows faster than its faces, and parts
    are worked on at the same time.
    """
    import xatlas

    places, triangles = vertices.detach().cpu().float().numpy(), faces.cpu().numpy()
    parts = compact_parts(places[triangles].mean(1), PART_FACES)
    atlas = xatlas.Atlas()
    for part in parts:
        used, corners = np.unique(triangles[part], return_inverse=True)
        atlas.add_mesh(places[used], corners.reshape(-1, 3).astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution = side
    packing.padding = PADDING
    atlas.generate(xatlas.ChartOptions(), packing)
    uv_faces, coordinates, count = np.empty(triangles.shape, np.int64), [], 0
    for number, part in enumerate(parts):
        _, corners, uv = atlas[number]
        uv_faces[part] = corners.astype(np.int64) + count
        coordinates.append(uv)
        count += len(uv)
    size = np.array([atlas.width, atlas.height], np.float64)
    # One scale for both axes, so that texels stay square on the surface.
    placed = np.concatenate(coordinates) * size / size.max()
    return (
        torch.from_numpy(placed.astype(np.float32)).to(vertices.device),
        torch.from_numpy(uv_faces).to(faces.device),
    )


def compact_parts(points: Real, most: int) -> list[Int64]:
    """The numbers, ascending, of the points (N,3) of each of as many equal parts as leave no more than ``most`` in one:
    halved across their longest extent until then."""
    parts = [np.arange(len(points))]
    while len(parts[0]) > most:
        halves = []
        for part in parts:
            axis = np.ptp(points[part], axis=0).argmax()
            order = part[np.argsort(points[part, axis], kind="stable")]
            middle = (len(part) + 1) // 2
            halves += [np.sort(order[:middle]), np.sort(order[middle:])]
        parts = halves
    return parts


def has_own_atlas(mesh: Mesh, side: int, settings: OwnAtlasSettings) -> bool:
    """Whether the mesh's own coordinates can hold a texture made from pictures: inside the unit square, no overlaps,
    and nearly all of the surface textured about equally finely."""
    if mesh.uv is None or mesh.uv_faces is None or mesh.uv.min() < -1e-4 or mesh.uv.max() > 1 + 1e-4:
        return False
    a, b, c = (mesh.uv[mesh.uv_faces[:, i]].double() for i in range(3))
    flat = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs()
    area = 0.5 * face_normals(mesh.vertices, mesh.faces, normalise=False).norm(dim=-1).double()
    covered = float((_rasterize(mesh.uv, mesh.uv_faces, side).triangle >= 0).double().mean())
    if float(flat.sum()) > (1 + settings.overlap) * covered + 1e-6:
        return False
    mean_density = flat.sum() / area.sum().clamp_min(1e-12)
    bare = flat < settings.faintest * mean_density * area
    return float(area[bare].sum()) < settings.bare * float(area.sum())


def texels_of(uv: Tensor, uv_faces: Tensor, side: int) -> Texels:
    """Which point of the surface each texel of a ``side`` x ``side`` texture shows."""
    raster = _rasterize(uv.cpu(), uv_faces.cpu(), side)
    face = raster.triangle.reshape(-1).numpy()
    index = np.flatnonzero(face >= 0)
    first = raster.barycentrics.reshape(-1, 2).numpy()[index]
    weights = np.column_stack([first, 1 - first.sum(1)]).clip(0, 1).astype(np.float32)
    return Texels(side, index, face[index].astype(np.int64), weights)


def _rasterize(uv: Tensor, uv_faces: Tensor, side: int) -> Any:
    flat = uv.detach().float() * 2 - 1
    clip = torch.cat([flat, torch.zeros_like(flat[:, :1]), torch.ones_like(flat[:, :1])], dim=1)
    return rasterize(clip[None].contiguous(), uv_faces, side)


def fill_gutters(picture: Real, known: Mask) -> Float32:
    """(h,w,C) with unknown pixels filled: the nearest few from their known neighbours, so that bilinear and mip-mapped
    lookups at a chart's edge see the chart's colours, the rest from ever coarser averages."""
    picture = np.where(known[..., None], picture, 0).astype(np.float32)
    weight = known.astype(np.float32)
    for _ in range(PADDING // 2 + 1):
        total = cv2.boxFilter(weight, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        summed = cv2.boxFilter(picture, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        grown = np.flatnonzero((weight == 0) & (total > 0))
        among = summed.reshape(weight.size, -1)[grown]
        picture.reshape(weight.size, -1)[grown] = among / total.reshape(-1)[grown, None]
        weight.reshape(-1)[grown] = 1
    return push_pull(picture, weight)


def push_pull(colors: Real, weight: Real) -> Float32:
    """Fill the pixels of (h,w,C) whose (h,w) weight is below 1 from ever coarser averages of the known ones
    (Gortler et al. 1996)."""
    if min(weight.shape) <= 2 or weight.min() >= 1:
        total = max(float(weight.sum()), 1e-9)
        mean = (colors * weight[..., None]).sum((0, 1)) / total
        return (weight[..., None] * colors + (1 - weight[..., None]) * mean).astype(np.float32)
    size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
    small_weight = cv2.resize(weight.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = cv2.resize((colors * weight[..., None]).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = small.reshape(size[1], size[0], -1) / np.maximum(small_weight, 1e-9)[..., None]
    coarse = push_pull(small, np.minimum(4 * small_weight, 1))
    up = cv2.resize(coarse, (weight.shape[1], weight.shape[0]), interpolation=cv2.INTER_LINEAR)
    up = up.reshape(*weight.shape, -1)
    return (weight[..., None] * colors + (1 - weight[..., None]) * up).astype(np.float32)


def dominant_colors(colors: Real, count: int) -> tuple[Int64, int]:
    """(N,) label of the cluster of each of (N,3) colours, and how many of at most ``count`` clusters there are."""
    count = min(count, len(colors))
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1e-3)
    samples = np.ascontiguousarray(colors, dtype=np.float32)
    _, label, _ = cv2.kmeans(samples, count, np.zeros(0, np.int32), criteria, 1, cv2.KMEANS_PP_CENTERS)
    return label[:, 0].astype(np.int64), count
