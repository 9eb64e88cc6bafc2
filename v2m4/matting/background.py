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

from v2m4.events import Progress, Steps
from v2m4.matting.colour_modes import MODES, NEVER, ModeLabelling, find_modes
from v2m4.matting.mask_cleanup import Mask

Field = NDArray[np.float32]

LEARNING_SIDE = 224
_BINS = 16
_STATIC = 0.93
_ROUNDS = 12
_COLOUR_ROUNDS = 3
_DOUBT = 0.7
_GAP = 3


@dataclass(frozen=True)
class Background:
    """colours: (H,W,3) levels, NaN where the object never gave sight of it. spread: (H,W) standard deviation there.

    small: (h,w,3) the same at learning resolution, NaN likewise. tolerance: levels within which two colours are one.
    """

    colours: Field
    spread: Field
    small: Field
    tolerance: float

    def covered(self, rgb: NDArray[np.uint8]) -> Field:
        """(H,W) in [0,1]: a coarse mask of the object in (H,W,3) ``rgb``, from the labelling alone."""
        height, width = self.small.shape[:2]
        little = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        away = np.square(little - self.small).sum(-1) > self.tolerance**2
        covered = (away | np.isnan(self.small[..., 0])).astype(np.float32)
        return np.asarray(cv2.resize(covered, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True)
class Changes:
    """What of the picture changes over time, at learning resolution.

    still: (h,w) pixels of one colour throughout. still_rim: their share of the picture's rim. outside: still pixels
    that are connected to the rim by still ones. distance: (h,w) from the nearest changing pixel, in diagonals of
    the box of all changes, at most 10.
    """

    still: Mask
    still_rim: float
    outside: Mask
    distance: Field


def noise_level(frames: NDArray[np.uint8]) -> float:
    """Standard deviation over time of the quieter half of the pixels of (T,H,W,3) ``frames``, in levels."""
    step = np.abs(np.diff(frames.astype(np.int16), axis=0)).max(-1)
    return float(np.median(step) / 0.95)


def find_changes(shares: Field) -> Changes:
    """From (h,w,3) shares of frames in which each mode is shown."""
    still = cv2.medianBlur((shares[..., 0] >= _STATIC).astype(np.uint8), 3) > 0
    rim = _rim(still)
    _, pieces = cv2.connectedComponents(still.astype(np.uint8), connectivity=4)
    outside = still & np.isin(pieces, np.unique(pieces[rim & still]))
    rows, columns = np.nonzero(~still)
    diagonal = float(np.hypot(np.ptp(rows), np.ptp(columns))) if len(rows) else 1.0
    away = np.asarray(cv2.distanceTransform(still.astype(np.uint8), cv2.DIST_L2, 3), np.float32)
    distance = np.minimum(away / np.float32(max(diagonal, 1.0)), np.float32(10))
    return Changes(still, float(still[rim].mean()), outside, distance)


def label_background(frames: NDArray[np.uint8], tolerance: float) -> Steps[tuple[NDArray[np.uint8], Field, Changes]]:
    """Labels (h,w) of (T,h,w,3) ``frames`` (see `ModeLabelling`), the modes' colours (h,w,3,3), and what changes."""
    shown, sizes, colours = find_modes(frames, tolerance)
    yield Progress("matting", 0.1)
    shares = (sizes / np.float32(len(frames))).astype(np.float32)
    changes = find_changes(shares)
    labelling = ModeLabelling(frames, shown, max(14.0, 0.75 * tolerance))
    prior = _prior_costs(shares, sizes, changes, len(frames))
    yield Progress("matting", 0.2)
    labels = labelling.solve(prior, _ROUNDS)
    yield Progress("matting", 0.3)
    prior[..., NEVER] += _left_behind(shown, labels)
    totals: tuple[float, float] | None = None
    rest = (changes.still & changes.outside)[..., None]
    for done in range(_COLOUR_ROUNDS):
        is_background = np.arange(MODES) == labels[..., None]
        # What never moves is taken for object by its colour only; were it to teach the colour models, one wrong guess
        # would bring on the next.
        front = _histogram(colours, shares * (~is_background & ~rest))
        behind = _histogram(colours, shares * (is_background | rest) * np.exp(-5 * changes.distance)[..., None])
        # The first totals stay: growing by one colour must not make the object's other colours less likely.
        totals = totals or (max(float(front.sum()), 1e-6), max(float(behind.sum()), 1e-6))
        ratio = np.log((front / totals[0] + 2e-4) / (behind / totals[1] + 2e-4)).astype(np.float32)
        # A colour that both have is evidence for neither.
        clear = np.sign(ratio) * np.clip(2 * (np.abs(ratio) - _DOUBT), 0, 1.5)
        labels = labelling.solve(prior + _colour_costs(shares, clear[_bins(colours)], changes), _ROUNDS)
        yield Progress("matting", 0.3 + 0.2 * (done + 1) / _COLOUR_ROUNDS)
    bridges = _bridges(labels == NEVER) & changes.still & (ratio[_bins(colours[:, :, 0])] > -_DOUBT)
    return np.where(bridges, NEVER, labels).astype(np.uint8), colours, changes


def learn(frames: NDArray[np.uint8], tolerance: float) -> Steps[tuple[Background, Changes]]:
    """The background of (T,H,W,3) ``frames``, which are spread over the clip. Yields after every part of the work."""
    height, width = frames.shape[1:3]
    scale = min(1.0, LEARNING_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames])
    labels, modes, changes = yield from label_background(small, tolerance)
    chosen = np.take_along_axis(modes, np.minimum(labels, MODES - 1)[..., None, None].astype(np.intp), axis=2)[:, :, 0]
    chosen[labels == NEVER] = np.nan
    coarse = Background(np.zeros(0, np.float32), np.zeros(0, np.float32), chosen, tolerance)
    colours, spread = yield from _visible_mean(frames, coarse, tolerance)
    return Background(colours, spread, chosen, tolerance), changes


