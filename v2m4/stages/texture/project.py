"""What the frames say about a surface's colour: which of its points each frame sees, how well, and in what colour.

Everything is computed at *samples*: the mesh's vertices, or, where faces are large, the points of a regular
subdivision of them. Texels lie between three samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, diags_array
from scipy.sparse.linalg import splu
from torch import Tensor

from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh, vertex_normals
from v2m4.render.atlas import Texels, dominant_colors
from v2m4.render.raster import interpolate, rasterize

Floats = NDArray[Any]

SAMPLES = 8000  # faces are subdivided until the surface has about so many pieces
PALETTE = 8  # colours told apart when unseen parts are filled
GRAZING, FACING = 0.12, 0.4  # cosines to the line of sight between which a frame becomes trustworthy
EDGE_PX = (0.5, 2.0)  # distances to the nearest silhouette between which it does


@dataclass(frozen=True)
class Samples:
    """Points on a mesh's surface. face: (P,) triangle each lies on, weights: (P,3) barycentrics there.
    texel: (N,3) int32, the samples around each texel, and share: (N,3) float32, their weights.
    adjacency: (P,P) rows that average over neighbouring samples."""

    face: NDArray[np.int64]
    weights: NDArray[np.float32]
    texel: NDArray[np.int32]
    share: NDArray[np.float32]
    adjacency: csr_array

    def on(self, faces: NDArray[np.int64], values: Floats) -> NDArray[np.float32]:
        """(P,C) values at the samples, interpolated from (V,C) at the vertices."""
        corners = values[faces[self.face]]
        return np.ascontiguousarray((corners * self.weights[..., None]).sum(1), dtype=np.float32)

    def at_texels(self, values: Floats) -> NDArray[np.float32]:
        """(N,C) values at the texels, interpolated from (P,C) at the samples."""
        out = values[self.texel[:, 0]] * self.share[:, :1]
        for i in (1, 2):
            out += values[self.texel[:, i]] * self.share[:, i : i + 1]
        return out.astype(np.float32)

    def smooth(self, values: Floats, rounds: int) -> Floats:
        """(P,C) values averaged with their neighbours so many times."""
        for _ in range(rounds):
            values = 0.5 * values + 0.5 * (self.adjacency @ values)
        return values


def place_samples(faces: NDArray[np.int64], texels: Texels) -> Samples:
    """Samples for a mesh with the given faces (F,3), and where the texels lie between them."""
    m = max(1, round(np.sqrt(SAMPLES / len(faces))))
    grid = np.array([(i, j) for i in range(m + 1) for j in range(m + 1 - i)], np.int64)
    number = np.full((m + 2, m + 2), -1, np.int64)
    number[grid[:, 0], grid[:, 1]] = np.arange(len(grid))
    weights = np.column_stack([grid, m - grid.sum(1)])
    # A sample on an edge or vertex is the same one for all faces around it: name it by the mesh's vertices and the
    # whole-number weights they have there.
    face = np.repeat(np.arange(len(faces)), len(grid))
    every = np.tile(weights, (len(faces), 1))
    names = np.where(every > 0, faces[face], -1)
    order = np.argsort(names, axis=1)
    key = np.concatenate([np.take_along_axis(names, order, 1), np.take_along_axis(every, order, 1)], axis=1)
    _, first, same = np.unique(key, axis=0, return_index=True, return_inverse=True)
    local = same.reshape(len(faces), len(grid))

    scaled = texels.weights.astype(np.float64) * m
    i = np.clip(np.floor(scaled[:, 0]).astype(np.int64), 0, m - 1)
    j = np.clip(np.floor(scaled[:, 1]).astype(np.int64), 0, m - 1 - i)
    x, y = scaled[:, 0] - i, scaled[:, 1] - j
    far = (x + y > 1) & (i + j < m - 1)
    corner = np.stack(
        [
            number[i + far, j + far],
            np.where(far, number[i, j + 1], number[i + 1, j]),
            np.where(far, number[i + 1, j], number[i, j + 1]),
        ],
        axis=1,
    )
    p, q = np.where(far, 1 - x, x), np.where(far, 1 - y, y)
    share = np.stack([1 - p - q, p, q], axis=1).clip(0, 1)
    share /= share.sum(1, keepdims=True)

    up = np.array([(i, j) for i in range(m) for j in range(m - i)])
    pairs = [(number[up[:, 0] + a, up[:, 1] + b], number[up[:, 0] + c, up[:, 1] + d]) for a, b, c, d in _SIDES]
    start = np.concatenate([local[:, s].ravel() for s, _ in pairs])
    end = np.concatenate([local[:, e].ravel() for _, e in pairs])
    links = coo_array(
        (np.ones(2 * len(start)), (np.r_[start, end], np.r_[end, start])), shape=(len(first),) * 2
    ).tocsr()
    links.data[:] = 1
    adjacency = csr_array(diags_array(1 / np.maximum(links.sum(1), 1)) @ links)
    return Samples(
        face[first],
        (every[first] / m).astype(np.float32),
        local[texels.face[:, None], corner].astype(np.int32),
        share.astype(np.float32),
        adjacency,
    )


_SIDES = ((0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 1))


def spread_colors(values: Floats, seen: Floats, samples: Samples, palette: int = 0) -> Floats:
    """(P,C) that equal ``values`` where seen (P,) is 1 and continue them along the surface elsewhere.

    Without a palette: the minimiser of seen * |x - values|^2 + the differences between neighbouring samples, smooth
    everywhere. With one, the prevailing one of so many colours is continued, which keeps them clean instead of mixing
    them to mud: their shares are spread and sharpened. Pieces of the surface that nothing sees take the mean, or the
    most frequent colour.
    """
    weight = np.where(seen > 0.3, 50 * seen, 0)
    if not weight.any():
        return np.full_like(values, 0.5)
    faint = 1e-5
    identity = diags_array(np.ones(len(weight)))
    solver = splu(csc_array(identity - samples.adjacency + diags_array(weight + faint)))

    def spread(layer: Floats) -> Floats:
        return solver.solve(layer * weight[:, None] + faint * (layer * weight[:, None]).sum(0) / weight.sum())

    if palette == 0:
        return spread(values)
    label, count = dominant_colors(values[weight > 0], palette)
    total = np.zeros((len(values), values.shape[1] + 1))
    for k in range(count):
        member = np.zeros(len(values))
        member[weight > 0] = label == k
        layer = spread(np.column_stack([values * member[:, None], member])).clip(0)
        total += layer * layer[:, -1:] ** 3
    return total[:, :-1] / np.maximum(total[:, -1:], 1e-12)


@dataclass(frozen=True)
class View:
    """One frame as a witness. points, normals: (P,3) of the samples in camera space. image: (S,S,3) float32 in [0,1].
    depth: (S,S) of the mesh, infinite outside. trust: (S,S) in [0,1], small near silhouettes. tolerance: the depth
    within which a point counts as the visible one. overlap: of mesh and object in the picture. sharpness: of it."""

    points: Floats
    normals: Floats
    image: Floats
    depth: Floats
    trust: Floats
    focal: float
    tolerance: float
    overlap: float
    sharpness: float

    def see(self, texel: NDArray[np.int32], share: Floats, wanted: Floats) -> tuple[Floats, Floats]:
        """Colours (N,3) and trust (N,) of points between samples (N,3), where the sum of ``wanted`` (P,) there is
        above zero."""
        return _see(
            self.points,
            self.normals,
            texel,
            share,
            np.ascontiguousarray(wanted, dtype=np.float32),
            self.image,
            self.depth,
            self.trust,
            self.focal,
            self.tolerance,
        )


def witness(mesh: Mesh, vertices: Tensor, frame: NDArray[np.uint8], samples: Samples) -> View:
    """The view of ``mesh`` with ``vertices`` (V,3) in camera space in a frame (S,S,4) uint8."""
    camera = Camera.identity()
    side = frame.shape[0]
    clip = camera.clip(vertices)[None].contiguous()
    raster = rasterize(clip, mesh.faces, side)
    drawn = raster.triangle[0].numpy() >= 0
    z = interpolate(vertices[:, 2:].contiguous(), raster, mesh.faces)[0, ..., 0].numpy()
    depth = np.where(drawn, z, np.inf).astype(np.float32)
    solid = frame[..., 3] > 240
    extent = float((vertices.amax(0) - vertices.amin(0)).max())
    usable = solid & drawn & ~_steps(depth, 0.02 * extent)
    away = cv2.distanceTransform(np.pad(usable, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    trust = _smoothstep((away - EDGE_PX[0]) / (EDGE_PX[1] - EDGE_PX[0])).astype(np.float32)
    faces = mesh.faces.numpy()
    normals = vertex_normals(vertices, mesh.faces).numpy()
    object_mask = frame[..., 3] > 127
    image = np.ascontiguousarray(frame[..., :3], dtype=np.float32) / 255
    return View(
        samples.on(faces, vertices.numpy()),
        samples.on(faces, normals),
        image,
        depth,
        trust,
        camera.focal,
        0.005 * extent,
        float((drawn & object_mask).sum() / max((drawn | object_mask).sum(), 1)),
        _sharpness(image, usable),
    )


def _steps(depth: Floats, jump: float) -> NDArray[np.bool_]:
    """Pixels beside which the depth jumps: the silhouettes of one limb before another. The second difference tells
    a jump from a steep surface."""
    known = np.where(np.isfinite(depth), depth, 0)
    kernel = np.array([[1, -2, 1]], np.float32)
    across, down = (np.abs(cv2.filter2D(known, cv2.CV_32F, k)) for k in (kernel, kernel.T))
    return np.maximum(across, down) > jump


def _sharpness(image: Floats, usable: NDArray[np.bool_]) -> float:
    if not usable.any():
        return 0.0
    return float(np.abs(cv2.Laplacian(image.mean(-1), cv2.CV_32F))[usable].mean())


def _smoothstep(x: Floats) -> Floats:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


@njit(cache=True, nogil=True)
def _see(
    points: Floats,
    normals: Floats,
    texel: NDArray[np.int32],
    share: Floats,
    wanted: Floats,
    image: Floats,
    depth: Floats,
    trust: Floats,
    focal: float,
    tolerance: float,
) -> tuple[Floats, Floats]:
    side = image.shape[0]
    colors = np.zeros((len(texel), 3), np.float32)
    seen = np.zeros(len(texel), np.float32)
    for n in range(len(texel)):
        i, j, k = texel[n, 0], texel[n, 1], texel[n, 2]
        if wanted[i] + wanted[j] + wanted[k] <= 0:
            continue
        a, b, c = share[n, 0], share[n, 1], share[n, 2]
        x = a * points[i, 0] + b * points[j, 0] + c * points[k, 0]
        y = a * points[i, 1] + b * points[j, 1] + c * points[k, 1]
        z = a * points[i, 2] + b * points[j, 2] + c * points[k, 2]
        nx = a * normals[i, 0] + b * normals[j, 0] + c * normals[k, 0]
        ny = a * normals[i, 1] + b * normals[j, 1] + c * normals[k, 1]
        nz = a * normals[i, 2] + b * normals[j, 2] + c * normals[k, 2]
        reach = np.sqrt((x * x + y * y + z * z) * (nx * nx + ny * ny + nz * nz))
        if z <= 0 or reach <= 0:
            continue
        cosine = -(nx * x + ny * y + nz * z) / reach
        if cosine <= GRAZING:
            continue
        s, t = (focal * x / z + 0.5) * side - 0.5, (focal * y / z + 0.5) * side - 0.5
        if s < 0 or t < 0 or s >= side - 1 or t >= side - 1:
            continue
        u, v = int(s), int(t)
        p, q = s - u, t - v
        # A pixel counts as far as it is trusted, and not at all where it shows something nearer: at a limb's edge the
        # four pixels around a point can show two things. A slanted surface is itself nearer half a pixel on.
        nearest = z - tolerance - 0.5 * z / (focal * side) * np.sqrt(max(1 - cosine * cosine, 0.0)) / cosine
        w0 = (1 - p) * (1 - q) * trust[v, u] * (depth[v, u] > nearest)
        w1 = p * (1 - q) * trust[v, u + 1] * (depth[v, u + 1] > nearest)
        w2 = (1 - p) * q * trust[v + 1, u] * (depth[v + 1, u] > nearest)
        w3 = p * q * trust[v + 1, u + 1] * (depth[v + 1, u + 1] > nearest)
        believed = w0 + w1 + w2 + w3
        if believed <= 1e-4:
            continue
        facing = min((cosine - GRAZING) / (FACING - GRAZING), 1.0)
        seen[n] = facing * facing * (3 - 2 * facing) * believed
        for h in range(3):
            colors[n, h] = (
                image[v, u, h] * w0 + image[v, u + 1, h] * w1 + image[v + 1, u, h] * w2 + image[v + 1, u + 1, h] * w3
            ) / believed
    return colors, seen
