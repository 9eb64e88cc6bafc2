"""What a frame says about where the surface is: optical flow from a rendering, and the outline of the mask.

A rendering here is made of the video's own pixels: every visible surface point looks up its colour in the anchor frame,
or in the previous one if the anchor did not see it. So flow from rendering to frame measures the error of the
pose itself, and does not add up over the clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree

from v2m4.arrays import Bytes, Float32, Float64, Int32, Int64, Mask, norm_last
from v2m4.geometry.camera import Camera
from v2m4.geometry.embedded_deformation import PointToPlane
from v2m4.render.threads import side_by_side
from v2m4.render.visibility import visible_triangles_numba
from v2m4.settings import CorrespondenceSettings

_TOUCHING = np.ones((3, 3), np.uint8)  # a pixel and its eight neighbours
_NEAR = 4  # pixels about an outline that tell which way it faces


@dataclass(frozen=True)
class FrameView:
    """A frame made ready. image: (S,S) uint8 grey over a contrasting background. mask: (S,S). outside: signed distance
    to the outline in pixels, positive outside. gradient: (S,S,2) its unit gradient."""

    image: Bytes
    mask: Mask
    outside: Float32
    gradient: Float32


@dataclass(frozen=True)
class VisibleSurface:
    """What the camera sees of the posed mesh. rows, columns: pixels. corners, barycentrics: (P,3) their surface points.
    depth: (S,S), infinite where there is nothing."""

    rows: Int64
    columns: Int64
    corners: Int64
    barycentrics: Float64
    depth: Float64


def make_view(rgba: Bytes, size: int, background: float) -> FrameView:
    """Shrink an (S,S,4) uint8 frame to ``size`` and find its outline."""
    alpha = cv2.resize(rgba[..., 3], (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    whole = cv2.cvtColor(rgba[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32) * (rgba[..., 3] / np.float32(255))
    grey = cv2.resize(whole, (size, size), interpolation=cv2.INTER_AREA)
    mask = alpha > 0.5
    outside = _outside(mask)
    gradient = _unit(_ascent(outside))
    image = (grey + background * (1 - alpha)).clip(0, 255).astype(np.uint8)
    return FrameView(image, mask, outside, gradient)


def _outside(mask: Mask) -> Float32:
    """(S,S) signed distance to the mask's outline in pixels, positive outside."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    within = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away - within + np.where(mask, 0.5, -0.5), np.float32)


def _ascent(distance: Float32) -> Float32:
    """(S,S,2) the gradient of a distance in pixels, times what Sobel's kernel sums to."""
    return np.stack([np.asarray(cv2.Sobel(distance, cv2.CV_32F, x, 1 - x), np.float32) for x in (1, 0)], axis=-1)


def _unit(vectors: Float32) -> Float32:
    """(…,2) vectors at unit length."""
    return np.asarray(vectors / (norm_last(vectors)[..., None] + np.float32(1e-6)), np.float32)


def _facing(shown: Mask, rows: Int64, columns: Int64) -> Float32:
    """(R,2) the way that a mask's outline faces in its pixels: what lies further away does not tell, and is cut off."""
    top, left = max(0, int(rows.min()) - _NEAR), max(0, int(columns.min()) - _NEAR)
    near = shown[top : int(rows.max()) + _NEAR + 1, left : int(columns.max()) + _NEAR + 1]
    return _unit(_ascent(_outside(near))[rows - top, columns - left])


def contrasting_background(rgba: Bytes) -> float:
    """Black behind bright objects, white behind dark ones."""
    inside = rgba[..., 3] > 127
    return 0.0 if not inside.any() or rgba[inside][:, :3].mean() > 127 else 255.0


def to_pixels(points: Float64, size: int) -> Float64:
    """Camera-space points (P,3) to pixel coordinates (P,2), pixel centres at .5."""
    focal = Camera.identity().focal
    return (focal * points[:, :2] / np.maximum(points[:, 2:], 1e-9) + 0.5) * size


