"""What a frame says about where the surface is: optical flow from a rendering, and the outline of the mask.

A rendering here is made of the video's own pixels: every visible surface point looks up its colour in the anchor frame,
or in the previous one if the anchor did not see it. So flow from rendering to frame measures the error of the
pose itself, and does not add up over the clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from v2m4.geometry.camera import Camera
from v2m4.geometry.deformation import Planes
from v2m4.render.visibility import visible_triangles_numba

Floats = NDArray[np.float64]
_FLOW_STEP = 2  # every n-th pixel's flow is used
_RETURN_PX = 1.5  # flow there and back may miss by about this much
_COLOR_STEP = 40.0  # and the colours by this much, of 255
_REACH = 0.08  # outlines further apart than this share of the picture are not matched
_WRONG = 50.0  # grey values that differ by more do not show the same thing
_SPOKEN_FOR = 0.25  # share of a node's surface that must be seen and explained
_MAYBE_HIDDEN = 0.1  # weight of outlines around what is unexplained
_CLAIMS = 800  # unexplained pixels that are used
_SAME_SURFACE = 0.02  # relative depth within which a looked-up pixel shows the same point


@dataclass(frozen=True)
class View:
    """A frame made ready. image: (S,S) uint8 grey over a contrasting background. mask: (S,S). outside: signed distance
    to the outline in pixels, positive outside. slope: (S,S,2) its unit gradient."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    outside: NDArray[np.float32]
    slope: NDArray[np.float32]


@dataclass(frozen=True)
class Visible:
    """What the camera sees of the posed mesh. rows, columns: pixels. corners, barycentrics: (P,3) their surface points.
    depth: (S,S), infinite where there is nothing."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    corners: NDArray[np.int64]
    barycentrics: Floats
    depth: Floats


def make_view(rgba: NDArray[np.uint8], size: int, background: float) -> View:
    """Shrink an (S,S,4) uint8 frame to ``size`` and find its outline."""
    alpha = cv2.resize(rgba[..., 3], (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    whole = cv2.cvtColor(rgba[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32) * (rgba[..., 3] / np.float32(255))
    grey = cv2.resize(whole, (size, size), interpolation=cv2.INTER_AREA)
    mask = alpha > 0.5
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    within = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = (away - within + np.where(mask, 0.5, -0.5)).astype(np.float32)
    steps = [np.asarray(cv2.Sobel(outside, cv2.CV_32F, x, 1 - x), np.float32) for x in (1, 0)]
    slope = np.stack(steps, axis=-1)
    slope /= np.linalg.norm(slope, axis=-1, keepdims=True) + np.float32(1e-6)
    image = (grey + background * (1 - alpha)).clip(0, 255).astype(np.uint8)
    return View(image, mask, outside, slope)


def contrasting_background(rgba: NDArray[np.uint8]) -> float:
    """Black behind bright objects, white behind dark ones."""
    inside = rgba[..., 3] > 127
    return 0.0 if not inside.any() or rgba[inside][:, :3].mean() > 127 else 255.0


def to_pixels(points: Floats, size: int) -> Floats:
    """Camera-space points (P,3) to pixel coordinates (P,2), pixel centres at .5."""
    focal = Camera.identity().focal
    return (focal * points[:, :2] / np.maximum(points[:, 2:], 1e-9) + 0.5) * size


def see(vertices: Floats, faces: NDArray[np.int64], size: int) -> Visible:
    """Which surface points the video camera sees at the pixels of a ``size`` x ``size`` picture."""
    clip = Camera.identity().clip(torch.from_numpy(vertices).float())[None].contiguous()
    owner = visible_triangles_numba(clip, torch.from_numpy(faces), size, size)[0].numpy()
    rows, columns = np.nonzero(owner >= 0)
    corners = faces[owner[rows, columns]]
    a, b, c = (vertices[corners[:, i]] for i in range(3))
    ray = _rays((columns + 0.5) / size, (rows + 0.5) / size)
    parts = np.stack([(ray * np.cross(p, q)).sum(1) for p, q in ((b, c), (c, a), (a, b))], axis=1)
    barycentrics = parts / parts.sum(axis=1, keepdims=True)
    depth = np.full((size, size), np.inf)
    depth[rows, columns] = (barycentrics * np.stack([a[:, 2], b[:, 2], c[:, 2]], axis=1)).sum(1)
    return Visible(rows, columns, corners, barycentrics, depth)


def _rays(x: Floats, y: Floats) -> Floats:
    focal = Camera.identity().focal
    return np.stack([(x - 0.5) / focal, (y - 0.5) / focal, np.ones_like(x)], axis=1)


def look_up(seen: Visible, vertices: Floats, there: Visible, view: View) -> tuple[Floats, NDArray[np.bool_]]:
    """The grey values (P,) that ``seen``'s points had in another frame, posed as ``vertices``, and if it saw them."""
    size = len(view.image)
    points = (seen.barycentrics[..., None] * vertices[seen.corners]).sum(1)
    at = (to_pixels(points, size) - 0.5).astype(np.float32)
    chunks = [
        cv2.remap(view.image, at[i : i + 30000, 0][None], at[i : i + 30000, 1][None], cv2.INTER_LINEAR)[0]
        for i in range(0, len(at), 30000)
    ]
    x, y = (np.clip(at[:, i].round().astype(np.int64), 0, size - 1) for i in range(2))
    same = np.abs(there.depth[y, x] - points[:, 2]) < _SAME_SURFACE * points[:, 2]
    return np.concatenate(chunks or [np.zeros(0)]).astype(np.float64), same & view.mask[y, x]


