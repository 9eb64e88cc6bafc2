"""A field on a regular grid, coarse to fine: each finer grid is asked only near the surface that the coarser one shows.

The rule for which nodes are asked is that of FlashVDM (Lai et al., arXiv 2503.16302).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from v2m4.errors import V2M4Error

Field = Callable[[Tensor], Tensor]
"""Points (N, 3) -> logits (N,), positive inside."""

_OUTSIDE = -1e4


@dataclass(frozen=True)
class Volume:
    """Logits (G, G, G) at the nodes of a cube from -bound to bound, index order x, y, z.

    Where `asked` is false the value is interpolated from the coarser grid, which has no surface there.
    """

    logits: Tensor
    asked: Tensor
    queries: int
    """How often the field was asked, all grids together."""


@dataclass(frozen=True)
class VolumeRule:
    """Which nodes are asked. dilations: how far a coarse grid's neighbourhood of the surface is widened before it is
    handed to a finer grid that is not the last. near: nodes with smaller logits than this count as near."""

    dilations: int = 1
    near: float = 0.95


def halvings(resolution: int, coarsest: int, multiple: int = 1) -> tuple[int, ...]:
    """Cells per axis of each grid, coarse to fine: `resolution` halved as long as it is at least `coarsest`.

    With `multiple` the first grid is rounded to it, less one cell, and the others are doublings of that.
    """
    if resolution < 2:
        raise V2M4Error(f"A grid of {resolution} cells holds no surface. Raise the generator's resolution.")
    levels = [resolution]
    while levels[0] // 2 >= coarsest and levels[0] % 2 == 0:
        levels.insert(0, levels[0] // 2)
    if multiple > 1:
        levels[0] = round(levels[0] / multiple) * multiple - 1
    return tuple(levels[0] * 2**i for i in range(len(levels)))


def coarse_to_fine(
    field: Field, levels: tuple[int, ...], bound: float, rule: VolumeRule, device: torch.device, chunk: int
) -> Volume:
    """The field at the finest of `levels` (cells per axis, each twice the one before). `chunk`: points at once."""
    side = levels[0] + 1
    logits = _ask(field, torch.arange(side**3, device=device), levels[0], bound, chunk).view(side, side, side)
    asked = torch.ones_like(logits, dtype=torch.bool)
    queries = side**3
    for i, cells in enumerate(levels[1:], start=1):
        widen = 0 if i == len(levels) - 1 else 1
        near = near_surface(logits, asked, rule.near)
        for _ in range(widen * rule.dilations):
            near = dilated(near)
        side = cells + 1
        asked = torch.zeros(side, side, side, dtype=torch.bool, device=device)
        asked[::2, ::2, ::2] = near
        for _ in range(2 - widen):
            asked = dilated(asked)
        nodes = asked.flatten().nonzero()[:, 0]
        queries += len(nodes)
        logits = F.interpolate(logits[None, None], size=(side,) * 3, mode="trilinear", align_corners=True)[0, 0]
        logits.view(-1)[nodes] = _ask(field, nodes, cells, bound, chunk)
    return Volume(logits, asked, queries)


def near_surface(logits: Tensor, asked: Tensor, near: float) -> Tensor:
    """(G, G, G) bool: asked nodes whose sign differs from that of one of their six asked neighbours, or that are near.

    Neighbours that were not asked, and those beyond the border, count as having the node's own sign.
    """
    sign = logits.sign().to(torch.int8)
    found = logits.abs() < near
    for axis in range(3):
        lower, upper = sign.narrow(axis, 0, sign.shape[axis] - 1), sign.narrow(axis, 1, sign.shape[axis] - 1)
        both = asked.narrow(axis, 0, sign.shape[axis] - 1) & asked.narrow(axis, 1, sign.shape[axis] - 1)
        differ = (lower != upper) & both
        found.narrow(axis, 0, sign.shape[axis] - 1).logical_or_(differ)
        found.narrow(axis, 1, sign.shape[axis] - 1).logical_or_(differ)
    return found & asked


def dilated(mask: Tensor) -> Tensor:
    """(G, G, G) bool: every node of `mask` and its 26 neighbours."""
    for axis in range(3):
        wider = mask.clone()
        length = mask.shape[axis] - 1
        wider.narrow(axis, 0, length).logical_or_(mask.narrow(axis, 1, length))
        wider.narrow(axis, 1, length).logical_or_(mask.narrow(axis, 0, length))
        mask = wider
    return mask


def closed_at_border(logits: Tensor) -> Tensor:
    """(G+2, G+2, G+2): a layer outside around the grid, so that a surface that runs into its border is closed there."""
    return F.pad(logits, (1,) * 6, value=_OUTSIDE)


def _ask(field: Field, nodes: Tensor, cells: int, bound: float, chunk: int) -> Tensor:
    """Logits (N,) at nodes given by their number in a grid of `cells` per axis."""
    side = cells + 1
    values = torch.empty(len(nodes), dtype=torch.float32, device=nodes.device)
    for start in range(0, len(nodes), chunk):
        part = nodes[start : start + chunk]
        index = torch.stack([part // side**2, part // side % side, part % side], dim=1)
        values[start : start + chunk] = field(index.float() * (2 * bound / cells) - bound)
    return values