def visible_points(vertices: Float64, faces: Int64, size: int) -> VisibleSurface:
    """Which surface points the video camera sees at the pixels of a ``size`` x ``size`` picture."""
    owner = _owners(vertices, faces, size)
    rows, columns = np.nonzero(owner >= 0)
    corners = faces[owner[rows, columns]]  # (P,3)
    axes = np.ascontiguousarray(vertices.T)  # (3,V): numbers of one axis together are worked on much faster
    a, b, c = (axes[:, corners[:, i]] for i in range(3))  # (3,P)
    # A ray meets the triangle where its volumes with the three edges are in proportion to the barycentrics.
    focal = Camera.identity().focal
    x, y = (((place + 0.5) / size - 0.5) / focal for place in (columns, rows))
    volumes = [
        x * (p[1] * q[2] - p[2] * q[1]) + y * (p[2] * q[0] - p[0] * q[2]) + (p[0] * q[1] - p[1] * q[0])
        for p, q in ((b, c), (c, a), (a, b))
    ]
    u, v, w = (volume / (volumes[0] + volumes[1] + volumes[2]) for volume in volumes)
    depth = np.full((size, size), np.inf)
    depth[rows, columns] = u * a[2] + v * b[2] + w * c[2]
    barycentrics = np.stack([u, v, w], axis=1)  # (P,3)
    return VisibleSurface(rows, columns, corners, barycentrics, depth)


def covered(vertices: Float64, faces: Int64, size: int) -> Mask:
    """(size,size) the pixels in which the video camera sees the posed mesh."""
    return np.asarray(_owners(vertices, faces, size) >= 0)


def _owners(vertices: Float64, faces: Int64, size: int) -> Int32:
    """(size,size) the face that the video camera sees in each pixel, -1 where there is none."""
    clip = Camera.identity().clip(torch.from_numpy(vertices).float())[None].contiguous()
    return visible_triangles_numba(clip, torch.from_numpy(faces), size, size)[0].numpy()


def _rays(x: Float64, y: Float64) -> Float64:
    """(P,3) directions through points of the picture, 0..1, one unit deep."""
    focal = Camera.identity().focal
    return np.stack([(x - 0.5) / focal, (y - 0.5) / focal, np.ones_like(x)], axis=1)


def surface_at(vertices: Float64, corners: Int64, barycentrics: Float64) -> Float64:
    """(P,3) positions of surface points."""
    u, v, w = (barycentrics[:, i, None] * vertices[corners[:, i]] for i in range(3))
    return u + v + w


def sample_frame_at(
    points: Float64, there: VisibleSurface, view: FrameView, same_surface: float
) -> tuple[Float64, Mask]:
    """The grey values (P,) that a frame shows at surface points (P,3), and whether it sees them.

    points: posed as in that frame. there: what it sees of the mesh so posed. same_surface: relative difference of depth
    within which it is the same point.
    """
    size = len(view.image)
    at = (to_pixels(points, size) - 0.5).astype(np.float32)
    # OpenCV takes pictures of less than 32768 columns.
    chunks = [
        cv2.remap(view.image, at[i : i + 30000, 0][None], at[i : i + 30000, 1][None], cv2.INTER_LINEAR)[0]
        for i in range(0, len(at), 30000)
    ]
    x, y = (np.clip(at[:, i].round().astype(np.int64), 0, size - 1) for i in range(2))
    same = np.abs(there.depth[y, x] - points[:, 2]) < same_surface * points[:, 2]
    return np.concatenate(chunks or [np.zeros(0)]).astype(np.float64), same & view.mask[y, x]


@dataclass(frozen=True)
class PixelMatches:
    """Surface points (corners, barycentrics) and the pixels (x, y), (P,2), where a frame wants them."""

    corners: Int64
    barycentrics: Float64
    targets: Float64
    weights: Float64

    def scaled(self, factor: float) -> PixelMatches:
        """The same with other weights."""
        return replace(self, weights=self.weights * factor)


