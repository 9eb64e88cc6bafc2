"""The generator `triposg`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.generators.triposg.builder import TripoSgModel, from_pretrained
from v2m4.generators.triposg.checkpoints import PLUG, REPOSITORY
from v2m4.generators.triposg.picture import encoder_input
from v2m4.generators.triposg.sampling import flow_grid
from v2m4.generators.vecset.flow import FlowGrid
from v2m4.generators.vecset.generator import VecsetGenerator
from v2m4.generators.vecset.surface import Extraction
from v2m4.generators.vecset.volume import VolumeRule, halvings

BOUND = 1.005
BLOCK = 4
"""The coarsest grid's cells are a multiple of this, less one."""
RULE = VolumeRule(dilations=2)


def extraction(resolution: int, coarsest: int) -> Extraction:
    """The grid for nominally `resolution` cells; the released code places vertices as if it had exactly so many."""
    return Extraction(halvings(resolution, coarsest, BLOCK), BOUND, resolution, RULE)


class TripoSg(VecsetGenerator[TripoSgModel]):
    """TripoSG (Li et al., arXiv 2502.06608)."""

    plug = PLUG
    repository = REPOSITORY

    def load(self, device: torch.device) -> TripoSgModel:
        return from_pretrained(self.source, device=device, low_vram=self.low_vram)

    def pixels(self, reference: NDArray[np.uint8], model: TripoSgModel) -> Tensor:
        return encoder_input(reference)

    def flow_grid(self, model: TripoSgModel) -> FlowGrid:
        return flow_grid(self.settings.triposg.steps)

    def guidance(self) -> float | None:
        guidance = self.settings.triposg.guidance
        return guidance if guidance > 1 else None

    def extraction(self, model: TripoSgModel) -> Extraction:
        return extraction(self.settings.triposg.resolution, self.settings.triposg.coarsest)
