"""Which frames get a mesh of their own (section 3 of the paper: every n-th frame; here also by how much moves)."""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce
from itertools import combinations

import cv2
import numpy as np
from contourpy import contour_generator
from scipy.ndimage import binary_fill_holes

from v2m4.arrays import Bytes, Float32, Float64, sum_last
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.foreshortening import LEAST_SIDE, squeezes
from v2m4.settings import KeyframeSettings, SqueezeSettings


def refuse_anchor(settings: KeyframeSettings, frames: int) -> None:
    """Raise V2M4Error if the anchor that is asked for is none of so many frames."""
    if settings.anchor is not None and settings.anchor >= frames:
        raise V2M4Error(
            f"keyframes.anchor is {settings.anchor}, but the clip's frames are 0 to {frames - 1}. Choose one of them."
        )


def choose_keyframes(clip: Clip, settings: KeyframeSettings, empty: Collection[int] = ()) -> tuple[int, ...]:
    """Frame indices in ascending order; the first and the last frame that show the object are always among them.

    empty: frames in which no object was found; they never become keyframes.

    ``fixed``: every ``stride``-th frame. ``adaptive``: at most ``stride`` and at least ``min_stride`` frames apart (but
    for the last), and a new keyframe as soon as the object's pose changed by ``motion_threshold`` since the last one,
    so that keyframes crowd where it moves fast. Moving across the picture or nearer is no change of pose. Reads one
    frame at a time. Raises V2M4Error for a stride below 1, or if fewer than two frames show the object.
    """
    if settings.stride < 1:
        raise V2M4Error(f"The keyframe stride must be 1 or more, but is {settings.stride}. 5 suits most clips.")
    shown = [i for i in range(len(clip)) if i not in empty]
    if len(shown) < 2:
        raise V2M4Error(
            f"The object was found in {len(shown) or 'none'} of the {len(clip)} frames of {clip.name}; at least two "
            "are needed. Trim the clip to where it is seen, or choose another --matting.method."
        )
    if settings.mode == "fixed":
        return tuple(sorted({*shown[:: settings.stride], shown[-1]}))
    least = min(max(1, settings.min_stride), settings.stride)
    return _adaptive(clip, shown, least, settings)


def _adaptive(clip: Clip, shown: list[int], least: int, settings: KeyframeSettings) -> tuple[int, ...]:
    chosen, rims, most = [shown[0]], set[int](), settings.stride
    reference = previous = _small(clip.frame(shown[0]), settings)
    for before, index, following in zip(shown, shown[1:], [*shown[2:], -1], strict=False):
        current = _small(clip.frame(index), settings)
        step = change(previous, current, settings)
        # Half a step early rather than half a step late: the change at the keyframe stays near the threshold.
        moved = change(reference, current, settings) + settings.ahead * step >= settings.motion_threshold
        gap = index - chosen[-1]
        # A keyframe on either side of a gap without the object, so that no pose is drawn out across it.
        rim = following != index + 1 or before != index - 1
        if rim:
            rims.add(index)
        if (moved and gap >= least) or gap >= most or rim:
            chosen.append(index)
            reference = current
        previous = current
    return _without_crowded_end(chosen, rims, least, most)


def _without_crowded_end(chosen: list[int], rims: set[int], least: int, most: int) -> tuple[int, ...]:
    """Drop the last but one keyframe where it is too near the end, the gap it leaves is not too long, and it is not the
    rim of one without the object."""
    crowded = len(chosen) > 2 and chosen[-1] - chosen[-2] < least and chosen[-1] - chosen[-3] <= most
    if crowded and chosen[-2] not in rims:
        del chosen[-2]
    return tuple(chosen)


def choose_anchor(clip: Clip, keyframes: tuple[int, ...], settings: KeyframeSettings) -> int:
    """The keyframe that shows the object best, for the mesh that all others are registered to.

    It is seen whole and large, its limbs apart, in a pose between the others: the score is the product of the part of
    the outline inside the picture, area, length of the outline (limbs that hide each other or touch have none of their
    own), likeness to the other keyframes, and nearness to the middle of the clip. Ties go to the earlier one.
    Where the clip looks clearly less squeezed from one that is nearly as good, that one is taken (`squeezes`).
    """
    pictures, masks = [], []
    for index in keyframes:
        frame = clip.frame(index)
        pictures.append(_small(frame, settings))
        masks.append((frame[..., 3] > 127).astype(np.uint8))
    best, lengths = settings.best, [outline_length(mask, settings.best.outline_size) for mask in masks]
    largest, longest = max(1, *(int(m.sum()) for m in masks)), max(1e-9, *lengths)
    changes = np.zeros((len(keyframes), len(keyframes)))
    for i, j in combinations(range(len(keyframes)), 2):
        changes[i, j] = changes[j, i] = min(1.0, change(pictures[i], pictures[j], settings))
    scores, first, last = [], keyframes[0], keyframes[-1]
    for index, mask, length, distance in zip(keyframes, masks, lengths, changes.mean(axis=1), strict=True):
        area = int(mask.sum())
        if not area:
            scores.append(-np.inf)
            continue
        large = (1 - best.area_weight) + best.area_weight * area / largest
        free = (1 - best.limbs_weight) + best.limbs_weight * length / longest
        longest_way = max(index - first, last - index) / max(last - first, 1)  # 0.5 in the middle
        central = 1 - best.middle_weight * (2 * longest_way - 1)
        scores.append(_inside(clip, mask) * large * free * central * (best.likeness - float(distance)))
    first = max(range(len(scores)), key=lambda place: (round(scores[place], 6), -place))
    tied = [place for place, score in enumerate(scores) if score >= (1 - best.squeeze.tied) * scores[first]]
    if len(tied) == 1 or best.squeeze.clear == 1 or not np.isfinite(scores[first]):
        return keyframes[first]
    squeeze = dict(zip(tied, _squeezes(clip, keyframes, masks, tied, best.squeeze), strict=True))
    least = min(tied, key=lambda place: squeeze[place])
    return keyframes[least if squeeze[least] <= (1 - best.squeeze.clear) * squeeze[first] else first]


