"""The still background of a clip, learnt from frames spread over it, although the object may never leave its place.

1. Each pixel's recurring colours over time (`modes.find_modes`), at low resolution.
2. Which of them is the background: the labelling with the shortest contours over all frames (`modes.ModeLabelling`).
3. Parts of the object that never move cannot be found that way. As in GrabCut (Rother et al. 2004), colours of what
   moves and of what is uncovered become colour models, and the labelling is solved again with their likelihoods.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from v2m4.arrays import Bytes, Float32, Float64, Int32, Mask, Real
from v2m4.events import Progress, StageRun
from v2m4.matting.colour_modes import ALWAYS_COVERED, MODES, ModeLabelling, find_modes
from v2m4.settings import BackgroundSettings

_BINS = 16  # cells of the colour models along each of R, G, B
_LEAST_VIEWS = 3  # frames that must show a place of a mosaic before it says anything
_UNSEEN = 0.4  # coarse mask where the camera never looked while the background was learnt: a little for background


@dataclass(frozen=True)
class Background:
    """colours: (H,W,3) levels, NaN where the object never gave sight of it. deviation: (H,W) standard, over time.

    small: (h,w,3) the same at learning resolution, NaN likewise. seen: (h,w), what the camera ever looked at.
    tolerance: levels within which two colours are one.
    """

    colours: Float32
    deviation: Float32
    small: Float32
    seen: Mask
    tolerance: float

    def covered(self, rgb: Bytes) -> Float32:
        """(H,W) in [0,1]: a coarse mask of the object in (H,W,3) ``rgb``, from the labelling alone."""
        height, width = self.small.shape[:2]
        little = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        away = np.square(little - self.small).sum(-1) > self.tolerance**2
        covered = (away | np.isnan(self.small[..., 0])).astype(np.float32)
        covered[~self.seen] = _UNSEEN
        return np.asarray(cv2.resize(covered, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)

    def through(self, to_picture: Float64, size: tuple[int, int], misplacement_px: float) -> Background:
        """What a camera sees of it from elsewhere, in a picture of ``size`` (width, height).

        to_picture: (3,3) from this background's pixels to the picture's. misplacement_px: how far off that may be;
        edges deviate by as much.
        """
        height, width = self.deviation.shape
        filled = np.nan_to_num(self.colours)
        # What the interpolation mixes with unknown colours is unknown.
        known = cv2.erode(np.isfinite(self.colours[..., 0]).astype(np.float32), np.ones((3, 3), np.uint8))
        down, right = np.gradient(filled, axis=(0, 1))
        slope = np.maximum(np.abs(down), np.abs(right)).max(-1) * (known > 0)
        deviation = np.hypot(self.deviation, np.float32(misplacement_px) * slope)
        colours = np.asarray(cv2.warpPerspective(filled, to_picture, size, flags=cv2.INTER_CUBIC), np.float32)
        colours[cv2.warpPerspective(known, to_picture, size) < 0.999] = np.nan
        # The small colours likewise, from the nearest pixel.
        share = self.small.shape[1] / width, self.small.shape[0] / height
        shrunken = (max(8, round(size[0] * share[0])), max(8, round(size[1] * share[1])))
        shrink = np.diag([shrunken[0] / size[0], shrunken[1] / size[1], 1.0])
        matrix = shrink @ to_picture @ np.diag([1 / share[0], 1 / share[1], 1.0])
        small = cv2.warpPerspective(self.small, matrix, shrunken, flags=cv2.INTER_NEAREST, borderValue=(np.nan,) * 3)
        seen = cv2.warpPerspective(self.seen.astype(np.uint8), matrix, shrunken, flags=cv2.INTER_NEAREST) > 0
        deviation = cv2.warpPerspective(deviation, to_picture, size)
        return Background(
            colours, np.asarray(deviation, np.float32), np.asarray(small, np.float32), np.asarray(seen), self.tolerance
        )


@dataclass(frozen=True)
class Changes:
    """What of the picture changes over time, at learning resolution.

    still: (h,w) pixels of one colour throughout. share: part of the picture that is still. still_rim: part of the
    picture's rim that is. rim: (h,w) that rim. outside: still pixels that are connected to the rim by still ones.
    distance: (h,w) from the nearest changing pixel, in diagonals of the box of all changes, at most 10.
    """

    still: Mask
    share: float
    still_rim: float
    rim: Mask
    outside: Mask
    distance: Float32


def noise_level(frames: Bytes, seen: Mask | None = None) -> float:
    """Standard deviation over time of the quieter half of the pixels of (T,H,W,3) ``frames``, in levels.

    seen: (T,H,W), which pixels a frame shows at all; by default all.
    """
    step = np.abs(np.diff(frames.astype(np.int16), axis=0)).max(-1)
    return float(np.median(step if seen is None else step[seen[1:] & seen[:-1]]) / 0.95)


def find_changes(frequency: Float32, least_still: float, seen: Mask | None = None) -> Changes:
    """From (h,w,3) how often each mode is shown, in [0,1]; a pixel is still if its first is so from ``least_still``.

    seen: (h,w), what the camera looked at often enough to tell; by default all. The rest counts as still.
    """
    shown = np.ones(frequency.shape[:2], bool) if seen is None else seen
    still = cv2.medianBlur(((frequency[..., 0] >= least_still) | ~shown).astype(np.uint8), 3) > 0
    rim = _rim(shown)
    _, pieces = cv2.connectedComponents(still.astype(np.uint8), connectivity=4)
    outside = still & np.isin(pieces, np.unique(pieces[rim & still]))
    rows, columns = np.nonzero(~still)
    diagonal = float(np.hypot(np.ptp(rows), np.ptp(columns))) if len(rows) else 1.0
    away = np.asarray(cv2.distanceTransform(still.astype(np.uint8), cv2.DIST_L2, 3), np.float32)
    distance = np.minimum(away / np.float32(max(diagonal, 1.0)), np.float32(10))
    return Changes(still, float(still[shown].mean()), float(still[rim].mean()), rim, outside, distance)


def label_background(
    frames: Bytes, tolerance: float, settings: BackgroundSettings, seen: Mask | None = None
) -> StageRun[tuple[Bytes, Float32, Changes]]:
    """Labels (h,w) of (T,h,w,3) ``frames`` (see `ModeLabelling`), the modes' colours (h,w,3,3), and what changes.

    seen: (T,h,w), which pixels a frame shows at all; by default all.
    """
    # 1. The recurring colours of each pixel, and what they say before any contour is looked at.
    shown, sizes, colours = find_modes(frames, tolerance, seen)  # (T,h,w), (h,w,3), (h,w,3,3)
    yield Progress("matting", 0.1)
    views = np.full(frames.shape[1:3], len(frames)) if seen is None else seen.sum(0)  # (h,w)
    frequency = (sizes / np.maximum(views, 1)[..., None]).astype(np.float32)  # (h,w,3)
    changes = find_changes(frequency, settings.still, views >= min(_LEAST_VIEWS, len(frames)))
    labelling = ModeLabelling(frames, shown, max(14.0, 0.75 * tolerance), seen)
    prior = _prior_costs(frequency, sizes, changes, views)  # (h,w,4)
    yield Progress("matting", 0.2)
    # 2. A first labelling by the shortest contours; where the object moves relative to a pixel, it is background.
    labels = labelling.solve(prior, settings.rounds)  # (h,w)
    yield Progress("matting", 0.3)
    prior[..., ALWAYS_COVERED] += _left_behind(shown, labels, seen)
    # 3. Colour models of object and background from that labelling, and the labelling again with their likelihoods.
    totals: tuple[float, float] | None = None
    rest = (changes.still & changes.outside)[..., None]
    for done in range(settings.color_rounds):
        is_background = np.arange(MODES) == labels[..., None]  # (h,w,3)
        # What never moves is taken for object by its colour only; were it to teach the colour models, one wrong guess
        # would bring on the next.
        front = _histogram(colours, frequency * (~is_background & ~rest))
        behind = _histogram(colours, frequency * (is_background | rest) * np.exp(-5 * changes.distance)[..., None])
        # The first totals stay: growing by one colour must not make the object's other colours less likely.
        totals = totals or (max(float(front.sum()), 1e-6), max(float(behind.sum()), 1e-6))
        ratio = np.log((front / totals[0] + 2e-4) / (behind / totals[1] + 2e-4)).astype(np.float32)
        # A colour that both have is evidence for neither.
        clear = np.sign(ratio) * np.clip(2 * (np.abs(ratio) - settings.doubt), 0, 1.5)
        costs = prior + _colour_costs(frequency, clear[_bins(colours)], changes)
        labels = labelling.solve(costs, settings.rounds)
        yield Progress("matting", 0.3 + 0.2 * (done + 1) / settings.color_rounds)
    # 4. Still gaps between parts of the object, unless their colour is the background's.
    bridges = _bridges(labels == ALWAYS_COVERED, settings.gap) & changes.still
    bridges &= ratio[_bins(colours[:, :, 0])] > -settings.doubt
    return np.where(bridges, ALWAYS_COVERED, labels).astype(np.uint8), colours, changes


def learn(
    frames: Bytes,
    tolerance: float,
    settings: BackgroundSettings,
    seen: Mask | None = None,
    longest_side: int | None = None,
) -> StageRun[tuple[Background, Changes]]:
    """The background of (T,H,W,3) ``frames``, which are spread over the clip. Yields after every part of the work.

    seen: (T,H,W), which pixels a frame shows at all; by default all. longest_side: of one picture, where the frames
    are a mosaic of larger size.
    """
    height, width = frames.shape[1:3]
    scale = min(1.0, settings.size / (longest_side or max(height, width)))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames])
    small_seen = None if seen is None else np.stack([_wholly(s, size) for s in seen])
    labels, modes, changes = yield from label_background(small, tolerance, settings, small_seen)
    looked_at = np.ones(labels.shape, bool) if small_seen is None else small_seen.sum(0) >= _LEAST_VIEWS
    chosen = np.take_along_axis(modes, np.minimum(labels, MODES - 1)[..., None, None].astype(np.intp), axis=2)[:, :, 0]
    chosen[labels == ALWAYS_COVERED] = np.nan
    chosen[~looked_at] = np.nan
    coarse = Background(np.zeros(0, np.float32), np.zeros(0, np.float32), chosen, looked_at, tolerance)
    colours, deviation = yield from _visible_mean(frames, seen, coarse, tolerance)
    return Background(colours, deviation, chosen, looked_at, tolerance), changes


def _wholly(seen: Mask, size: tuple[int, int]) -> Mask:
    """(H,W) ``seen``, shrunk: the pixels of which nothing is missing."""
    return np.asarray(cv2.resize(seen.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.999)


def _visible_mean(
    frames: Bytes, shown: Mask | None, coarse: Background, tolerance: float
) -> StageRun[tuple[Float32, Float32]]:
    """Mean and deviation of each pixel over the frames that show it, without the outliers of a first mean."""
    shape = frames.shape[1:]
    mean = np.zeros(shape, np.float64)
    deviation = np.zeros(shape[:2], np.float32)
    count = np.zeros(shape[:2], np.int32)
    for part in range(2):
        total, square = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
        count[:] = 0
        level = mean.round().astype(np.uint8)
        for index, frame in enumerate(frames):
            seen = coarse.covered(frame) < 0.25
            if shown is not None:
                seen &= shown[index]
            if part:
                seen &= np.asarray(cv2.absdiff(frame, level)).max(-1) < tolerance
            mask = seen.astype(np.uint8)
            cv2.accumulate(frame, total, mask)
            cv2.accumulateSquare(frame, square, mask)
            count += mask
            if index % 8 == 7:
                yield Progress("matting", 0.5 + 0.25 * part + 0.25 * (index + 1) / len(frames))
        weight = np.maximum(count, 1)[..., None]
        mean = total / weight
        deviation = np.sqrt(np.maximum(square / weight - np.square(mean), 0).mean(-1)).astype(np.float32)
    mean[count == 0] = np.nan
    return mean.astype(np.float32), deviation


def _prior_costs(frequency: Float32, sizes: Int32, changes: Changes, views: NDArray[np.int64]) -> Float32:
    """(h,w,4) costs of the labels before any colour is known. views: (h,w) frames that show a pixel."""
    costs = np.zeros((*changes.still.shape, MODES + 1), np.float32)
    rare = sizes < np.maximum(2.0, 0.04 * views)[..., None]
    costs[..., :MODES] = np.where(rare, 4.0, 0.02 * (1 - frequency))
    # The more a pixel rests on one colour, the likelier that is the background; what is enclosed by changes is not.
    enclosed = changes.still & ~changes.outside
    never = np.where(changes.still, 0.0, 0.15 * frequency[..., 0])
    never = np.where(changes.outside, 0.15 + np.minimum(5 * changes.distance, 3), never)
    costs[..., ALWAYS_COVERED] = never + 5 * (changes.rim & changes.still)
    costs[..., 0] = np.where(enclosed, 0.4, costs[..., 0])
    return costs


def _left_behind(shown: Bytes, labels: Bytes, seen: Mask | None) -> Float32:
    """(h,w) cost of taking a pixel for the object's in all frames although the object moves relative to it.

    What belongs to the object keeps its distance from the object's moving parts: its distance from the masks that
    (T,h,w) modes ``shown`` and (h,w) ``labels`` give varies by less than the object's size.
    """
    height, width = labels.shape
    distances, diagonals = [], []
    for t, modes in enumerate(shown):
        away = modes != labels if seen is None else (modes != labels) & seen[t]
        mask = cv2.morphologyEx(away.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        rows, columns = np.nonzero(mask)
        if len(rows):
            (top, bottom), (left, right) = (np.percentile(at, (3, 97)) for at in (rows, columns))
            diagonals.append(float(np.hypot(bottom - top, right - left)))
            distances.append(cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3))
    if not distances:
        return np.zeros((height, width), np.float32)
    low, high = np.percentile(np.stack(distances)[:: max(1, len(distances) // 16)], (10, 90), axis=0)
    varies = (high - low) / max(float(np.median(diagonals)), 1.0)
    return (4 * np.clip(varies - 0.2, 0, 1)).astype(np.float32)


def _bridges(mask: Mask, gap: int) -> Mask:
    """(h,w) ``mask`` with gaps up to 2 ``gap`` wide, in it and between its pieces, closed: belts and joints."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1))
    padded = np.pad(mask.astype(np.uint8), 2 * gap)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
    return closed[2 * gap : 2 * gap + mask.shape[0], 2 * gap : 2 * gap + mask.shape[1]] > 0


