"""What the network says of a picture, of its mirror image, and of other pictures of the same object.

An answer that is uncertain differs from that to the mirrored picture, and the mean of the two errs less than either.
What errs most is how far the object is turned towards the camera: where two readings are about equally likely, the
answer lies between them, too flat. Other frames show other poses, and some tell the turn clearly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from v2m4.arrays import Mask
from v2m4.generators.sculpt.network import GRID, ColumnNetwork, Prediction
from v2m4.settings import LeanSettings

_ACROSS = 4  # the input's channel of the rays' slopes to the right


def asked(network: ColumnNetwork, picture: Tensor, *, mirrored: bool) -> Prediction:
    """The answer to an input (B,CHANNELS,PICTURE,PICTURE); if ``mirrored``, the mean with that to its mirror image."""
    found: Prediction = network(picture)
    if not mirrored:
        return found
    other: Prediction = network(mirror_image(picture))
    return Prediction(*((a.float() + b.float().flip(-1)) / 2 for a, b in zip(found, other, strict=True)))


def mirror_image(picture: Tensor) -> Tensor:
    """An input (B,CHANNELS,PICTURE,PICTURE) as the mirrored scene gives it: left is right, rays too."""
    out = picture.flip(-1)
    out[:, _ACROSS] = -out[:, _ACROSS]
    return out


def lean(found: Prediction, inside: Mask) -> float:
    """By how much the visible surface recedes per length to the right: the plane that fits the first entries of the
    rays ``inside`` (GRID,GRID) best. 0 where these lie in one column."""
    across, down = np.meshgrid(*[(np.arange(GRID) + 0.5) / GRID - 0.5] * 2)
    entry = found.layers[0, 0].float().cpu().numpy()[inside]
    plane = np.stack([np.ones_like(entry), across[inside], down[inside]], axis=1)
    slope: float = np.linalg.lstsq(plane, entry, rcond=None)[0][1]
    return float(slope)


def neighbours(times: Sequence[float], index: int, keyframes: Sequence[int], settings: LeanSettings) -> list[int]:
    """Up to ``settings.others`` keyframes within ``settings.seconds`` of frame ``index``, spread evenly."""
    near = [k for k in keyframes if k != index and abs(times[k] - times[index]) <= settings.seconds]
    chosen = np.linspace(0, len(near) - 1, min(settings.others, len(near))).round().astype(int)
    return [near[i] for i in chosen]


def agreed_lean(own: float, others: Sequence[float], settings: LeanSettings) -> float:
    """The lean that a picture and ``others`` of the same object tell together.

    Doubt only flattens: where nearly all lean to one side, those that lean most know best. Elsewhere the picture's own
    counts.
    """
    votes = np.array([own, *others])
    side = float(np.sign(np.median(votes)))
    if not others or (votes * side > 0).mean() < settings.agreement:
        return own
    most = float(np.quantile(votes * side, settings.quantile))
    return side * max(most, side * own)


def undecided(votes: Sequence[float], count: int, settings: LeanSettings) -> bool:
    """Whether ``votes``, the first of ``count``, differ so much that no side can win: the others need no asking."""
    told = np.array(votes)
    most = count - min(int((told <= 0).sum()), int((told >= 0).sum()))  # votes that a side can still have
    return most / count < settings.agreement


def leaned(points: Tensor, more: float) -> Tensor:
    """Points (V,3) in the camera's space, moved along their rays so that they recede by ``more`` per length to the
    right; the picture stays as it is."""
    depth = points[:, 2]
    right = points[:, 0] / depth
    middle = (right.amin() + right.amax()) / 2
    return points * (1 + more * (right - middle) * depth.mean() / depth)[:, None]
