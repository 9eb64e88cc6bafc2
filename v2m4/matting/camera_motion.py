"""How the camera turned between the frames of a clip, from what the background itself does.

Corners spread over the picture are followed from frames whose place is known to the next one (Lucas and Kanade 1981,
in pyramids after Bouguet 2000; where that loses them, by matched SIFT features, Lowe 2004). The motion that the most
of the *picture* follows, not the most corners, is the background's: a homography, which is exact for a camera that
turns about its centre and for backgrounds far away, held near such a turn where the picture has little texture.
Every frame is tied to the middle one as well as to its neighbours, so that errors do not add up along the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from v2m4.arrays import Bytes, Float32, Float64, Mask
from v2m4.events import Progress, StageRun
from v2m4.settings import CameraMotionSettings

_LEAST_SPACING = 4.0  # pixels between corners, however small the picture


@dataclass(frozen=True)
class View:
    """A frame whose place is known. grey: (H,W) uint8. corners: (N,2) pixels. to_world: (3,3) from its pixels."""

    grey: Bytes
    corners: Float32
    to_world: Float64


class CameraMotion:
    """Places frames in the world: the plane of the clip's middle frame, in its pixels."""

    def __init__(self, settings: CameraMotionSettings) -> None:
        self._settings = settings
        self._views: dict[int, View] = {}
        self._middle = 0

    def follow(self, indices: Sequence[int], frames: Sequence[Bytes]) -> StageRun[bool]:
        """Place the (H,W,3) ``frames`` with the numbers ``indices``. Returns whether the camera moved at all."""
        greys = [_grey(f) for f in frames]
        self._views.clear()
        middle = len(indices) // 2
        self._middle = indices[middle]
        self._views[self._middle] = self._view(greys[middle], np.eye(3))
        # 1. A camera that stands still is recognised first, by what moves against the middle frame.
        still = 0
        for grey in greys:
            still += self._stands_still(grey)
        yield Progress("matting", 0.2)
        if still >= self._settings.still_frames * len(indices):
            return False
        # 2. Outwards from the middle, each frame is tied to those before it.
        order = [*range(middle + 1, len(indices)), *range(middle - 1, -1, -1)]
        for done, at in enumerate(order):
            to_world = self.place(indices[at], frames[at])
            if to_world is not None:
                self._views[indices[at]] = self._view(greys[at], to_world)
            yield Progress("matting", 0.2 + 0.8 * (done + 1) / len(order))
        return True

    def placed(self, index: int) -> Float64 | None:
        """(3,3) from pixels of frame ``index`` to the world, if `follow` placed it."""
        view = self._views.get(index)
        return None if view is None else view.to_world

    def nearest(self, index: int) -> Float64:
        """The place of the placed frame nearest in time to frame ``index``."""
        return self._views[min(self._views, key=lambda i: abs(i - index))].to_world

    def place(self, index: int, rgb: Bytes) -> Float64 | None:
        """(3,3) from the pixels of any frame (H,W,3) to the world, by the placed frames near it; None if that fails."""
        grey = _grey(rgb)
        near = sorted(self._views, key=lambda i: abs(i - index))[: self._settings.neighbours]
        anchors = [self._views[i] for i in dict.fromkeys([*near, self._middle])]
        placed = self._track(grey, anchors, anchors[0].to_world)
        if placed is None:
            guess = self._by_features(grey, anchors)
            placed = None if guess is None else self._track(grey, anchors, guess)
        return placed

    def _track(self, grey: Bytes, anchors: Sequence[View], guess: Float64) -> Float64 | None:
        """The place of (H,W) ``grey`` by followed corners; twice, as more are found from a better guess."""
        first = self._fit(*self._follow_corners(grey, anchors, guess), guess, grey.shape)
        if first is None:
            return None
        second = self._fit(*self._follow_corners(grey, anchors, first), first, grey.shape)
        return first if second is None else second

    def _view(self, grey: Bytes, to_world: Float64) -> View:
        settings = self._settings
        apart = max(_LEAST_SPACING, max(grey.shape) / settings.corner_spacing)
        corners = cv2.goodFeaturesToTrack(
            grey, settings.corners, settings.corner_quality, apart, blockSize=settings.corner_block
        )
        found = np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)
        return View(grey, np.asarray(found, np.float32), to_world)

    def _stands_still(self, grey: Bytes) -> bool:
        """Whether nothing explains more of the picture than that the camera stands as in the middle frame."""
        middle = self._views[self._middle]
        points, targets = self._follow_corners(grey, [middle], np.eye(3))
        if len(points) < self._settings.least_corners:
            return True
        resting = np.abs(points - targets).max(-1) < self._settings.still_px
        fitted = self._fit(points, targets, np.eye(3), grey.shape)
        settings, rests = self._settings, self._cells(points[resting], grey.shape)
        if fitted is None:
            return rests >= settings.still_alone * self._cells(points, grey.shape)
        moving = _apart(fitted, points, targets) < settings.inlier_px
        return rests >= settings.still_share * self._cells(points[moving], grey.shape)

    def _follow_corners(self, grey: Bytes, anchors: Sequence[View], guess: Float64) -> tuple[Float32, Float32]:
        """(N,2) pixels in ``grey`` where the anchors' corners are found, from ``guess`` on, and (N,2) in the world."""
        points, targets = [np.zeros((0, 2), np.float32)], [np.zeros((0, 2), np.float32)]
        for view in anchors:
            if not len(view.corners):
                continue
            world = _moved(view.to_world, view.corners)
            start = _moved(np.asarray(np.linalg.inv(guess), np.float64), world)
            ahead, good = self._find(view.grey, grey, view.corners, start)
            back, good_back = self._find(grey, view.grey, ahead, view.corners)
            returned = np.abs(back - view.corners).max(-1) < self._settings.inlier_px
            sure = returned & good & good_back
            points.append(ahead[sure])
            targets.append(world[sure])
        return np.concatenate(points), np.concatenate(targets)

    def _find(self, source: Bytes, target: Bytes, points: Float32, start: Float32) -> tuple[Float32, Mask]:
        """Where the ``points`` (N,2) of ``source`` are in ``target`` (H,W), from ``start`` (N,2) on; (N,) if found."""
        found, good, _ = cv2.calcOpticalFlowPyrLK(
            source,
            target,
            points[:, None],
            start[:, None].copy(),
            winSize=(self._settings.window, self._settings.window),
            maxLevel=self._settings.levels,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        return np.asarray(found, np.float32)[:, 0], np.asarray(good)[:, 0] > 0

    def _by_features(self, grey: Bytes, anchors: Sequence[View]) -> Float64 | None:
        """A first placement by matched features, however far the camera jumped."""
        sift = cv2.SIFT.create(self._settings.corners)
        keys, marks = sift.detectAndCompute(grey, None)
        points, targets = [np.zeros((0, 2), np.float32)], [np.zeros((0, 2), np.float32)]
        for view in anchors:
            others, theirs = sift.detectAndCompute(view.grey, None)
            if marks is None or theirs is None or len(theirs) < 2:
                continue
            pairs = [m for m in cv2.BFMatcher().knnMatch(marks, theirs, k=2) if len(m) == 2]
            best = [a for a, b in pairs if a.distance < self._settings.match_ratio * b.distance]
            points.append(np.array([keys[m.queryIdx].pt for m in best], np.float32).reshape(-1, 2))
            found = np.array([others[m.trainIdx].pt for m in best], np.float32).reshape(-1, 2)
            targets.append(_moved(view.to_world, found))
        guess = anchors[0].to_world
        within = self._settings.feature_factor * self._settings.inlier_px
        return self._fit(np.concatenate(points), np.concatenate(targets), guess, grey.shape, within)

    def _fit(
        self, points: Float32, targets: Float32, guess: Float64, shape: tuple[int, ...], within: float | None = None
    ) -> Float64 | None:
        """(3,3) near ``guess`` that takes most of the picture's ``points`` (N,2) to ``targets``; None if none does."""
        settings = self._settings
        within = within or settings.inlier_px
        if len(points) < settings.least_corners:
            return None
        # 1. Which corners agree on a step from the guess: it is short, so that a similarity is near enough.
        cv2.setRNGSeed(0)
        expected = _moved(guess, points)
        step, _ = cv2.estimateAffinePartial2D(
            expected, targets, method=cv2.RANSAC, ransacReprojThreshold=settings.step_factor * within
        )
        if step is None:
            return None
        # 2. The step as a homography, by those corners.
        refined = refine(np.vstack([step, [0, 0, 1]]), expected, targets, max(shape[:2]), within, settings)
        place = refined @ guess
        agrees = _apart(place, points, targets) < settings.agree_factor * within
        if self._cells(points[agrees], shape) < settings.least_agreement * self._cells(points, shape):
            return None
        corners = np.array([[0, 0], [shape[1], 0], [shape[1], shape[0]], [0, shape[0]]], np.float32)
        moved = _moved(place, corners)
        size = abs(float(cv2.contourArea(moved))) / (shape[0] * shape[1])
        usable = np.isfinite(moved).all() and 1 / settings.most_growth < size < settings.most_growth
        return place / place[2, 2] if usable else None

    def _cells(self, points: Float32, shape: tuple[int, ...]) -> int:
        """How many cells of the picture hold one of the points."""
        cells = self._settings.cells
        at = (points / np.array([shape[1], shape[0]]) * cells).astype(np.intp).clip(0, cells - 1)
        return len(np.unique(at[:, 0] * cells + at[:, 1]))


def refine(
    start: Float64, points: Float32, targets: Float32, side: int, within: float, settings: CameraMotionSettings
) -> Float64:
    """The homography (3,3) near ``start`` from ``points`` (N,2) to ``targets`` (N,2), by robust least squares.

    Where corners are few it stays near what a turning camera of the settings' focal length can do. side: of the
    picture, in pixels. within: corners farther off than some of these pixels count less and less (Geman and McClure).
    """
    # In coordinates of the picture's side about its middle H = [[1+a, b, c], [d, 1+e, f], [g, h, 1]].
    normal = np.array([[1 / side, 0, -0.5], [0, 1 / side, -0.5], [0, 0, 1]])
    matrix = normal @ start @ np.linalg.inv(normal)
    matrix /= matrix[2, 2]
    p, q = (x.astype(np.float64) / side - 0.5 for x in (points, targets))
    ones, zeros = np.ones(len(p)), np.zeros(len(p))
    x, y = p.T
    # A turn shifts by c and tilts by g = -c / focal^2 (h, f likewise); it keeps squares square (a = e, b = -d).
    tilt = 1 / settings.focal**2
    prior = np.zeros((4, 8))
    prior[0, [6, 2]], prior[1, [7, 5]] = (1, tilt), (1, tilt)
    prior[2, [0, 4]], prior[3, [1, 3]] = (1, -1), (1, 1)
    prior /= np.array([settings.tilt, settings.tilt, settings.stretch, settings.stretch])[:, None]
    for scale in np.geomspace(settings.step_factor * within, within, settings.fit_rounds) / side:
        w = matrix[2, 0] * x + matrix[2, 1] * y + 1
        u = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / w
        v = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / w
        off = np.stack([q[:, 0] - u, q[:, 1] - v], axis=1)  # (N,2)
        weight = 1 / (1 + np.square(off).sum(1) / scale**2)  # its square is the robust weight
        rows = [
            np.stack([x, y, ones, zeros, zeros, zeros, -u * x, -u * y], axis=1),
            np.stack([zeros, zeros, zeros, x, y, ones, -v * x, -v * y], axis=1),
        ]
        precision = side / (settings.accuracy * within)
        jacobian = np.concatenate([(weight / w * precision)[:, None] * row for row in rows])
        residual = np.concatenate([weight * precision * off[:, 0], weight * precision * off[:, 1]])
        now = matrix.ravel()[:8] - np.eye(3).ravel()[:8]
        change, *_ = np.linalg.lstsq(
            np.concatenate([jacobian, prior]), np.concatenate([residual, -prior @ now]), rcond=None
        )
        matrix = np.append(matrix.ravel()[:8] + change, 1.0).reshape(3, 3)
    return np.asarray(np.linalg.inv(normal) @ matrix @ normal, np.float64)


def _grey(rgb: Bytes) -> Bytes:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def _moved(matrix: Float64, points: Float32) -> Float32:
    """(N,2) ``points`` by the homography (3,3)."""
    if not len(points):
        return points
    return np.asarray(cv2.perspectiveTransform(points[:, None], matrix)[:, 0], np.float32)


def _apart(matrix: Float64, points: Float32, targets: Float32) -> Float32:
    """(N,) pixels by which ``matrix`` misses the targets."""
    return np.asarray(np.linalg.norm(_moved(matrix, points) - targets, axis=-1), np.float32)


@dataclass(frozen=True)
class Mosaic:
    """Frames laid over each other in the world. frames: (T,H,W,3); seen: (T,H,W), where each shows something.

    to_canvas: (3,3) from the world to the mosaic's pixels.
    """

    frames: Bytes
    seen: Mask
    to_canvas: Float64


def canvas_of(places: Sequence[Float64], shape: tuple[int, ...]) -> tuple[Float64, tuple[int, int]]:
    """(3,3) from the world to the smallest canvas that holds all frames of ``shape``, and its (width, height)."""
    height, width = shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
    reached = np.concatenate([_moved(place, corners) for place in places])
    low, high = np.floor(reached.min(0)), np.ceil(reached.max(0))
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]], np.float64)
    return shift, (int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1)


def lay(frames: Sequence[Bytes], places: Sequence[Float64]) -> Mosaic:
    """The (H,W,3) ``frames``, each moved to its place (3,3) in the world."""
    shift, (width, height) = canvas_of(places, frames[0].shape)
    laid = np.zeros((len(frames), height, width, 3), np.uint8)
    seen = np.zeros((len(frames), height, width), bool)
    whole = np.zeros(frames[0].shape[:2], np.uint8)
    whole[2:-2, 2:-2] = 1  # what the interpolation draws from beyond the border is no picture
    for at, (frame, place) in enumerate(zip(frames, places, strict=True)):
        cv2.warpPerspective(frame, shift @ place, (width, height), dst=laid[at], flags=cv2.INTER_LANCZOS4)
        seen[at] = cv2.warpPerspective(whole, shift @ place, (width, height), flags=cv2.INTER_NEAREST) > 0
    return Mosaic(laid, seen, shift)