def _colour_costs(frequency: Float32, ratio: Float32, changes: Changes) -> Float32:
    """(h,w,4) what colour models add: ``ratio`` (h,w,3) is each mode's log-likelihood ratio, object to background."""
    strength = np.where(changes.still, 0.3, 0.2).astype(np.float32)[..., None]
    covered = -(frequency * ratio).sum(-1, keepdims=True)
    costs = np.concatenate([covered + 2 * frequency * ratio, covered], axis=-1) * strength
    costs[..., ALWAYS_COVERED] -= np.where(changes.outside, 0.05, 0)
    return costs


def _bins(colours: Float32) -> NDArray[np.intp]:
    cell = np.clip(colours * (_BINS / 256), 0, _BINS - 1).astype(np.intp)
    return (cell[..., 0] * _BINS + cell[..., 1]) * _BINS + cell[..., 2]


def _histogram(colours: Float32, weights: Real) -> Float64:
    """(4096,) weighted counts of 16³ RGB cells, slightly blurred."""
    counts = np.bincount(_bins(colours).ravel(), weights.ravel(), minlength=_BINS**3)
    return gaussian_filter(counts.reshape(_BINS, _BINS, _BINS), 0.7).ravel()


def _rim(shown: Mask) -> Mask:
    """(h,w) the outermost pixels of ``shown``."""
    inner = cv2.erode(shown.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return shown & (inner == 0)
