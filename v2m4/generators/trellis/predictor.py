"""The generator `trellis`: pictures in; voxels, latent, mesh and Gaussians out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.errors import NoSurfaceError, V2M4Error
from v2m4.generators import Generated
from v2m4.generators.trellis.builder import from_pretrained
from v2m4.generators.trellis.checkpoints import ENCODER_REPOSITORY, PLUG, REPOSITORY
from v2m4.generators.trellis.conditioning import encoder_input, negative_condition, object_image
from v2m4.generators.trellis.flexicubes import MeshResult
from v2m4.generators.trellis.model import TrellisModel, TrellisSample, with_index
from v2m4.generators.trellis.sampler import MultiImage, SamplerSettings
from v2m4.generators.trellis.second_pass import SecondPass, pack
from v2m4.geometry.cleanup import clean
from v2m4.geometry.mesh import Mesh
from v2m4.nn.weights import memory_guard
from v2m4.settings import GeneratorSettings, Settings

_MOST_VOXELS = 100_000  # a surface's shell has 10 000 to 40 000 of the 64^3


class Trellis:
    """TRELLIS image-large (Xiang et al., arXiv 2412.01506).

    Weights are loaded at the first call for a device and kept. Fulfils the `Generator` protocol; `Generated.extras`
    holds what `resume` needs, as tensors.
    """

    def __init__(
        self,
        settings: GeneratorSettings | None = None,
        device: torch.device | str = "cpu",
        low_vram: bool = False,
        source: str = REPOSITORY,
        encoder_source: str = ENCODER_REPOSITORY,
        multi_image: MultiImage = "stochastic",
        model: TrellisModel | None = None,
    ) -> None:
        """`source`, `encoder_source`: Hub repository or folder. `multi_image`: see `sampler.velocity`.

        With `model` nothing is loaded; that model serves the device it was built for.
        """
        self.settings = settings or GeneratorSettings()
        self.device = with_index(torch.device(device))
        self.low_vram = low_vram
        self.source = source
        self.encoder_source = encoder_source
        self.multi_image = multi_image
        self._models: dict[torch.device, TrellisModel] = {}
        if model is not None:
            self._models[model.device] = model

    def model(self, device: torch.device | str | None = None) -> TrellisModel:
        """The model on `device` (by default the plug's own), loaded if it is not there yet."""
        device = self.device if device is None else with_index(torch.device(device))
        if device not in self._models:
            self._models[device] = from_pretrained(
                self.source, device=device, low_vram=self.low_vram, encoder_source=self.encoder_source
            )
        return self._models[device]

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Trellis:
        """The plug for a run's settings."""
        return cls(settings.generator, device, settings.low_vram)

    def __call__(
        self,
        reference: NDArray[np.uint8],
        rng: torch.Generator,
        device: torch.device | str | None = None,
    ) -> Generated:
        """Mesh of the object in `reference` (S, S, 4) uint8 RGBA with straight alpha.

        Raises V2M4Error if the picture is empty, the structure comes out empty, or memory is too small.
        """
        sample = self.generate([reference], rng, device)
        mesh = clean(as_mesh(sample.mesh), self.settings.max_faces, self.settings.cleanup)
        return Generated(mesh=mesh, extras=pack(sample))

    def resume(self, extras: Mapping[str, Tensor], device: torch.device | str | None = None) -> SecondPass:
        """Take up again, for refinement, the object that came with these `Generated.extras`."""
        model = self.model(device)
        return SecondPass(model, extras, self._sampling(model.latent_sampling), self.settings)

    @torch.no_grad()
    def generate(
        self,
        images: Sequence[NDArray[np.uint8]],
        rng: torch.Generator,
        device: torch.device | str | None = None,
    ) -> TrellisSample:
        """One object from one or several pictures (H, W, 4) uint8 of it.

        The noise of the structure, then of the latent, is drawn from `rng`; a CPU generator gives the same noise
        on every machine.
        """
        if not images:
            raise V2M4Error("TRELLIS needs at least one picture of the object.")
        model = self.model(device)
        structure_sampling = self._sampling(model.structure_sampling)
        latent_sampling = self._sampling(model.latent_sampling)
        with memory_guard(PLUG):
            cond = self.encode(model, images)
            negative = negative_condition(cond)
            noise = _noise(model.structure_noise_shape(), rng, model.device)
            z = model.sample_structure(noise, cond, negative, structure_sampling, self.multi_image)
            voxels = model.decode_structure(z)
            if len(voxels) > _MOST_VOXELS:
                raise NoSurfaceError(
                    f"TRELLIS made noise instead of an object ({len(voxels)} occupied voxels). Try another seed or "
                    "another generator."
                )
            noise = _noise((len(voxels), model.latent_flow.in_channels), rng, model.device)
            slat, states = model.sample_latent(voxels, noise, cond, negative, latent_sampling, self.multi_image)
            mesh = model.decode_mesh(slat, voxels)[0]
        if not mesh.success:
            raise NoSurfaceError("TRELLIS made an object without a surface. Try another seed or another generator.")
        return TrellisSample(model, cond, negative, voxels, noise, slat, states, mesh)

    def _sampling(self, of_the_model: SamplerSettings) -> SamplerSettings:
        return replace(of_the_model, steps=self.settings.trellis.steps, guidance=self.settings.trellis.guidance)

    @staticmethod
    def encode(model: TrellisModel, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Condition tokens (K, T, C) of the objects in K pictures (H, W, 4) uint8."""
        if model.image_encoder is None:
            raise V2M4Error("This TRELLIS model was built without an image encoder; load it with from_pretrained.")
        pixels = torch.stack([encoder_input(object_image(image)) for image in images]).to(model.device)
        with model.resident(model.image_encoder):
            cond: Tensor = model.image_encoder(pixels)
        return cond


def as_mesh(result: MeshResult) -> Mesh:
    """A decoded mesh with its colours at the vertices."""
    return Mesh(vertices=result.vertices, faces=result.faces.long(), colors=result.attributes[:, :3])


def _noise(shape: tuple[int, ...], rng: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn(shape, generator=rng, device=rng.device).to(device)
