"""What splatting passes around, and the rules that all who draw splats keep: gsplat, the Triton kernel, PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

KERNEL_SIZE = 0.1
"""Variance of the screen-space filter, in square pixels."""
# The reference rasteriser's, so that other renderers draw the same (Kerbl et al. 2023).
NEAR, ALPHA_MIN, ALPHA_MAX = 0.2, 1 / 255, 0.999
TRANSMITTANCE_MIN = 1e-4
TILE = 8


@dataclass(frozen=True)
class Gaussians:
    """G anisotropic Gaussians.

    means (G,3); scales (G,3), standard deviations along their axes; rotations (G,4), unit quaternions w, x, y, z;
    opacities (G,) in (0,1); colors (G,3), clamped below at 0 when rendered; all float32.
    """

    means: Tensor
    scales: Tensor
    rotations: Tensor
    opacities: Tensor
    colors: Tensor

    def to(self, device: torch.device | str) -> Gaussians:
        """A copy whose tensors live on ``device``."""
        return Gaussians(*(t.to(device) for t in vars(self).values()))

    def detach(self) -> Gaussians:
        """The same Gaussians without their history."""
        return Gaussians(*(t.detach() for t in vars(self).values()))


class Splats(NamedTuple):
    """G projected Gaussians. center (G,2), in pixels, x right and y down; conic (G,3): xx, xy, yy of the inverse
    covariance; opacity (G,), after the filter; color (G,3); depth (G,); reach (G,2): half the box, in pixels, outside
    of which nothing is drawn; it is negative for a Gaussian that is not visible at all."""

    center: Tensor
    conic: Tensor
    opacity: Tensor
    color: Tensor
    depth: Tensor
    reach: Tensor


class TileLists(NamedTuple):
    """gaussian (P,): the Gaussians of every tile from front to back, tile after tile; start (T,), length (T,)."""

    gaussian: Tensor
    start: Tensor
    length: Tensor
