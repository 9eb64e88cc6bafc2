"""How much the picture of an object is squeezed or drawn out from one frame to others.

What is as long in two pictures has most likely only moved across them. What is shorter in one has turned out of the
picture, or another limb has taken its place; a mesh that follows the pictures tells that worst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import cv2
import numpy as np

from v2m4.arrays import Bytes, Float32, Float64, Mask, norm_last
from v2m4.settings import SqueezeSettings

LEAST_SIDE = 12  # of pictures whose optical flow can be computed (DIS), in pixels


def squeezes(
    pictures: Sequence[Bytes], masks: Sequence[Mask], asked: Sequence[int], settings: SqueezeSettings
) -> Float64:
    """How far the object's picture is squeezed or drawn out from each picture ``asked`` for to those unlike it most.

    pictures: (H,W) uint8 grey, LEAST_SIDE and more, in the order of time; masks: (H,W) where they show the object.
    Points of the object go with the optical flow (DIS, Kroeger et al. 2016) from picture to picture, as long as they
    come back to where they were and look alike. Of the map around each, the principal stretches s count as |log s|,
    after their mean over all points is taken off, which only tells that the object is nearer. The mean over points,
    and over the worst share of the pictures, is 0 for a body that moves rigidly in the picture.
    """
    ways = [(_flow(a, b), _flow(b, a)) for a, b in pairwise(pictures)]  # forth and back
    soft = [np.asarray(cv2.GaussianBlur(p, (0, 0), 1.0), np.float32) for p in pictures]
    found = []
    for start in asked:
        onward = [*_followed(start, masks, soft, ways[start:], settings, 1)]
        back = [(b, a) for a, b in reversed(ways[:start])]
        onward += _followed(start, masks, soft, back, settings, -1)
        worst = sorted(onward, reverse=True)[: max(1, round(settings.worst_share * len(onward)))]
        found.append(float(np.mean(worst)) if worst else 0.0)
    return np.array(found)


def _followed(
    start: int,
    masks: Sequence[Mask],
    soft: Sequence[Float32],
    ways: Sequence[tuple[Float32, Float32]],
    settings: SqueezeSettings,
    direction: int,
) -> Iterator[float]:
    """The mean squeeze in each picture from ``start`` on."""
    reach = settings.reach
    inside = cv2.erode(masks[start].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    number = np.full(tuple(n + 2 * reach for n in inside.shape), -1)
    rows, columns = np.nonzero(inside)
    number[rows + reach, columns + reach] = np.arange(len(rows))
    # The four points at ``reach`` pixels, whose places tell the map around a point.
    around = [
        number[rows + reach + y, columns + reach + x] for y, x in ((0, -reach), (0, reach), (-reach, 0), (reach, 0))
    ]
    thin = (rows % settings.step == 0) & (columns % settings.step == 0) & (np.array(around) >= 0).all(axis=0)
    centres = np.flatnonzero(thin)
    four = np.array(around)[:, centres]  # (4,C)
    at = np.stack([columns, rows], axis=1).astype(np.float32)  # (P,2)
    looks, good = soft[start][rows, columns], np.ones(len(rows), bool)
    index = start
    if not len(centres):
        yield from [settings.lost] * len(ways)
        return
    for ahead, back in ways:
        index += direction
        moved = _at(ahead, at)
        at = at + moved
        good &= norm_last(moved + _at(back, at)) < settings.return_px
        alike = good & (np.abs(_at(soft[index], at) - looks) < settings.grey_step)
        told = alike[centres] & alike[four].all(axis=0)
        squeezed = np.full(len(centres), settings.lost)
        if told.any():
            left, right, above, below = at[four[:, told]].astype(np.float64)  # (N,2) each
            maps = np.stack([right - left, below - above], axis=2) / (2 * reach)  # (N,2,2)
            stretches = np.log(np.linalg.svd(maps, compute_uv=False).clip(np.exp(-settings.most)))
            squeezed[told] = np.abs(stretches - stretches.mean()).max(axis=1).clip(0, settings.most)
        yield float(squeezed.mean())


def _flow(before: Bytes, after: Bytes) -> Float32:
    """(H,W,2) where each pixel goes."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis.setFinestScale(0)
    return dis.calc(before, after, None)  # type: ignore[call-overload]


def _at(maps: Float32, points: Float32) -> Float32:
    """Values of (H,W) or (H,W,2) at points (P,2), x before y."""
    chunks = [  # OpenCV takes pictures of less than 32768 columns
        cv2.remap(maps, part[None, :, 0], part[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        for part in np.array_split(points, len(points) // 30000 + 1)
    ]
    return np.asarray(np.concatenate(chunks), np.float32)