def _visible_mean(frames: NDArray[np.uint8], coarse: Background, tolerance: float) -> Steps[tuple[Field, Field]]:
    """Mean and deviation of each pixel over the frames that show it, without the outliers of a first mean."""
    shape = frames.shape[1:]
    mean = np.zeros(shape, np.float64)
    spread = np.zeros(shape[:2], np.float32)
    count = np.zeros(shape[:2], np.int32)
    for part in range(2):
        total, square = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
        count[:] = 0
        level = mean.round().astype(np.uint8)
        for index, frame in enumerate(frames):
            seen = coarse.covered(frame) < 0.25
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
        spread = np.sqrt(np.maximum(square / weight - np.square(mean), 0).mean(-1)).astype(np.float32)
    mean[count == 0] = np.nan
    return mean.astype(np.float32), spread


def _prior_costs(shares: Field, sizes: NDArray[np.int32], changes: Changes, count: int) -> Field:
    """(h,w,4) costs of the labels before any colour is known."""
    costs = np.zeros((*changes.still.shape, MODES + 1), np.float32)
    rare = sizes < max(2.0, 0.04 * count)
    costs[..., :MODES] = np.where(rare, 4.0, 0.02 * (1 - shares))
    # The more a pixel rests on one colour, the likelier that is the background; what is enclosed by changes is not.
    enclosed = changes.still & ~changes.outside
    never = np.where(changes.still, 0.0, 0.15 * shares[..., 0])
    never = np.where(changes.outside, 0.15 + np.minimum(5 * changes.distance, 3), never)
    costs[..., NEVER] = never + 5 * (_rim(changes.still) & changes.still)
    costs[..., 0] = np.where(enclosed, 0.4, costs[..., 0])
    return costs


def _left_behind(shown: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Field:
    """(h,w) cost of taking a pixel for the object's in all frames although the object moves relative to it.

    What belongs to the object keeps its distance from the object's moving parts: its distance from the masks that
    (T,h,w) modes ``shown`` and (h,w) ``labels`` give varies by less than the object's size.
    """
    height, width = labels.shape
    distances, diagonals = [], []
    for modes in shown:
        mask = cv2.morphologyEx((modes != labels).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
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


def _bridges(mask: Mask) -> Mask:
    """Narrow gaps in (h,w) ``mask`` and between its pieces: an object is one thing, with belts and joints."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _GAP + 1, 2 * _GAP + 1))
    padded = np.pad(mask.astype(np.uint8), 2 * _GAP)
    return cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[2 * _GAP : -2 * _GAP, 2 * _GAP : -2 * _GAP] > 0


def _colour_costs(shares: Field, ratio: Field, changes: Changes) -> Field:
    """(h,w,4) what colour models add: ``ratio`` (h,w,3) is each mode's log-likelihood ratio, object to background."""
    strength = np.where(changes.still, 0.3, 0.2).astype(np.float32)[..., None]
    covered = -(shares * ratio).sum(-1, keepdims=True)
    costs = np.concatenate([covered + 2 * shares * ratio, covered], axis=-1) * strength
    costs[..., NEVER] -= np.where(changes.outside, 0.05, 0)
    return costs


def _bins(colours: Field) -> NDArray[np.intp]:
    cell = np.clip(colours * (_BINS / 256), 0, _BINS - 1).astype(np.intp)
    return (cell[..., 0] * _BINS + cell[..., 1]) * _BINS + cell[..., 2]


def _histogram(colours: Field, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """(4096,) weighted counts of 16³ RGB cells, slightly blurred."""
    counts = np.bincount(_bins(colours).ravel(), weights.ravel(), minlength=_BINS**3)
    return gaussian_filter(counts.reshape(_BINS, _BINS, _BINS), 0.7).ravel()


def _rim(mask: Mask) -> Mask:
    rim = np.zeros_like(mask)
    rim[[0, -1]] = True
    rim[:, [0, -1]] = True
    return rim
