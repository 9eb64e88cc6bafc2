"""The outline of a picture's object: sub-pixel closed curves, sampled more densely where the object is thin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from contourpy import contour_generator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from v2m4.arrays import Bytes, Float64, Int64, Mask, Real
from v2m4.errors import V2M4Error
from v2m4.settings import InflateSettings

MARGIN = 6  # empty working pixels around the object, for blurs and the outline's own width
STEP = 0.5  # distance of the dense outline samples, in working pixels: finer than any edge
_LEAST_VERTICES = 8  # of a closed curve
_LEAST_SAMPLES = 16  # of a closed curve
_AT_ONCE = 256  # places whose widths are measured together: bounds the memory
_BESIDE = 2.0  # working pixels within which other samples belong to the same stretch of outline


@dataclass(frozen=True)
class Crop:
    """The part of the picture that holds the object, resampled to working size.

    rgba: (h,w,4) float32 in [0,1]. origin: (x, y) of its corner and scale: working pixels per picture pixel (x, y), so
    that working = (picture - origin) * scale, both in continuous pixels (centres at +0.5).
    """

    rgba: Real
    origin: Float64
    scale: Float64

    def to_picture(self, points: Real) -> Float64:
        """(N,2) working coordinates as picture coordinates."""
        return np.asarray(points, dtype=np.float64) / self.scale + self.origin


@dataclass(frozen=True)
class Outline:
    """Closed curves with the object on their left (as seen with y up), and the distances they define.

    points: (N,2) dense samples. curve: (N,) index of the curve of each. spacing: (N,) the longest edge that the
    object's narrowness allows there. distance: (h,w) float32, signed distance of the pixel centres to the outline,
    positive inside. size: (h,w) float32, the longest edge allowed at the pixels inside.
    """

    points: Float64
    curve: Int64
    spacing: Float64
    distance: Real
    size: Real


def crop_object(picture: Bytes, working_size: int) -> Crop:
    """Cut the object out of an (S,S,4) uint8 picture, its longer side ``working_size`` pixels.

    Raises `V2M4Error` when there is none.
    """
    inside = picture[..., 3] > 127
    if not inside.any():
        raise V2M4Error(
            "The picture has no foreground (no pixel is more than half opaque). "
            "Choose another keyframe, or another matting method that keeps the object."
        )
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    low = np.array([columns[0], rows[0]])
    high = np.array([columns[-1], rows[-1]]) + 1
    scale = working_size / float((high - low).max())
    pad = int(np.ceil(MARGIN / scale))
    low, high = low - pad, high + pad
    padded = np.zeros((*(high - low)[::-1], 4), np.float32)
    height, width = inside.shape
    x0, y0, x1, y1 = max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height)
    padded[y0 - low[1] : y1 - low[1], x0 - low[0] : x1 - low[0]] = picture[y0:y1, x0:x1].astype(np.float32) / 255
    size = np.maximum(np.round((high - low) * scale), 1).astype(int)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    rgba = cv2.resize(padded, (int(size[0]), int(size[1])), interpolation=method)
    return Crop(np.clip(rgba, 0, 1, dtype=np.float32), low.astype(np.float64), size / (high - low))


def trace(alpha: Real, settings: InflateSettings) -> Outline:
    """The outline of an (h,w) alpha picture whose border is empty."""
    # 1. The curves where the soft mask is a half, without specks and the pixel grid's stairs.
    soft = np.asarray(cv2.GaussianBlur(alpha, (0, 0), settings.outline.blur), alpha.dtype)
    soft = _without_specks(soft, settings)
    curves = []
    for line in contour_generator(z=soft).lines(0.5):
        line = np.asarray(line, dtype=np.float64)[:-1] + 0.5
        if abs(_area(line)) > settings.least_area / 2 * (soft > 0.5).sum():
            curves.append(_smooth(line, settings.outline.smoothing))
    if not curves:
        raise V2M4Error("The object in the picture is too small or too faint to make a mesh of. Crop closer or trim.")
    # 2. Distances from them, and the object on their left.
    points = np.concatenate(curves)
    curve = np.repeat(np.arange(len(curves)), [len(c) for c in curves])
    distance = _signed_distance(soft > 0.5, points)
    normals = np.concatenate([_left_normals(c) for c in curves])
    if _sample(distance, points + normals).mean() < _sample(distance, points - normals).mean():
        curves = [c[::-1] for c in curves]
        points = np.concatenate(curves)
        normals = np.concatenate([_left_normals(c) for c in curves])
    # 3. How long edges may be along them, and, growing with the distance, inside.
    spacing = _spacing(points, normals, settings)
    spacing = np.concatenate([_limit_slope(spacing[curve == i], settings.outline.along) for i in range(len(curves))])
    rows, columns = np.nonzero(distance > 0)
    away, nearest = cKDTree(points[::2]).query(np.stack([columns, rows], axis=1) + 0.5)
    size = np.full(distance.shape, np.inf, np.float32)
    size[rows, columns] = spacing[::2][nearest] + settings.outline.inwards * away
    return Outline(points, curve, spacing, distance, size)


def _without_specks(soft: Real, settings: InflateSettings) -> Real:
    """Empty the small pieces and fill the small holes of a soft mask."""
    soft = soft.copy()
    least = max(settings.least_area * float((soft > 0.5).sum()), settings.outline.least_pixels)
    for value, mask in ((0.0, soft > 0.5), (1.0, soft <= 0.5)):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
        for label in range(1, count):
            if stats[label, cv2.CC_STAT_AREA] < least:
                soft[labels == label] = value
    return soft


def _area(line: Float64) -> float:
    x, y = line.T
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _smooth(line: Float64, width: float) -> Float64:
    """A closed polyline resampled every `STEP` and freed of the pixel grid's stairs."""
    closed = np.vstack([line, line[:1]])
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    count = max(round(arc[-1] / STEP), _LEAST_SAMPLES)
    at = np.linspace(0, arc[-1], count, endpoint=False)
    dense = np.stack([np.interp(at, arc, closed[:, i]) for i in range(2)], axis=1)
    return gaussian_filter1d(dense, width / STEP, axis=0, mode="wrap")