def flow_matches(
    seen: VisibleSurface, rendering: Bytes, known: Mask, view: FrameView, settings: CorrespondenceSettings
) -> PixelMatches:
    """Where optical flow (DIS, Kroeger et al. 2016) carries the rendered points.

    rendering: (S,S) uint8. known: (S,S) where it shows something real.
    """
    size, step = len(rendering), settings.flow_step
    ahead, back = _flow_there_and_back(rendering, view, settings)  # (S,S,2)
    use = (seen.rows % step == 0) & (seen.columns % step == 0) & known[seen.rows, seen.columns]
    rows, columns = seen.rows[use], seen.columns[use]
    moved = ahead[rows, columns]  # (P,2)
    x, y = columns + moved[:, 0], rows + moved[:, 1]
    xi, yi = (np.clip(v.round().astype(np.int64), 0, size - 1) for v in (x, y))
    # Trust what comes back to where it started, and looks there as it did.
    missed = norm_last(moved + back[yi, xi])
    grey = np.abs(rendering[rows, columns].astype(np.float64) - view.image[yi, xi])
    weights = np.exp(-((missed / settings.flow_return_px) ** 2) - (grey / settings.grey_step) ** 2) * view.mask[yi, xi]
    good = weights > settings.flow_least_weight
    targets = np.stack([x[good] + 0.5, y[good] + 0.5], axis=1).astype(np.float64)
    return PixelMatches(seen.corners[use][good], seen.barycentrics[use][good], targets, weights[good])


def _flow_there_and_back(
    rendering: Bytes, view: FrameView, settings: CorrespondenceSettings
) -> tuple[Float32, Float32]:
    """Flow (S,S,2) from the rendering to the frame and from there to it.

    Of whole pictures: how far flow reaches, DIS derives from their size.
    """
    pictures = rendering, view.image

    def flow(way: int) -> Float32:
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        dis.setFinestScale(settings.flow_finest)
        return dis.calc(pictures[way], pictures[1 - way], None)  # type: ignore[call-overload]

    ahead, back = side_by_side(flow, 2)
    return ahead, back


def pixel_constraints(matches: PixelMatches, size: int) -> PointToPlane:
    """Two planes for each match: the upright and the level one through the camera and the pixel."""
    ray = _rays(matches.targets[:, 0] / size, matches.targets[:, 1] / size)
    zeros, ones = np.zeros(len(ray)), np.ones(len(ray))
    upright, level = np.stack([ones, zeros, -ray[:, 0]], axis=1), np.stack([zeros, ones, -ray[:, 1]], axis=1)
    return PointToPlane.through_camera(
        np.concatenate([matches.corners] * 2),  # (2P,3)
        np.concatenate([matches.barycentrics] * 2),
        np.concatenate([upright, level]),
        np.concatenate([matches.weights] * 2),
    )


@dataclass(frozen=True)
class SurfaceSamples:
    """Points spread over the surface. corners, barycentrics: (K,3). grey: (K,) what the anchor frame showed there, or
    nearby where it did not show the point. nodes: (K,) the node of the deformation that carries each most."""

    corners: Int64
    barycentrics: Float64
    grey: Float64
    nodes: Int64


def residual_mask(rendering: Bytes, shown: Mask, view: FrameView, settings: CorrespondenceSettings) -> Mask:
    """(S,S) pixels of the object that the rendering leaves empty or fills with something that looks different."""
    window = settings.grey_window
    off = np.abs(_inner_grey(rendering, shown, window) - _inner_grey(view.image, _inside(view.mask), window))
    wrong = view.mask & (~shown | (off > settings.unexplained_above))
    return cv2.morphologyEx(wrong.astype(np.uint8), cv2.MORPH_OPEN, _TOUCHING).astype(bool)


