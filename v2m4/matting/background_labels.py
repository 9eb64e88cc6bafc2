"""Which colour of each pixel is the background, and which pixels the object never leaves.

1. Each pixel's recurring colours over time (`colour_modes.find_modes`), at low resolution.
2. Which of them is the background: the labelling with the shortest contours over all frames
   (`colour_modes.ModeLabelling`).
3. Parts of the object that never move cannot be found that way. As in GrabCut (Rother et al. 2004), colours of what
   moves and of what is uncovered become colour models, and the labelling is solved again with their likelihoods: once
   with little weight, which is right for an object that moves as a whole, and once with more, which also finds what
   rests, but takes things of the object's colours beside it for it. What only the second one finds is kept where the
   object stays in its place, or where it is large and touched by the object throughout.
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
from v2m4.settings import BackgroundSettings, ColorModelSettings, PriorSettings

_FARTHEST = 10.0  # diagonals of all changes: what is so far away is as far as can be


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


@dataclass(frozen=True)
class _Views:
    """What the frames show, at learning resolution, before any label is chosen.

    shown: (T,h,w) modes (see `find_modes`). seen: (T,h,w), what a frame shows at all, None for all. colours: (h,w,3,3)
    of the modes. frequency: (h,w,3) of the modes, in [0,1]. prior: (h,w,4) costs of the labels. speck: share of the
    picture.
    """

    shown: Bytes
    seen: Mask | None
    colours: Float32
    frequency: Float32
    changes: Changes
    prior: Float32
    speck: float

    def moving(self, labels: Bytes) -> Mask:
        """(T,h,w) where the object is at times only, by (h,w) ``labels``, without specks."""
        found = np.zeros(self.shown.shape, bool)
        for t, modes in enumerate(self.shown):
            away = (modes != labels) & (labels != ALWAYS_COVERED)
            if self.seen is not None:
                away &= self.seen[t]
            opened = cv2.morphologyEx(away.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
            _, pieces, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
            counts = stats[:, cv2.CC_STAT_AREA] >= self.speck * away.size
            counts[0] = False
            found[t] = counts[pieces]
        return found


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
    distance = np.minimum(away / np.float32(max(diagonal, 1.0)), np.float32(_FARTHEST))
    return Changes(still, float(still[shown].mean()), float(still[rim].mean()), rim, outside, distance)


def label_background(
    frames: Bytes, tolerance: float, settings: BackgroundSettings, seen: Mask | None = None
) -> StageRun[tuple[Bytes, Float32, Changes]]:
    """Labels (h,w) of (T,h,w,3) ``frames`` (see `ModeLabelling`), the modes' colours (h,w,3,3), and what changes.

    seen: (T,h,w), which pixels a frame shows at all; by default all.
    """
    # 1. The recurring colours of each pixel, and what they say before any contour is looked at.
    shown, sizes, colours = find_modes(frames, tolerance, settings.candidates, seen)  # (T,h,w), (h,w,3), (h,w,3,3)
    yield Progress("matting", 0.1)
    counts = np.full(frames.shape[1:3], len(frames)) if seen is None else seen.sum(0)  # (h,w)
    frequency = (sizes / np.maximum(counts, 1)[..., None]).astype(np.float32)  # (h,w,3)
    changes = find_changes(frequency, settings.still, counts >= min(settings.least_views, len(frames)))
    contrast = max(settings.least_contrast, settings.contrast * tolerance)
    labelling = ModeLabelling(frames, shown, contrast, settings.edge_price, seen)
    prior = _prior_costs(frequency, sizes, changes, counts, settings.prior)  # (h,w,4)
    views = _Views(shown, seen, colours, frequency, changes, prior, settings.speck)
    yield Progress("matting", 0.2)
    # 2. A first labelling by the shortest contours, and how far the object moves away from each pixel.
    first = labelling.solve(prior, settings.rounds)  # (h,w)
    varies = _distance_varies(views.moving(first), settings)
    yield Progress("matting", 0.25)
    # 3. With colour models: cautiously, and boldly for the sake of what rests.
    left_behind = _left_behind(varies, settings.cautious_left_behind, settings.cautious_free)
    cautious = _by_colours(views, labelling, first, left_behind, settings, bold=False)
    yield Progress("matting", 0.38)
    left_behind = _left_behind(varies, settings.bold_left_behind, settings.bold_free)
    bold = _by_colours(views, labelling, first, left_behind, settings, bold=True)
    yield Progress("matting", 0.5)
    return _with_resting_parts(views, cautious, bold, settings), colours, changes


def _by_colours(
    views: _Views,
    labelling: ModeLabelling,
    first: Bytes,
    left_behind: Float32,
    settings: BackgroundSettings,
    bold: bool,
) -> Bytes:
    """(h,w) labels with the colours of object and background, as the ``first`` labels and then each round tells them.

    left_behind: (h,w) cost of taking a pixel for the object's throughout. bold: what is always covered teaches the
    object's colours too, and colours count in full.
    """
    colors = settings.colors
    frequency, changes, bins = views.frequency, views.changes, _bins(views.colours, colors.cells)
    prior = views.prior.copy()
    prior[..., ALWAYS_COVERED] += left_behind
    weight = 1.0 if bold else settings.cautious_colors
    labels, totals = first, None
    rest = (changes.still & changes.outside)[..., None]
    for _ in range(settings.color_rounds):
        is_background = np.arange(MODES) == labels[..., None]  # (h,w,3)
        # What never moves is taken for object by its colour only; were it to teach the colour models, one wrong guess
        # would bring on the next.
        teaches = ~is_background & ~rest
        if not bold:
            teaches &= (labels != ALWAYS_COVERED)[..., None]
        front = _histogram(bins, frequency * teaches, colors)
        near = np.exp(-colors.nearness * changes.distance)[..., None]
        behind = _histogram(bins, frequency * (is_background | rest) * near, colors)
        # The first totals stay: growing by one colour must not make the object's other colours less likely.
        totals = totals or (max(float(front.sum()), 1e-6), max(float(behind.sum()), 1e-6))
        odds = (front / totals[0] + colors.floor) / (behind / totals[1] + colors.floor)
        ratio = np.log(odds).astype(np.float32)[bins]  # (h,w,3)
        # A colour that both have is evidence for neither.
        clear = np.sign(ratio) * np.clip(colors.gain * (np.abs(ratio) - settings.doubt), 0, colors.most)
        costs = _colour_costs(frequency, clear, changes, colors)
        labels = labelling.solve(prior + weight * costs, settings.rounds)
    # Still gaps between parts of the object, unless their colour is the background's.
    bridges = _bridges(labels == ALWAYS_COVERED, settings.gap) & changes.still & (ratio[..., 0] > -settings.doubt)
    return np.where(bridges, ALWAYS_COVERED, labels).astype(np.uint8)


def _with_resting_parts(views: _Views, cautious: Bytes, bold: Bytes, settings: BackgroundSettings) -> Bytes:
    """(h,w) the ``cautious`` labels, with the parts of the object that only the ``bold`` ones find: those which are
    large beside the object, and which it touches all the time, directly or by each other. All of them where the object
    stays in its place, and so may stand on what rests."""
    touching = np.ones((settings.touching, settings.touching), np.uint8)
    covered = cautious == ALWAYS_COVERED
    object_at = views.moving(cautious) | covered  # (T,h,w)
    if _drift(object_at) < settings.resting_drift:
        return bold
    least = max(1.0, settings.resting_share * float(np.median(object_at.sum((1, 2)))))
    more = cv2.morphologyEx(
        ((bold == ALWAYS_COVERED) & ~covered).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
    )
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(more, connectivity=8)
    waiting = [piece for piece in range(1, count) if stats[piece, cv2.CC_STAT_AREA] >= least]
    kept = np.zeros(covered.shape, bool)
    found = True
    while waiting and found:
        reached = np.stack([cv2.dilate((frame | kept).astype(np.uint8), touching) > 0 for frame in object_at])
        touched = [p for p in waiting if (reached & (pieces == p)).any((1, 2)).mean() >= settings.resting_touch]
        kept |= np.isin(pieces, touched)
        waiting = [p for p in waiting if p not in touched]
        found = bool(touched)
    # With the rims that opening took off them.
    whole = (bold == ALWAYS_COVERED) & (cv2.dilate(kept.astype(np.uint8), touching) > 0)
    return np.where(whole, ALWAYS_COVERED, cautious).astype(np.uint8)


def _drift(object_at: Mask) -> float:
    """How far the middle of the (T,h,w) object moves over time, in square roots of its median area."""
    middles = np.array([np.argwhere(frame).mean(0) for frame in object_at if frame.any()])
    if not len(middles):
        return 0.0
    return float(np.ptp(middles, axis=0).max() / np.sqrt(np.median(object_at.sum((1, 2)).clip(1))))


def _prior_costs(
    frequency: Float32, sizes: Int32, changes: Changes, views: NDArray[np.int64], settings: PriorSettings
) -> Float32:
    """(h,w,4) costs of the labels before any colour is known. views: (h,w) frames that show a pixel."""
    costs = np.zeros((*changes.still.shape, MODES + 1), np.float32)
    rare = sizes < np.maximum(settings.rare_frames, settings.rare_share * views)[..., None]
    costs[..., :MODES] = np.where(rare, settings.rare, settings.unsteady * (1 - frequency))
    # The more a pixel rests on one colour, the likelier that is the background; what is enclosed by changes is not.
    enclosed = changes.still & ~changes.outside
    never = np.where(changes.still, 0.0, settings.covered * frequency[..., 0])
    away = np.minimum(settings.covered_slope * changes.distance, settings.covered_most)
    never = np.where(changes.outside, settings.covered + away, never)
    costs[..., ALWAYS_COVERED] = never + settings.rim * (changes.rim & changes.still)
    costs[..., 0] = np.where(enclosed, settings.enclosed, costs[..., 0])
    return costs


def _distance_varies(moving: Mask, settings: BackgroundSettings) -> Float32:
    """(h,w) by how much a pixel's distance from the (T,h,w) ``moving`` object varies over time, in diagonals of it.

    What belongs to the object keeps its distance: it varies by less than the object's size.
    """
    distances, diagonals = [], []
    trimmed, ends = ((percent, 100 - percent) for percent in (settings.trimmed_percent, settings.varying_percent))
    for mask in moving:
        rows, columns = np.nonzero(mask)
        if len(rows):
            (top, bottom), (left, right) = (np.percentile(at, trimmed) for at in (rows, columns))
            diagonals.append(float(np.hypot(bottom - top, right - left)))
            distances.append(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3))
    if not distances:
        return np.zeros(moving.shape[1:], np.float32)
    every = max(1, len(distances) // settings.varying_frames)
    low, high = np.percentile(np.stack(distances)[::every], ends, axis=0)
    return ((high - low) / max(float(np.median(diagonals)), 1.0)).astype(np.float32)


def _left_behind(varies: Float32, cost: float, beyond: float) -> Float32:
    """(h,w) cost of taking a pixel for the object's in all frames although the object moves relative to it."""
    return np.asarray(cost * np.clip(varies - beyond, 0, 1), np.float32)