def _left_normals(curve: Float64) -> Float64:
    tangent = np.roll(curve, -1, axis=0) - np.roll(curve, 1, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


def _sample(grid: Real, points: Float64) -> Real:
    at = (points - 0.5).astype(np.float32)
    return cv2.remap(grid, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR)[0]


def _signed_distance(inside: Mask, points: Float64) -> Real:
    mask = inside.astype(np.uint8)
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    distance -= np.where(inside, 0.5, -0.5).astype(np.float32)
    rows, columns = np.nonzero(np.abs(distance) < 3)
    nearest = cKDTree(points).query(np.stack([columns, rows], axis=1) + 0.5)[0]
    distance[rows, columns] = np.where(inside[rows, columns], nearest, -nearest)
    return distance


def _spacing(points: Float64, normals: Float64, settings: InflateSettings) -> Float64:
    """The edge length at each sample that suits the width of the object, and of the gap beside it.

    The radius of the largest disc that touches the curve at p and holds no other sample q is
    min over q of |q-p|^2 / (2 (q-p).n): the shrinking-ball view of the medial axis (Ma, Bae and Choi 2012).
    """
    stride = max(1, len(points) // settings.outline.samples)
    others = points[::stride].astype(np.float32)
    radius = np.empty((len(others), 2))
    for start in range(0, len(others), _AT_ONCE):
        p = others[start : start + _AT_ONCE, None]
        n = normals[::stride][start : start + _AT_ONCE, None].astype(np.float32)
        dx, dy = others[:, 0] - p[..., 0], others[:, 1] - p[..., 1]
        square = dx * dx + dy * dy
        along = dx * n[..., 0] + dy * n[..., 1]
        for side, sign in enumerate((1, -1)):
            r = square / np.maximum(2 * sign * along, 1e-3)
            r[(square < _BESIDE**2) | (sign * along < 1e-3)] = np.inf
            radius[start : start + _AT_ONCE, side] = r.min(1)
    wanted = np.minimum(settings.outline.width_edge * radius[:, 0], settings.outline.gap_edge * radius[:, 1])
    return np.clip(np.repeat(wanted, stride)[: len(points)], settings.shortest_edge, settings.working_size)


def _limit_slope(spacing: Float64, slope: float) -> Float64:
    """The largest function below ``spacing`` that grows by at most ``slope`` per unit along the closed curve."""
    n = len(spacing)
    ramp = slope * STEP * np.arange(3 * n)
    tiled = np.tile(spacing, 3)
    forward = np.minimum.accumulate(tiled - ramp) + ramp
    backward = (np.minimum.accumulate((tiled + ramp)[::-1])[::-1]) - ramp
    return np.minimum(forward, backward)[n : 2 * n]


def sample_rim(outline: Outline, edge: float, coarseness: float = 1.0) -> tuple[Float64, Int64, Int64]:
    """Vertices along the outline: (R,2) points, (R,) dense index of each, (R,) successor.

    They lie at most ``edge`` and at most ``coarseness`` times the outline's spacing apart.
    """
    points, dense, successor = [], [], []
    count = 0
    for label in range(int(outline.curve.max()) + 1):
        members = np.flatnonzero(outline.curve == label)
        load = np.concatenate([[0], np.cumsum(STEP / np.minimum(coarseness * outline.spacing[members], edge))])
        number = max(round(load[-1]), _LEAST_VERTICES)
        picked = np.unique(np.searchsorted(load, np.arange(number) * load[-1] / number).clip(0, len(members) - 1))
        points.append(outline.points[members[picked]])
        dense.append(members[picked])
        successor.append(count + (np.arange(len(picked)) + 1) % len(picked))
        count += len(picked)
    return np.concatenate(points), np.concatenate(dense), np.concatenate(successor)
