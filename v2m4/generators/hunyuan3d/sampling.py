"""Hunyuan3D-2's grid of times: from noise (0) to data (1); the velocity points to the data.

The consistency grid belongs to the distilled "turbo" networks (phased consistency, Wang et al., arXiv 2405.18407).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from v2m4.generators.vecset.flow import FlowGrid, Numbers, shifted

TRAIN_STEPS = 1000
PHASES = 50
"""Where a configuration does not say; the released turbo network says 100."""


def sigmas(steps: int, shift: float = 1.0) -> Numbers:
    """Times (steps + 1,) from 0 to 1; the last 1 comes twice, so that the last step has no length."""
    return np.append(shifted(np.linspace(0, 1, steps), shift), 1.0)


def consistency_sigmas(steps: int, phases: int = PHASES, train_steps: int = TRAIN_STEPS) -> Numbers:
    """Times (steps + 1,) of a network distilled at `phases` of the training's times."""
    trained = np.linspace(0, 1, train_steps)
    distilled = np.append(0, np.arange(1, phases) * (train_steps // phases) - 1)
    chosen = np.floor(np.linspace(0, phases, steps, endpoint=False)).astype(np.int64)
    return np.append(trained[distilled][chosen], 1.0)


def flow_grid(times: Numbers) -> FlowGrid:
    """The steps between `times`; steps without length are left out, as they change nothing."""
    lengths = np.diff(times)
    kept = lengths > 0
    return FlowGrid(times[:-1][kept], lengths[kept])


def model_time(time: Tensor, dtype: torch.dtype) -> Tensor:
    """The time that reaches a network of type `dtype`: rounded in thousandths, then divided, both in that type."""
    return (TRAIN_STEPS * time).to(dtype) / TRAIN_STEPS