def _bridges(mask: Mask, gap: int) -> Mask:
    """(h,w) ``mask`` with gaps up to 2 ``gap`` wide, in it and between its pieces, closed: belts and joints."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1))
    padded = np.pad(mask.astype(np.uint8), 2 * gap)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)
    return closed[2 * gap : 2 * gap + mask.shape[0], 2 * gap : 2 * gap + mask.shape[1]] > 0


def _colour_costs(frequency: Float32, ratio: Float32, changes: Changes, settings: ColorModelSettings) -> Float32:
    """(h,w,4) what colour models add: ``ratio`` (h,w,3) is each mode's log-likelihood ratio, object to background."""
    strength = np.where(changes.still, settings.still, settings.moving).astype(np.float32)[..., None]
    covered = -(frequency * ratio).sum(-1, keepdims=True)
    costs = np.concatenate([covered + 2 * frequency * ratio, covered], axis=-1) * strength
    costs[..., ALWAYS_COVERED] -= np.where(changes.outside, settings.outside, 0)
    return costs


def _bins(colours: Float32, cells: int) -> NDArray[np.intp]:
    cell = np.clip(colours * (cells / 256), 0, cells - 1).astype(np.intp)
    return (cell[..., 0] * cells + cell[..., 1]) * cells + cell[..., 2]


def _histogram(bins: NDArray[np.intp], weights: Real, settings: ColorModelSettings) -> Float64:
    """(cells³,) weighted counts of RGB cells, slightly blurred."""
    cells = settings.cells
    counts = np.bincount(bins.ravel(), weights.ravel(), minlength=cells**3)
    return gaussian_filter(counts.reshape(cells, cells, cells), settings.blur).ravel()


def _rim(shown: Mask) -> Mask:
    """(h,w) the outermost pixels of ``shown``."""
    inner = cv2.erode(shown.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return shown & (inner == 0)
