"""TripoSG's grid of times: from noise (1) to data (0) in equal steps; the velocity points to the data."""

from __future__ import annotations

import numpy as np

from v2m4.generators.vecset.flow import FlowGrid, Numbers, shifted


def sigmas(steps: int, shift: float = 1.0) -> Numbers:
    """The noise levels (steps + 1,) from 1 to 0."""
    return np.append(shifted(1 - np.arange(steps) / max(steps, 1), shift), 0.0)


def flow_grid(steps: int, shift: float = 1.0) -> FlowGrid:
    """The network is told thousandths of the noise level."""
    levels = sigmas(steps, shift)
    return FlowGrid(1000 * levels[:-1], -np.diff(levels))
