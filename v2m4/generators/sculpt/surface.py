"""From a `Prediction` to a closed surface in the camera's space, its outline that of the full picture."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_array
from torch import Tensor

from v2m4.arrays import Float32, Float64, Int64, Real
from v2m4.errors import NoSurfaceError
from v2m4.generators.sculpt.network import FARTHEST, NEAREST, SLICES
from v2m4.generators.sculpt.picture import Square
from v2m4.geometry.cleanup import compact, part_pinched_edges, remove_cavities, remove_floaters, simplify
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.settings import SculptSettings

SPARE = 40  # faces that parting pinched edges may add


def outline_distance(alpha: Real) -> Float32:
    """(n,n) signed distance to the outline of an opacity (n,n) in [0,1], in widths, positive inside."""
    inside = (alpha > 0.5).astype(np.uint8)
    out = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    out = out - np.where(inside, 0.5, -0.5).astype(np.float32)
    # At the outline the soft edge tells more than the pixels: one pixel of ramp is one pixel of distance.
    near = np.abs(out) < 1
    out = np.where(near, alpha - 0.5, out)
    return (out / len(alpha)).astype(np.float32)


def surface(volume: Tensor, alpha: Real, square: Square, settings: SculptSettings) -> tuple[Float64, Int64]:
    """Vertices (V,3) in the camera's space, where the square is 1 wide at depth 1 / ray width, and faces (F,3).

    volume: (SLICES,GRID,GRID), positive inside, in widths of the square. alpha: (n,n) opacity in [0,1].
    Raises `V2M4Error` if nothing is inside.
    """
    # 1. Between near and far parts, and at the outline, all distances are clipped alike.
    solid, band = settings.solid, settings.solid.band
    shape = (solid.depth_nodes * SLICES, *alpha.shape[:2])
    fine = F.interpolate(volume.clamp(-band, band)[None, None], size=shape, mode="trilinear")[0, 0]
    inside = torch.from_numpy(outline_distance(alpha)).to(fine)
    # Where neighbouring columns lie so far apart that nothing is left between them, the nearer one alone counts.
    nearest = F.interpolate(volume.clamp(-band, band)[None, None], size=shape, mode="nearest-exact")[0, 0]
    fine = torch.where((fine.amax(0) <= 0) & (inside > 0), nearest, fine)
    cut = torch.minimum(fine, inside)
    vertices, faces = marching_cubes(F.pad(cut, (1, 1, 1, 1, 1, 1), value=-band))
    if len(faces) == 0:
        raise NoSurfaceError(
            "sculpt found no surface in the picture's object. Choose another keyframe, or the generator inflate."
        )
    # 2. The grid's axes (depth, y, x) are the camera's (x, y, depth) in reverse, so faces turn over.
    nodes = vertices.double().cpu().numpy() - 1
    triangles = np.ascontiguousarray(faces.cpu().numpy()[:, ::-1])
    nodes[:, 0] = smooth_along_rays(nodes[:, 0], triangles, settings)
    points = _in_camera(nodes, square, shape)
    triangles = remove_cavities(points, remove_floaters(points, triangles, solid.least_piece))
    # 3. Fewer faces; the few that are kept back are for edges that have to be parted.
    points, triangles = part_pinched_edges(*simplify(points, triangles, settings.faces - SPARE, solid.aggressiveness))
    used, triangles = compact(triangles)
    return points[used], triangles


def smooth_along_rays(depth: Float64, faces: Int64, settings: SculptSettings) -> Float64:
    """(V,) depths without the network's grain, by a low-pass filter over the surface that does not shrink (Taubin
    1995). Vertices move along their pixels' rays only, so the picture's outline and what lies where stay."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = len(depth)
    beside = coo_array((np.ones(2 * len(edges)), (edges.ravel(), edges[:, ::-1].ravel())), shape=(count, count)).tocsr()
    degree = np.maximum(beside.sum(1), 1)
    for _ in range(settings.smoothing):
        for step in (settings.solid.shrink, -settings.solid.grow):
            depth = depth + step * (beside @ depth / degree - depth)
    return depth


def _in_camera(nodes: Float64, square: Square, shape: tuple[int, ...]) -> Float64:
    """Camera coordinates (V,3) of nodes (V,3) of a grid of this shape, in the order depth, y, x."""
    share = (nodes[:, 0] + 0.5) / shape[0]
    depth = NEAREST + share * (FARTHEST - NEAREST) + 1 / square.ray_width
    slopes = square.slopes((nodes[:, :0:-1] + 0.5) / shape[-1])
    return np.column_stack([slopes * depth[:, None], depth])