@dataclass(frozen=True)
class Matches:
    """Surface points (corners, barycentrics) and the pixels (x, y), (P,2), where a frame wants them."""

    corners: NDArray[np.int64]
    barycentrics: Floats
    targets: Floats
    weights: Floats

    def scaled(self, factor: float) -> Matches:
        """The same with other weights."""
        return Matches(self.corners, self.barycentrics, self.targets, self.weights * factor)


def flow_matches(seen: Visible, rendering: NDArray[np.uint8], known: NDArray[np.bool_], view: View) -> Matches:
    """Where optical flow (DIS, Kroeger et al. 2016) carries the rendered points.

    rendering: (S,S) uint8. known: (S,S) where it shows something real.
    """
    size = len(rendering)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    ahead = flow.calc(rendering, view.image, None)  # type: ignore[call-overload]
    back = flow.calc(view.image, rendering, None)  # type: ignore[call-overload]
    use = (seen.rows % _FLOW_STEP == 0) & (seen.columns % _FLOW_STEP == 0) & known[seen.rows, seen.columns]
    rows, columns = seen.rows[use], seen.columns[use]
    moved = ahead[rows, columns]
    x, y = columns + moved[:, 0], rows + moved[:, 1]
    xi, yi = (np.clip(v.round().astype(np.int64), 0, size - 1) for v in (x, y))
    missed = np.linalg.norm(moved + back[yi, xi], axis=1)
    color = np.abs(rendering[rows, columns].astype(np.float64) - view.image[yi, xi])
    weights = np.exp(-((missed / _RETURN_PX) ** 2) - (color / _COLOR_STEP) ** 2) * view.mask[yi, xi]
    good = weights > 0.05
    targets = np.stack([x[good] + 0.5, y[good] + 0.5], axis=1).astype(np.float64)
    return Matches(seen.corners[use][good], seen.barycentrics[use][good], targets, weights[good])


def flow_planes(seen: Visible, rendering: NDArray[np.uint8], known: NDArray[np.bool_], view: View) -> Planes:
    """`flow_matches`, two planes for each."""
    matches = flow_matches(seen, rendering, known, view)
    upright, level = _through(matches.targets / len(rendering))
    return Planes(
        np.concatenate([matches.corners, matches.corners]),
        np.concatenate([matches.barycentrics, matches.barycentrics]),
        np.concatenate([upright, level]),
        np.concatenate([matches.weights, matches.weights]),
    )


@dataclass(frozen=True)
class Skin:
    """Points spread over the surface. corners, barycentrics: (K,3). grey: (K,) what the anchor frame showed there, or
    nearby where it did not show the point."""

    corners: NDArray[np.int64]
    barycentrics: Floats
    grey: Floats


