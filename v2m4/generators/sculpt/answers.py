"""What the network says of a picture, of its mirror image, and of other pictures of the same object.

An answer that is uncertain differs from that to the mirrored picture, and the mean of the two errs less than either.
What errs most is how far the object is turned towards the camera, its lean: where two readings are about equally
likely, an answer to the picture lies between them, too flat. So the likelier lean is chosen first, and the answer is
one to the picture and to this lean. Other frames show other poses, and some tell the turn more clearly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from v2m4.arrays import Mask
from v2m4.generators.sculpt.leaning import spread_of, surest
from v2m4.generators.sculpt.network import ColumnNetwork, Glance, Prediction
from v2m4.render.threads import networks_side_by_side
from v2m4.settings import LeanSettings

Answer = TypeVar("Answer")

_ACROSS = 4  # the input's channel of the rays' slopes to the right


def looked(network: ColumnNetwork, picture: Tensor, *, mirrored: bool) -> list[Glance]:
    """What an input (B,CHANNELS,PICTURE,PICTURE) shows, and if ``mirrored`` what its mirror image does."""
    pictures = [picture, mirror_image(picture)] if mirrored else [picture]
    return _each(network.look, [(p,) for p in pictures], picture.device)


def answered(network: ColumnNetwork, glances: Sequence[Glance], lean: Tensor | None = None) -> Prediction:
    """The mean answer to a picture and its mirror image; to ``lean`` (B,2), if that is told."""
    found, *others = _each(network.answer, [*_asked(glances, lean)], glances[0].tokens.device)
    for other in others:
        found = Prediction(*(_mean(a, b) for a, b in zip(found, other, strict=True)))
    return found


def layered(network: ColumnNetwork, glances: Sequence[Glance], lean: Tensor | None = None) -> Tensor:
    """(B,2*LAYERS,GRID,GRID) the layers of `answered`, without the rest."""
    found, *others = _each(network.layers_of, [*_asked(glances, lean)], glances[0].tokens.device)
    for other in others:
        found = _mean(found, other)
    return found


def _each(ask: Callable[..., Answer], asked: Sequence[tuple[Any, ...]], device: torch.device) -> list[Answer]:
    """What the network says to each: on processors at once, and the same on any number of threads."""
    if device.type != "cpu":
        return [ask(*words) for words in asked]
    return networks_side_by_side(lambda index: ask(*asked[index]), len(asked))


def _asked(glances: Sequence[Glance], lean: Tensor | None) -> Iterator[tuple[Glance, Tensor | None]]:
    """A picture and its mirror image with the lean of each."""
    yield glances[0], lean
    if len(glances) > 1:
        yield glances[1], None if lean is None else lean * lean.new_tensor([-1.0, 1.0])


def _mean(one: Tensor, mirrored: Tensor) -> Tensor:
    return (one.float() + mirrored.float().flip(-1)) / 2


def lean(network: ColumnNetwork, glances: Sequence[Glance], inside: Mask, settings: LeanSettings) -> float:
    """By how much the visible surface recedes per length to the right, in the likeliest reading; ``inside``
    (GRID,GRID): the rays that count."""
    likely, *mirrored = _each(network.leans, [(glance,) for glance in glances], glances[0].tokens.device)
    for other in mirrored:
        likely = (likely + other.flip(-1)) / 2  # the last axis is to the right
    spread = spread_of(torch.from_numpy(inside)[None].to(likely.device))
    return float(surest(likely, spread, settings.worst))


def mirror_image(picture: Tensor) -> Tensor:
    """An input (B,CHANNELS,PICTURE,PICTURE) as the mirrored scene gives it: left is right, rays too."""
    out = picture.flip(-1)
    out[:, _ACROSS] = -out[:, _ACROSS]
    return out


def neighbours(times: Sequence[float], index: int, keyframes: Sequence[int], settings: LeanSettings) -> list[int]:
    """Up to ``settings.others`` keyframes within ``settings.seconds`` of frame ``index``, spread evenly."""
    near = [k for k in keyframes if k != index and abs(times[k] - times[index]) <= settings.seconds]
    chosen = np.linspace(0, len(near) - 1, min(settings.others, len(near))).round().astype(int)
    return [near[i] for i in chosen]


def agreed_lean(own: float, others: Sequence[float], settings: LeanSettings) -> float:
    """The lean that a picture and ``others`` of the same object tell together.

    Where nearly all lean to one side, at least their ``settings.quantile`` counts. Elsewhere the picture's own does.
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
