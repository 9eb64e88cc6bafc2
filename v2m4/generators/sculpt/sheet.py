"""From a `Prediction` to the depths of a sheet: the outline inflated around the network's middle, as thick as it says.

The first entry and exit of every ray give a middle and a half depth. Both are smoothed inside the outline; the half
depth by what it is locally as a share of the root of the distance to the outline, so that the rim stays round whatever
the network says there. What this leaves out are hidden parts; what it gains is one even surface with the picture's
outline, which is followed through the video as well as an inflated one.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt, median_filter
from torch import Tensor

from v2m4.arrays import Mask, Real
from v2m4.generators.inflate.heights import Heights
from v2m4.generators.inflate.outline import Crop
from v2m4.generators.inflate.remeshing_numba import LEAST_HEIGHT
from v2m4.generators.sculpt.network import GRID
from v2m4.generators.sculpt.picture import Square
from v2m4.settings import SculptSettings

_AT_THE_RIM = 0.3  # cells: the distance from the outline of a cell that it cuts


def sheet_heights(
    found: Tensor, inside: Mask, square: Square, crop: Crop, side: int, outline: Heights, settings: SculptSettings
) -> Heights:
    """The depths of a prediction's layers (1,2*LAYERS,GRID,GRID), filled outside (`readout.extended`), on the grid of
    ``outline``.

    inside: (GRID,GRID), the object's columns. side: of the picture, in pixels. outline: what the outline alone says.
    """
    # 1. Middle and half depth of the first layer (GRID,GRID), in widths of the square.
    layers = found[0].numpy()
    middle = median_filter((layers[0] + layers[1]) / 2, settings.middle_median)
    half = np.maximum(median_filter((layers[1] - layers[0]) / 2, settings.half_median), settings.thinnest)
    # 2. Smoothed inside the outline: half^2 = ratio * distance, fitted to the cells around each by least squares.
    weight = inside.astype(np.float32)
    steps = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    away: Real = np.maximum(steps - 0.5, _AT_THE_RIM) / GRID
    width = settings.evenness
    even = _blurred(middle * weight, width) / np.maximum(_blurred(weight, width), 1e-9)
    ratio = _blurred(half**2 * away * weight, width) / np.maximum(_blurred(away**2 * weight, width), 1e-12)
    # 3. On the outline's grid (h,w), in working pixels; outside as it is nearest inside.
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    at = _cells(crop, square, side, outline.distance.shape)
    pixels = square.width * side * float(crop.scale.mean())  # in one width of the square
    depth, over = (_looked_up(grid[tuple(nearest)], at) * pixels for grid in (even, ratio))
    # 4. The thickness is the mean of two opinions, the network's and the outline's.
    share = settings.own_depth
    squared = np.maximum(over, LEAST_HEIGHT) ** share * outline.squared_per_distance ** (1 - share)
    return Heights(outline.distance, squared.astype(np.float32), -depth)


def _blurred(image: Real, width: float) -> Real:
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), width), np.float32)


def _cells(crop: Crop, square: Square, side: int, shape: tuple[int, ...]) -> Real:
    """(h,w,2) where the working pixels lie on the network's grid, x first, as cv2 counts."""
    x, y = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    picture = crop.to_picture(np.stack([x, y], axis=-1)) / side
    return (((picture - square.middle) / square.width + 0.5) * GRID - 0.5).astype(np.float32)


def _looked_up(image: Real, at: Real) -> Real:
    found = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)
