"""From a `Prediction` to a volume that is positive inside the object."""

from __future__ import annotations

import torch
from torch import Tensor

from v2m4.generators.sculpt.network import LAYERS, Prediction, slice_depths


def from_columns(found: Prediction) -> Tensor:
    """(B,SLICES,GRID,GRID) volume with each column as full as its probabilities say.

    Where a hidden leg lies is uncertain, so nowhere does its probability reach one half, and a fixed threshold would
    lose it. The threshold is therefore, column by column, the one that leaves as many slices inside as are expected.
    """
    probability = torch.sigmoid(found.columns.float())
    order = probability.sort(dim=1, descending=True).values
    expected = probability.sum(1, keepdim=True).clamp(1, probability.shape[1] - 1)
    below = expected.floor().long()
    # The value between the last slice that is kept and the first that is not.
    last, first = order.gather(1, below - 1), order.gather(1, below)
    return probability - (last + first) / 2


def from_layers(found: Prediction) -> Tensor:
    """(B,SLICES,GRID,GRID) distance to the nearest surface of the layers along the ray."""
    at = slice_depths(found.layers.device).view(1, -1, 1, 1)
    out = None
    for k in range(LAYERS):
        entry, exit_ = found.layers[:, 2 * k : 2 * k + 1], found.layers[:, 2 * k + 1 : 2 * k + 2]
        inside = torch.minimum(at - entry, exit_ - at)
        if k:
            inside = torch.where(found.exist[:, k : k + 1] > 0, inside, torch.full_like(inside, -1))
        out = inside if out is None else torch.maximum(out, inside)
    assert out is not None
    return out
