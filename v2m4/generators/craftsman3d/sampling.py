"""CraftsMan3D's grid of times: from noise (1) nearly to data; the velocity points to the noise.

The released code builds the grid of `diffusers`' flow-matching scheduler with one time too many and never integrates
to its end, which is not 0 either: a little noise stays. That scheduler shifts the range of times once when it is made
and the times again when it is used.
"""

from __future__ import annotations

import numpy as np

from v2m4.generators.vecset.flow import FlowGrid, Numbers, shifted

TRAIN_STEPS = 1000


def sigmas(steps: int, shift: float = 3.0, train_steps: int = TRAIN_STEPS) -> Numbers:
    """The noise levels (steps + 1,), of which the network is asked at all but the last."""
    lowest = shifted(np.array(1 / train_steps), shift)
    return shifted(np.linspace(1, float(lowest), steps + 1), shift)


def flow_grid(steps: int, shift: float = 3.0, train_steps: int = TRAIN_STEPS) -> FlowGrid:
    """The network is told thousandths of the noise level."""
    levels = sigmas(steps, shift, train_steps)
    return FlowGrid(train_steps * levels[:-1], np.diff(levels))
