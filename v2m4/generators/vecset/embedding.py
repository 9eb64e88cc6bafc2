"""Sinusoidal embedding of points of space."""

from __future__ import annotations

import torch
from torch import Tensor


def fourier_embedding(points: Tensor, frequencies: int) -> Tensor:
    """Points (..., 3) -> (..., 3 + 6 F): the point, then sines, then cosines of x, 2x, .. 2^(F-1) x, then y, then z.

    Computed in float32: the highest frequencies need its digits.
    """
    points = points.float()
    scales = 2.0 ** torch.arange(frequencies, dtype=torch.float32, device=points.device)
    angles = (points[..., None] * scales).flatten(-2)
    return torch.cat([points, angles.sin(), angles.cos()], dim=-1)
