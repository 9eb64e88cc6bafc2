"""How surfaces lean: the slopes of the plane that fits them, depths sheared to other slopes, and likelihoods of slopes.

Slopes are depths per length, to the right and downwards, in this order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from v2m4.generators.sculpt.network import LEANS, STEEPEST

_FINE = 8  # steps between two bins at which a slope is looked for
_THINNEST = 1e-3  # spread below which an object counts as this wide
_RIDGE = 1e-6  # keeps the plane through a single column finite


def slopes_of(depth: Tensor, inside: Tensor) -> Tensor:
    """(B,2) slopes of the planes that fit depths (B,n,n) best where they are ``inside`` (B,n,n)."""
    weight = inside.float().flatten(1)
    at = _places(weight, depth.shape[-1])
    value = torch.where(inside, depth, 0.0).flatten(1).float()
    value = (value - _mean(value, weight)[:, None]) * weight
    moment = at * weight[..., None]  # (B,N,2)
    normal = moment.transpose(1, 2) @ at / weight.sum(1).clamp_min(1)[:, None, None]
    against = (moment.transpose(1, 2) @ value[..., None])[..., 0] / weight.sum(1).clamp_min(1)[:, None]
    (a, b), (_, d) = (row.unbind(-1) for row in (normal + _RIDGE * torch.eye(2, device=at.device)).unbind(-2))
    right, down = against.unbind(-1)
    return torch.stack([d * right - b * down, a * down - b * right], dim=-1) / (a * d - b * b)[:, None]


def sheared(depths: Tensor, more: Tensor, inside: Tensor) -> Tensor:
    """Depths (B,C,n,n) whose slopes have grown by ``more`` (B,2); their mean ``inside`` (B,n,n) stays."""
    at = _places(inside.float().flatten(1), depths.shape[-1])
    return depths + (at @ more[..., None])[..., 0].view(len(depths), 1, *depths.shape[2:])


def bins_around(slopes: Tensor, width: float) -> Tensor:
    """(B,LEANS,LEANS) weights of sum 1 around slopes (B,2), Gaussian in the angle, ``width`` bins wide; the axes are
    those of `ColumnNetwork.leans`."""
    step = 2 * STEEPEST / (LEANS - 1)
    place = (torch.atan(slopes) / step + (LEANS - 1) / 2).clamp(0, LEANS - 1)
    gap = torch.arange(LEANS, device=slopes.device) - place[..., None]  # (B,2,LEANS)
    weight = torch.softmax(-0.5 * (gap / width) ** 2, dim=-1)
    return weight[:, 1, :, None] * weight[:, 0, None, :]


def surest(leans: Tensor, spread: Tensor, worst: float) -> Tensor:
    """(B,) slopes to the right that err least in expectation, from logits (B,LEANS,LEANS) of `ColumnNetwork.leans`.

    An error counts by what it does to depths, at most ``worst``, a standard deviation in widths: of two readings the
    likelier is taken, not their middle. spread: (B,) standard deviation of the object's places to the right."""
    share = leans.flatten(1).softmax(1).view_as(leans).sum(1)  # (B,LEANS)
    count = _FINE * (LEANS - 1) + 1
    share = F.interpolate(share[:, None], size=count, mode="linear", align_corners=True)[:, 0]  # (B,count)
    slopes = torch.tan(torch.linspace(-1, 1, count, device=leans.device) * STEEPEST)
    gap = (slopes[:, None] - slopes).abs()  # (count,count)
    cost = torch.minimum(gap, (worst / spread.clamp_min(_THINNEST))[:, None, None]) @ share[..., None]
    return slopes[cost[..., 0].argmin(1)]


def spread_of(inside: Tensor) -> Tensor:
    """(B,) standard deviations of the places to the right of what is ``inside`` (B,n,n), in widths."""
    weight = inside.float().flatten(1)
    return ((_places(weight, inside.shape[-1])[..., 0] ** 2 * weight).sum(1) / weight.sum(1).clamp_min(1)).sqrt()


def _places(weight: Tensor, side: int) -> Tensor:
    """(B,n*n,2) places of cells about their mean, weighted by (B,n*n); x first, in widths."""
    at = (torch.arange(side, device=weight.device) + 0.5) / side - 0.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    place = torch.stack([x, y], dim=-1).view(-1, 2)
    middle = weight @ place / weight.sum(1, keepdim=True).clamp_min(1)
    return place - middle[:, None]


def _mean(value: Tensor, weight: Tensor) -> Tensor:
    return (value * weight).sum(1) / weight.sum(1).clamp_min(1)
