"""Section 4.2: the look of each mesh, through the generator's negative embedding (TRELLIS only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from v2m4.settings.schema import Range


@dataclass(frozen=True)
class RefinementSettings:
    """Section 4.2: the look of each mesh, through the generator's negative embedding (TRELLIS only)."""

    enabled: bool = True
    """Whether meshes whose generator allows it are refined."""
    start_t: Annotated[float, Range(-1, 1)] = 0.7
    """The embedding is optimised in sampling steps whose time t is at most this; negative for never. The noise stays
    that of the first pass. The paper says 0.6; of 12 steps one begins at 0.6 itself and the one before at 0.68, where
    more of the look is still open."""
    iterations: Annotated[int, Range(1, 1000)] = 2
    """Iterations of the optimiser per sampling step at first."""
    iterations_grow_every: Annotated[int, Range(0, 1000)] = 0
    """One iteration more after this many sampling steps; 0 for never."""
    lr: Annotated[float, Range(1e-8, 10)] = 0.05
    """Adam's step."""
    restart: bool = True
    """Whether the optimiser forgets its averages when a sampling step begins: slopes get far smaller from step to step,
    and averages of the first ones would hold the later ones back."""
    alternate: bool = True
    """Decode the mesh and the Gaussians in turn instead of both in every iteration."""
    keep_better: bool = True
    """Return the first pass's object where that is closer to the picture."""
    image_size: Annotated[int, Range(32, 1024)] = 392
    """Side of the renderings, in pixels."""
    supersampling: Annotated[int, Range(1, 8)] = 2
    """Renderings are made this many times larger along each side, then averaged."""
    dreamsim_weight: Annotated[float, Range(0, 1000)] = 1.0
    """Weight of the DreamSim distance; 0 leaves its network out."""
    lpips_weight: Annotated[float, Range(0, 1000)] = 1.0
    """Weight of the LPIPS distance; 0 leaves its network out."""
    mse_weight: Annotated[float, Range(0, 1000)] = 1.0
    """Weight of the mean squared colour difference."""
    anchor_weight: Annotated[float, Range(0, 1000)] = 0.2
    """Pull of the embedding towards its start."""