def unexplained(rendering: NDArray[np.uint8], shown: NDArray[np.bool_], view: View) -> NDArray[np.bool_]:
    """(S,S) pixels of the object that the rendering leaves empty or fills with something that looks different."""
    inner = cv2.erode(view.mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    off = np.abs(_inner_grey(rendering, shown) - _inner_grey(view.image, inner))
    wrong = view.mask & (~shown | (off > _WRONG))
    return cv2.morphologyEx(wrong.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)


def claim_planes(
    seen: Visible,
    vertices: Floats,
    skin: Skin,
    carriers: NDArray[np.int64],
    missing: NDArray[np.bool_],
    view: View,
) -> Planes:
    """Pair unexplained pixels with surface that nothing speaks for: hidden limbs come out where a limb appears.

    carriers: (K,) the node that each point of the skin hangs on most. A node is spoken for if enough of its surface is
    seen and explained; the far side of such a limb does not go elsewhere. Pairs are nearest in place and grey value.
    """
    size = len(view.mask)
    points = (skin.barycentrics[..., None] * vertices[skin.corners]).sum(1)
    pixels = to_pixels(points, size)
    x, y = (np.clip(pixels[:, i].astype(np.int64), 0, size - 1) for i in range(2))
    in_sight = np.abs(seen.depth[y, x] - points[:, 2]) < _SAME_SURFACE * points[:, 2]
    counted = in_sight & view.mask[y, x] & ~missing[y, x]
    nodes = int(carriers.max()) + 1
    spoken = np.bincount(carriers, counted, nodes) / np.maximum(np.bincount(carriers, minlength=nodes), 1)
    free = np.flatnonzero(np.clip(1 - spoken / _SPOKEN_FOR, 0, 1)[carriers] > 0.3)
    rows, columns = np.nonzero(missing)
    if len(rows) > _CLAIMS:
        chosen = np.linspace(0, len(rows) - 1, _CLAIMS).astype(np.int64)
        rows, columns = rows[chosen], columns[chosen]
    if not len(rows) or not len(free):
        none = np.zeros((0, 3))
        return Planes(none.astype(np.int64), none, none, np.zeros(0))
    targets = np.stack([columns + 0.5, rows + 0.5], axis=1)
    inner = cv2.erode(view.mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    grey = _inner_grey(view.image, inner)[rows, columns]
    reach = _REACH * size
    ours = np.column_stack([pixels[free] / reach, skin.grey[free] / _COLOR_STEP])
    gaps, nearest = cKDTree(ours).query(np.column_stack([targets / reach, grey / _COLOR_STEP]))
    weights = np.exp(-(gaps**2))
    good = weights > 0.02
    chosen = free[nearest[good]]
    upright, level = _through(targets[good] / size)
    return Planes(
        np.concatenate([skin.corners[chosen]] * 2),
        np.concatenate([skin.barycentrics[chosen]] * 2),
        np.concatenate([upright, level]),
        np.concatenate([weights[good]] * 2),
    )


def _through(at: Floats) -> tuple[Floats, Floats]:
    """Normals of the upright and the level plane through the camera and each point (P,2) of the picture, 0..1."""
    ray = _rays(at[:, 0], at[:, 1])
    zeros, ones = np.zeros(len(at)), np.ones(len(at))
    return np.stack([ones, zeros, -ray[:, 0]], axis=1), np.stack([zeros, ones, -ray[:, 1]], axis=1)


def match_outlines(
    seen: Visible,
    vertices: Floats,
    view: View,
    rendering: NDArray[np.uint8] | None = None,
    missing: NDArray[np.bool_] | None = None,
) -> Matches:
    """Pair the rendered outline with the mask's, both ways, and pull in vertices that lie outside the mask.

    With a ``rendering`` (S,S) uint8, pairs whose grey values differ count less: a leg is not drawn to the chest.
    Outlines of ``missing`` (S,S) regions count less too: they may belong to a limb that the mesh hides.
    """
    size = len(view.mask)
    reach = _REACH * size
    shown = np.isfinite(seen.depth)
    rim = _rim(shown)[seen.rows, seen.columns]
    rows, columns = seen.rows[rim], seen.columns[rim]
    corners, barycentrics = seen.corners[rim], seen.barycentrics[rim]
    away = view.outside[rows, columns].astype(np.float64) + 0.5
    home = np.stack([columns + 0.5, rows + 0.5], axis=1) - away[:, None] * view.slope[rows, columns]
    wanted_rows, wanted_columns = np.nonzero(_rim(view.mask))
    wanted = np.stack([wanted_columns, wanted_rows], axis=1)
    if not len(rows) or not len(wanted):
        empty = np.zeros((0, 3))
        return Matches(empty.astype(np.int64), empty, np.zeros((0, 2)), np.zeros(0))
    gaps, nearest = cKDTree(np.stack([columns, rows], axis=1)).query(wanted)
    alike, alike_nearest = np.ones(len(rows)), np.ones(len(wanted))
    if rendering is not None:
        inner = cv2.erode(view.mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        ours, theirs = _inner_grey(rendering, np.isfinite(seen.depth)), _inner_grey(view.image, inner)
        landing = np.clip(home.astype(np.int64), 0, size - 1)
        alike = _likeness(ours[rows, columns], theirs[landing[:, 1], landing[:, 0]])
        alike_nearest = _likeness(ours[rows, columns][nearest], theirs[wanted_rows, wanted_columns])
    if missing is not None:
        alike_nearest = alike_nearest * np.where(missing[wanted_rows, wanted_columns], _MAYBE_HIDDEN, 1.0)
    pixels = to_pixels(vertices, size)
    x, y = (np.clip(pixels[:, i].astype(np.int64), 0, size - 1) for i in range(2))
    excess = view.outside[y, x].astype(np.float64)
    stray = np.flatnonzero(excess > 1)
    pulled = pixels[stray] - excess[stray, None] * view.slope[y[stray], x[stray]]
    single = np.tile([1.0, 0.0, 0.0], (len(stray), 1))
    return Matches(
        np.concatenate([corners, corners[nearest], np.repeat(stray[:, None], 3, axis=1)]),
        np.concatenate([barycentrics, barycentrics[nearest], single]),
        np.concatenate([home, wanted + 0.5, pulled]),
        np.concatenate(
            [
                alike * np.exp(-((away / reach) ** 2)),
                alike_nearest * np.exp(-((gaps / reach) ** 2)),
                3 * np.exp(-((excess[stray] / reach) ** 2)),
            ]
        ),
    )


def outline_planes(matches: Matches, view: View) -> Planes:
    """Each match as one plane along the outline, so that points may slide."""
    size = len(view.mask)
    x, y = (np.clip(matches.targets[:, i].astype(np.int64), 0, size - 1) for i in range(2))
    nx, ny = view.slope[y, x, 0].astype(np.float64), view.slope[y, x, 1].astype(np.float64)
    ray = _rays(matches.targets[:, 0] / size, matches.targets[:, 1] / size)
    normals = np.stack([nx, ny, -(nx * ray[:, 0] + ny * ray[:, 1])], axis=1)
    return Planes(matches.corners, matches.barycentrics, normals, matches.weights)


def join(planes: Planes, more: Planes, share: float) -> Planes:
    """Both sets; ``more`` weighs ``share`` times as much as ``planes`` in all."""
    if not len(planes.weights):
        return more
    return weigh(planes, more, share * planes.weights.sum() / max(more.weights.sum(), 1e-9))


def weigh(planes: Planes, more: Planes, factor: float) -> Planes:
    """Both sets; each of ``more`` weighs ``factor`` times as much as it says."""
    return Planes(
        np.concatenate([planes.corners, more.corners]),
        np.concatenate([planes.barycentrics, more.barycentrics]),
        np.concatenate([planes.normals, more.normals]),
        np.concatenate([planes.weights, more.weights * factor]),
    )


def _rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask that touch its outside."""
    whole = mask.astype(np.uint8)
    return mask & (cv2.erode(whole, np.ones((3, 3), np.uint8)) == 0)


def _inner_grey(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Floats:
    """(S,S) mean grey of the object's pixels around each pixel, without the rim's blend with the background."""
    weight = cv2.boxFilter(mask.astype(np.float32), -1, (5, 5), normalize=False)
    total = cv2.boxFilter(image.astype(np.float32) * mask, -1, (5, 5), normalize=False)
    return (total / np.maximum(weight, 1e-6)).astype(np.float64)


def _likeness(a: Floats, b: Floats) -> Floats:
    return np.exp(-(((a - b) / _COLOR_STEP) ** 2))
