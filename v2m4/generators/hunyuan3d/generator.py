"""The generator `hunyuan3d`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.generators.hunyuan3d.builder import from_pretrained
from v2m4.generators.hunyuan3d.checkpoints import PLUG, REPOSITORY
from v2m4.generators.hunyuan3d.model import HunyuanModel
from v2m4.generators.hunyuan3d.picture import cropped, encoder_input, processed
from v2m4.generators.vecset.flow import FlowGrid
from v2m4.generators.vecset.generator import VecsetGenerator
from v2m4.generators.vecset.surface import Extraction
from v2m4.generators.vecset.volume import halvings

BOUND = 1.01


def extraction(resolution: int, coarsest: int, bound: float = BOUND) -> Extraction:
    """The grid of `resolution` cells; the released code divides by nodes where it places vertices."""
    return Extraction(halvings(resolution, coarsest), bound, resolution + 1)


class Hunyuan3D(VecsetGenerator[HunyuanModel]):
    """Hunyuan3D-2.0, the shape half (Zhao et al., arXiv 2501.12202)."""

    plug = PLUG
    repository = REPOSITORY

    def load(self, device: torch.device) -> HunyuanModel:
        variant = self.settings.hunyuan3d.variant
        return from_pretrained(self.source, device=device, low_vram=self.low_vram, variant=variant)

    def pixels(self, reference: NDArray[np.uint8], model: HunyuanModel) -> Tensor:
        image, _ = processed(cropped(reference))
        return encoder_input(image, model.encoder.config.image_size)

    def flow_grid(self, model: HunyuanModel) -> FlowGrid:
        return model.flow_grid(self.settings.hunyuan3d.steps)

    def guidance(self) -> float | None:
        guidance = self.settings.hunyuan3d.guidance
        return guidance if guidance >= 0 else None

    def extraction(self, model: HunyuanModel) -> Extraction:
        chosen = self.settings.hunyuan3d
        return extraction(chosen.resolution, chosen.coarsest)