def unexplained_region_constraints(
    seen: VisibleSurface,
    vertices: Float64,
    samples: SurfaceSamples,
    missing: Mask,
    view: FrameView,
    settings: CorrespondenceSettings,
) -> PointToPlane:
    """Pair unexplained pixels with surface that is free to go there: hidden limbs come out where a limb appears.

    missing: (S,S) as from `residual_mask`. A node is free unless enough of its surface is seen and explained; the far
    side of a limb in sight does not go elsewhere. Pairs are nearest in place and grey value.
    """
    size = len(view.mask)
    # 1. Which samples are seen in pixels that the rendering explains.
    points = surface_at(vertices, samples.corners, samples.barycentrics)  # (K,3)
    pixels = to_pixels(points, size)  # (K,2)
    x, y = (np.clip(pixels[:, i].astype(np.int64), 0, size - 1) for i in range(2))
    in_sight = np.abs(seen.depth[y, x] - points[:, 2]) < settings.same_surface * points[:, 2]
    explained = in_sight & view.mask[y, x] & ~missing[y, x]
    # 2. Which samples hang on nodes with too little such surface.
    count = int(samples.nodes.max()) + 1
    share = np.bincount(samples.nodes, explained, count) / np.maximum(np.bincount(samples.nodes, minlength=count), 1)
    lack = np.clip(1 - share / settings.explained_share, 0, 1)  # (N,)
    free = np.flatnonzero(lack[samples.nodes] > settings.free_above)
    # 3. The unexplained pixels, evenly thinned out.
    rows, columns = np.nonzero(missing)
    if len(rows) > settings.claims:
        kept = np.linspace(0, len(rows) - 1, settings.claims).astype(np.int64)
        rows, columns = rows[kept], columns[kept]
    if not len(rows) or not len(free):
        return PointToPlane.none()
    targets = np.stack([columns + 0.5, rows + 0.5], axis=1)  # (M,2)
    grey = _inner_grey(view.image, _inside(view.mask), settings.grey_window)[rows, columns]
    # 4. Each pixel's nearest free sample, in place and grey value together.
    reach = settings.outline_reach * size
    ours = np.column_stack([pixels[free] / reach, samples.grey[free] / settings.grey_step])
    gaps, nearest = cKDTree(ours).query(np.column_stack([targets / reach, grey / settings.grey_step]))
    weights = np.exp(-(gaps**2))
    good = weights > settings.claim_least_weight
    chosen = free[nearest[good]]
    claims = PixelMatches(samples.corners[chosen], samples.barycentrics[chosen], targets[good], weights[good])
    return pixel_constraints(claims, size)


def match_outlines(
    seen: VisibleSurface,
    vertices: Float64,
    view: FrameView,
    settings: CorrespondenceSettings,
    rendering: Bytes | None = None,
    missing: Mask | None = None,
) -> PixelMatches:
    """Pair the rendered outline with the mask's, both ways, and pull in vertices that lie outside the mask.

    With a ``rendering`` (S,S) uint8, pairs whose grey values differ count less: a leg is not drawn to the chest.
    Outlines of ``missing`` (S,S) regions count less too: they may belong to a limb that the mesh hides.
    Pairs count as far as both outlines face the same way, as in ICP with normals (Pulli 1999).
    """
    size = len(view.mask)
    reach = settings.outline_reach * size
    # 1. From each pixel of the rendered outline along the distance's gradient to the mask's.
    shown = np.isfinite(seen.depth)
    rim = _rim(shown)[seen.rows, seen.columns]
    rows, columns = seen.rows[rim], seen.columns[rim]  # (R,)
    corners, barycentrics = seen.corners[rim], seen.barycentrics[rim]
    away = view.outside[rows, columns].astype(np.float64) + 0.5
    home = np.stack([columns + 0.5, rows + 0.5], axis=1) - away[:, None] * view.gradient[rows, columns]
    # 2. From each pixel of the mask's outline to the nearest of the rendered one.
    wanted_rows, wanted_columns = np.nonzero(_rim(view.mask))
    wanted = np.stack([wanted_columns, wanted_rows], axis=1)  # (W,2)
    if not len(rows) or not len(wanted):
        empty = np.zeros((0, 3))
        return PixelMatches(empty.astype(np.int64), empty, np.zeros((0, 2)), np.zeros(0))
    gaps, nearest = cKDTree(np.stack([columns, rows], axis=1)).query(wanted)
    # 3. How alike both ends look and face, and whether a hidden limb may belong there.
    landing = np.clip(home.astype(np.int64), 0, size - 1)
    alike, alike_nearest = np.ones(len(rows)), np.ones(len(wanted))
    if rendering is not None:
        window = settings.grey_window
        ours, theirs = _inner_grey(rendering, shown, window), _inner_grey(view.image, _inside(view.mask), window)
        alike = _likeness(ours[rows, columns], theirs[landing[:, 1], landing[:, 0]], settings.grey_step)
        alike_nearest = _likeness(ours[rows, columns][nearest], theirs[wanted_rows, wanted_columns], settings.grey_step)
    if missing is not None:
        alike_nearest = alike_nearest * np.where(missing[wanted_rows, wanted_columns], settings.outline_hidden, 1.0)
    if settings.outline_facing:
        way = _facing(shown, rows, columns)  # (R,2)
        there, wanted_way = view.gradient[landing[:, 1], landing[:, 0]], view.gradient[wanted_rows, wanted_columns]
        alike = alike * np.clip((way * there).sum(axis=1), 0, 1)
        alike_nearest = alike_nearest * np.clip((way[nearest] * wanted_way).sum(axis=1), 0, 1)
    # 4. Vertices outside the mask, seen or not, back to its outline.
    pixels = to_pixels(vertices, size)  # (V,2)
    x, y = (np.clip(pixels[:, i].astype(np.int64), 0, size - 1) for i in range(2))
    excess = view.outside[y, x].astype(np.float64)
    stray = np.flatnonzero(excess > 1)
    pulled = pixels[stray] - excess[stray, None] * view.gradient[y[stray], x[stray]]
    single = np.tile([1.0, 0.0, 0.0], (len(stray), 1))
    return PixelMatches(
        np.concatenate([corners, corners[nearest], np.repeat(stray[:, None], 3, axis=1)]),  # (R+W+V',3)
        np.concatenate([barycentrics, barycentrics[nearest], single]),
        np.concatenate([home, wanted + 0.5, pulled]),
        np.concatenate(
            [
                alike * np.exp(-((away / reach) ** 2)),
                alike_nearest * np.exp(-((gaps / reach) ** 2)),
                settings.outside_weight * np.exp(-((excess[stray] / reach) ** 2)),
            ]
        ),
    )