def _squeezes(
    clip: Clip, keyframes: tuple[int, ...], masks: list[Bytes], asked: list[int], settings: SqueezeSettings
) -> Float64:
    """`squeezes` from the keyframes at the places ``asked`` for. masks: (S,S) of all keyframes."""
    # One scale and one cut for all: what stands still must lie on the same pixels, or flow sees it tremble.
    area = float(np.median([mask.sum() for mask in masks]))
    scale = min(1.0, settings.object_px / np.sqrt(max(area, 1.0)), settings.most_px / clip.side)
    whole = reduce(np.maximum, masks)
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    size = [max(1, round(scale * (side.stop - side.start))) for side in reversed(box)]
    margin, greys, covers = max(settings.reach, LEAST_SIDE // 2), [], []
    for index in keyframes:
        frame = clip.frame(index)[box].astype(np.float32) / np.float32(255)
        alone = np.dstack([cv2.cvtColor(frame[..., :3], cv2.COLOR_RGB2GRAY) * frame[..., 3], frame[..., 3]])
        small = cv2.resize(alone, size, interpolation=cv2.INTER_AREA)
        small = np.pad(small, ((margin, margin), (margin, margin), (0, 0)))
        greys.append(small[..., 0])
        covers.append(small[..., 1])
    bright = sum(float(grey.sum()) for grey in greys) > 0.5 * sum(float(cover.sum()) for cover in covers)
    behind = 0 if bright else 1
    pictures = [
        (255 * (g + behind * (1 - c))).clip(0, 255).astype(np.uint8) for g, c in zip(greys, covers, strict=True)
    ]
    return squeezes(pictures, [cover > 0.5 for cover in covers], asked, settings)


def outline_length(mask: Bytes, size: float) -> float:
    """The length of the outer outline of a mask (H,W) over the root of what it encloses; a circle has 2 sqrt(pi).

    size: that root in pixels, to which a larger object is shrunk first: finer noise of the outline does not count.
    Holes do not count either: limbs that enclose background touch, and their mesh would hang together there for good.
    """
    whole = binary_fill_holes(mask > 0)
    area = int(whole.sum())
    if not area:
        return 0.0
    scale = min(1.0, size / np.sqrt(area))
    soft = cv2.resize(whole.astype(np.float32), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    soft = np.asarray(cv2.GaussianBlur(np.pad(soft, 4), (0, 0), 1.0), np.float32)
    curves = [np.asarray(line, dtype=np.float64) for line in contour_generator(z=soft).lines(0.5)]  # (N,2) each, closed
    length = sum(float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum()) for curve in curves)
    return length / float(np.sqrt(max(float(soft.sum()), 1.0)))


def _inside(clip: Clip, mask: Bytes) -> float:
    """1 for an object that touches no border of the picture, down to 0 for one whose box is all border."""
    left, top, right, bottom = clip.content_box()
    mask = mask[top:bottom, left:right]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return max(0.0, 1 - 2 * float(rim.sum()) / (len(rows) + len(columns)))


def change(a: Float32, b: Float32, settings: KeyframeSettings) -> float:
    """How much the object changed between two (H,W,4) pictures with values in [0,1]; 0 for the same picture.

    1 minus the overlap (IoU) of the masks, plus the weighted mean colour difference where both show the object, so that
    motion inside a constant outline (a turning ball) counts too.
    """
    both, either = np.minimum(a[..., 3], b[..., 3]), np.maximum(a[..., 3], b[..., 3])
    union, overlap = float(either.sum()), float(both.sum())
    if union <= 0:
        return 0.0
    colour = float((sum_last(np.abs(a[..., :3] - b[..., :3])) / np.float32(3) * both).sum()) / max(overlap, 1.0)
    return 1 - overlap / union + settings.color_weight * max(0.0, colour - settings.color_noise)


def _small(frame: Bytes, settings: KeyframeSettings) -> Float32:
    """A frame moved and scaled so that its object has a standard place and area: (S,S,4) in [0,1]."""
    side = settings.compare_size
    moments = cv2.moments(np.ascontiguousarray(frame[..., 3]))
    area = moments["m00"] / 255
    if area < 1:
        return np.zeros((side, side, 4), np.float32)
    scale = side * settings.object_size / np.sqrt(area)
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    shift = side / 2 - scale * centre
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    # Shrink by averaging first: the warp alone would skip pixels.
    shrink = max(1, int(1 / scale))
    if shrink > 1:
        frame = np.asarray(cv2.blur(frame, (shrink, shrink)), np.uint8)
    return cv2.warpAffine(frame, matrix, (side, side), flags=cv2.INTER_LINEAR).astype(np.float32) / np.float32(255)
