"""What every generator over vector sets does with a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.generators import Generated
from v2m4.generators.trellis.model import with_index
from v2m4.generators.vecset.flow import FlowGrid
from v2m4.generators.vecset.model import VecsetModel
from v2m4.generators.vecset.surface import Extraction, finish
from v2m4.nn.weights import memory_guard
from v2m4.settings import GeneratorSettings, Settings

Model = TypeVar("Model", bound=VecsetModel[Any])


class VecsetGenerator(ABC, Generic[Model]):
    """Picture -> tokens -> latents -> surface -> cleaned mesh in the canonical frame, without colours.

    Weights are loaded at the first call for a device and kept. Fulfils the `Generator` protocol.
    """

    plug: ClassVar[str]
    repository: ClassVar[str]

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Self:
        """The plug for a run's settings."""
        return cls(settings.generator, device, settings.low_vram)

    def __init__(
        self,
        settings: GeneratorSettings | None = None,
        device: torch.device | str = "cpu",
        low_vram: bool = False,
        source: str | None = None,
        model: Model | None = None,
    ) -> None:
        """`source`: Hub repository or folder. With `model` nothing is loaded; it serves the device it was built for."""
        self.settings = settings or GeneratorSettings()
        self.device = with_index(torch.device(device))
        self.low_vram = low_vram
        self.source = source or self.repository
        self._models: dict[torch.device, Model] = {}
        if model is not None:
            self._models[model.device] = model

    @abstractmethod
    def load(self, device: torch.device) -> Model:
        """The model on `device`."""

    @abstractmethod
    def pixels(self, reference: NDArray[np.uint8], model: Model) -> Tensor:
        """The encoder's input (1, 3, H, W) for a picture (S, S, 4)."""

    @abstractmethod
    def flow_grid(self, model: Model) -> FlowGrid:
        """The sampler's steps."""

    @abstractmethod
    def guidance(self) -> float | None:
        """Strength of the guidance, None for none."""

    @abstractmethod
    def extraction(self, model: Model) -> Extraction:
        """The grid on which the surface is found."""

    def model(self, device: torch.device | str | None = None) -> Model:
        """The model on `device` (by default the plug's own), loaded if it is not there yet."""
        device = self.device if device is None else with_index(torch.device(device))
        if device not in self._models:
            self._models[device] = self.load(device)
        return self._models[device]

    @torch.no_grad()
    def __call__(
        self,
        reference: NDArray[np.uint8],
        rng: torch.Generator,
        device: torch.device | str | None = None,
    ) -> Generated:
        """Mesh of the object in `reference` (S, S, 4) uint8 RGBA with straight alpha.

        Raises V2M4Error if the picture is empty, no surface comes out, or memory is too small.
        """
        model = self.model(device)
        with memory_guard(self.plug):
            tokens = model.encode(self.pixels(reference, model))
            latents = model.sample(tokens, model.noise(rng), self.flow_grid(model), self.guidance())
            mesh = model.surface(latents, self.extraction(model))
        return Generated(mesh=finish(mesh, self.settings.max_faces, self.settings.vecset_cleanup))
