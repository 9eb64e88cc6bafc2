"""The generator `craftsman3d`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.generators.craftsman3d.builder import from_pretrained
from v2m4.generators.craftsman3d.checkpoints import PLUG, REPOSITORY
from v2m4.generators.craftsman3d.model import CraftsManModel
from v2m4.generators.craftsman3d.picture import encoder_input
from v2m4.generators.craftsman3d.sampling import flow_grid
from v2m4.generators.vecset.flow import FlowGrid
from v2m4.generators.vecset.generator import VecsetGenerator
from v2m4.generators.vecset.surface import Extraction
from v2m4.generators.vecset.volume import halvings

BOUND = 1.05


def extraction(resolution: int, coarsest: int, bound: float = BOUND) -> Extraction:
    """The grid of `resolution` cells; the released code divides by nodes where it places vertices."""
    return Extraction(halvings(resolution, coarsest), bound, resolution + 1)


class CraftsMan3D(VecsetGenerator[CraftsManModel]):
    """CraftsMan3D with Dora's vector sets (Li et al., arXiv 2405.14979; Chen et al., arXiv 2412.17808)."""

    plug = PLUG
    repository = REPOSITORY

    def load(self, device: torch.device) -> CraftsManModel:
        return from_pretrained(self.source, device=device, low_vram=self.low_vram)

    def pixels(self, reference: NDArray[np.uint8], model: CraftsManModel) -> Tensor:
        return encoder_input(reference)

    def flow_grid(self, model: CraftsManModel) -> FlowGrid:
        return flow_grid(self.settings.craftsman3d.steps)

    def guidance(self) -> float | None:
        guidance = self.settings.craftsman3d.guidance
        return guidance if guidance > 0 else None

    def extraction(self, model: CraftsManModel) -> Extraction:
        return extraction(self.settings.craftsman3d.resolution, self.settings.craftsman3d.coarsest)
