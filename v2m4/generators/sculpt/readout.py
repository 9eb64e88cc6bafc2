"""From a `Prediction` to a volume that is positive inside the object."""

from __future__ import annotations

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from v2m4.arrays import Mask
from v2m4.generators.sculpt.network import LAYERS, Prediction, slice_depths
from v2m4.settings import SolidSettings

SHIPPED = SolidSettings()


def extended(maps: Tensor, inside: Mask) -> Tensor:
    """Maps (B,C,GRID,GRID) of a prediction with the columns outside the object (GRID,GRID) replaced by the nearest
    inside: nothing was learnt there, and at the outline one reads between the two."""
    rows, columns = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return maps.float().cpu()[:, :, torch.from_numpy(rows), torch.from_numpy(columns)]


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


def from_layers(found: Prediction, settings: SolidSettings = SHIPPED) -> Tensor:
    """(B,SLICES,GRID,GRID) distance to the nearest surface of the layers along the ray."""
    at = slice_depths(found.layers.device).view(1, -1, 1, 1)
    out = None
    for k in range(LAYERS):
        entry, exit_ = found.layers[:, 2 * k : 2 * k + 1], found.layers[:, 2 * k + 1 : 2 * k + 2]  # (B,1,GRID,GRID)
        lack = (settings.thinnest - (exit_ - entry)).clamp_min(0) / 2
        entry, exit_ = entry - lack, exit_ + lack
        inside = torch.minimum(at - entry, exit_ - at)
        if k:
            inside = torch.where(found.exist[:, k : k + 1] > 0, inside, torch.full_like(inside, -1))
        out = inside if out is None else torch.maximum(out, inside)
    assert out is not None
    return out


def from_both(found: Prediction, settings: SolidSettings = SHIPPED) -> Tensor:
    """(B,SLICES,GRID,GRID) volume in which columns and layers are heard about equally: what is shipped.

    Layers are smooth and never lose a part, columns know better where one part ends before another.
    """
    columns = from_columns(found).clamp(-settings.columns_most, settings.columns_most)
    layers = from_layers(found, settings).clamp(-settings.layers_most, settings.layers_most)
    return settings.columns_share * columns + layers
