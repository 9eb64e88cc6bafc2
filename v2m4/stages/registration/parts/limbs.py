"""Limbs on both sides of a body's plane of symmetry, and the trunk that carries them.

Limbs swing along that plane and the trunk stays in it; a head or a tail may leave it. A standing figure is nearly the
same in front and behind, too: there are no limbs beside that plane, and it turns as it likes. Limbs that stride apart
are not each other's mirror image, so they are told by where they hang. More than two pairs that stand out to the sides
are an arthropod's: such legs swing about the vertical and leave the plane by that, and a body on them is not held. A
frog's stand out as far, but leap along it.
"""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Float64, Mask
from v2m4.settings import PairedLimbSettings
from v2m4.stages.registration.parts.skeleton import Skeleton

_MOSTLY = 0.5  # share of a vertex's weight from which it counts as carried


def limbs_and_trunk(
    skeleton: Skeleton, vertices: Float64, weights: Float64, normal: Float64, settings: PairedLimbSettings
) -> Mask:
    """(N,) the parts of a body, vertices (V,3) carried with weights (V,N), which belong to limbs that hang side by side
    across a plane with the normal (3,), and those that these hang on. None if there are no such limbs, or many of them
    that stand out from the plane."""
    size = float(np.ptp(vertices, axis=0).max())
    beside = vertices @ normal / size  # (V,)
    # 1. What may be a limb, each with all that hangs on it.
    limbs, numbers = [], []
    for part in range(1, len(skeleton)):
        inside = weights[:, skeleton.below(part)].sum(axis=1) > _MOSTLY
        if not inside.any():
            continue
        reach = float(np.linalg.norm(vertices[inside] - skeleton.joints[part], axis=1).max()) / size
        if reach >= settings.least_reach / settings.alike:
            side = float(beside[inside].mean())
            wide = float(np.abs(beside[inside] - side).mean())
            limbs.append(part)
            numbers.append((reach, inside.mean(), side, wide, _leaning(vertices[inside], normal)))
    held = np.zeros(len(skeleton), bool)
    if len(limbs) < 2:
        return held
    # 2. Pairs of those that are long and alike, do not overlap across the plane, and hang on joints beside each other.
    reaches, shares, sides, widths, leans = np.array(numbers).T
    unlike = np.maximum(*(np.abs(np.subtract.outer(each, each)) for each in (np.log(reaches), np.log(shares))))
    clear = np.abs(np.subtract.outer(sides, sides)) >= settings.separate * np.add.outer(widths, widths)
    ways = (skeleton.joints[limbs][:, None] - skeleton.joints[limbs]) / size  # (L,L,3)
    across = np.abs(ways @ normal) >= np.maximum(settings.across * np.linalg.norm(ways, axis=-1), settings.least_apart)
    below = np.stack([np.isin(limbs, skeleton.below(limb)) for limb in limbs])
    paired = (unlike <= np.log(settings.alike)) & clear & across & ~below & ~below.T
    paired &= np.minimum.outer(reaches, reaches) >= settings.least_reach
    either = paired.any(axis=1)  # (L,)
    if not either.any():
        return held
    ends = either & ((below & either).sum(axis=1) == 1)  # nothing but itself: each limb once, however it is cut
    if ends.sum() > settings.most and np.median(leans[either]) > settings.splayed:
        return held
    # 3. Limbs of like length whose twin was cut up otherwise: what is clear of the plane that lies amidst the pairs.
    first, second = np.nonzero(paired)
    amidst, typical = (sides[first] + sides[second]).mean() / 2, np.median(reaches[first])
    single = np.abs(sides - amidst) >= 2 * settings.separate * widths
    single &= np.abs(np.log(reaches / typical)) <= np.log(settings.alike)
    # 4. With what hangs on them and what they hang on.
    for limb in np.array(limbs)[either | single].tolist():
        held[skeleton.below(limb)] = True
        while limb >= 0:
            held[limb] = True
            limb = int(skeleton.parents[limb])
    return held


def _leaning(points: Float64, normal: Float64) -> float:
    """By how much the long axis of points (M,3) leaves a plane with the normal (3,): the sine of that angle."""
    axis = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
    return float(np.abs(axis @ normal))