def outline_constraints(matches: PixelMatches, view: FrameView) -> PointToPlane:
    """Each match as one plane along the outline, so that points may slide."""
    size = len(view.mask)
    x, y = (np.clip(matches.targets[:, i].astype(np.int64), 0, size - 1) for i in range(2))
    nx, ny = view.gradient[y, x, 0].astype(np.float64), view.gradient[y, x, 1].astype(np.float64)
    ray = _rays(matches.targets[:, 0] / size, matches.targets[:, 1] / size)
    normals = np.stack([nx, ny, -(nx * ray[:, 0] + ny * ray[:, 1])], axis=1)
    return PointToPlane.through_camera(matches.corners, matches.barycentrics, normals, matches.weights)


def concatenate(
    planes: PointToPlane, more: PointToPlane, *, relative: float | None = None, scale: float = 1.0
) -> PointToPlane:
    """Both sets, each of ``more`` weighing ``scale`` times as much as it says.

    relative: ``more`` weighs so many times as much as ``planes`` in all; with no ``planes``, what it says.
    """
    if relative is not None:
        if not len(planes.weights):
            return more
        scale = relative * planes.weights.sum() / max(more.weights.sum(), 1e-9)
    return PointToPlane(
        np.concatenate([planes.corners, more.corners]),
        np.concatenate([planes.barycentrics, more.barycentrics]),
        np.concatenate([planes.normals, more.normals]),
        np.concatenate([planes.distances, more.distances]),
        np.concatenate([planes.weights, more.weights * scale]),
    )


def _rim(mask: Mask) -> Mask:
    """Pixels of the mask that touch its outside."""
    return mask & ~_inside(mask)


def _inside(mask: Mask) -> Mask:
    """Pixels of the mask that do not touch its outside."""
    return cv2.erode(mask.astype(np.uint8), _TOUCHING).astype(bool)


def _inner_grey(image: Bytes, mask: Mask, window: int) -> Float64:
    """(S,S) mean grey of the object's pixels around each pixel, without the rim's blend with the background."""
    weight = cv2.boxFilter(mask.astype(np.float32), -1, (window, window), normalize=False)
    total = cv2.boxFilter(image.astype(np.float32) * mask, -1, (window, window), normalize=False)
    return (total / np.maximum(weight, 1e-6)).astype(np.float64)


def _likeness(a: Float64, b: Float64, step: float) -> Float64:
    return np.exp(-(((a - b) / step) ** 2))
