"""The five networks as one model, in pure tensors: condition tokens -> structure -> latent -> mesh and Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile

import torch
from torch import Tensor, nn

from v2m4.device import on_device
from v2m4.generators.trellis.conditioning import ImageEncoder
from v2m4.generators.trellis.decoders import SLatGaussianDecoder, SLatMeshDecoder
from v2m4.generators.trellis.flexicubes import MeshResult, extract
from v2m4.generators.trellis.latent import SLatFlowModel
from v2m4.generators.trellis.sampler import MultiImage, SamplerSettings, Step, VelocityModel, sample
from v2m4.generators.trellis.structure import SparseStructureDecoder, SparseStructureFlowModel, occupied_voxels
from v2m4.generators.trellis.voxels import Voxels
from v2m4.nn.cuda_graphs import Replayed
from v2m4.render.splats import Gaussians

SLAT_MEAN = (
    -2.1687545776367188,
    -0.004347046371549368,
    -0.13352349400520325,
    -0.08418072760105133,
    -0.5271206498146057,
    0.7238689064979553,
    -1.1414450407028198,
    1.2039363384246826,
)
SLAT_STD = (
    2.377650737762451,
    2.386378288269043,
    2.124418020248413,
    2.1748552322387695,
    2.663944721221924,
    2.371192216873169,
    2.6217446327209473,
    2.684523105621338,
)


@dataclass
class TrellisModel:
    """The networks of one checkpoint and the numbers that belong to it.

    Networks rest on `device`, or with `low_vram` on the CPU except inside `resident`. `image_encoder` may be absent
    where conditions are given as tokens.
    """

    structure_flow: SparseStructureFlowModel
    structure_decoder: SparseStructureDecoder
    latent_flow: SLatFlowModel
    mesh_decoder: SLatMeshDecoder
    gaussian_decoder: SLatGaussianDecoder
    image_encoder: ImageEncoder | None = None
    slat_mean: tuple[float, ...] = SLAT_MEAN
    slat_std: tuple[float, ...] = SLAT_STD
    structure_sampling: SamplerSettings = field(default_factory=SamplerSettings)
    latent_sampling: SamplerSettings = field(default_factory=SamplerSettings)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    low_vram: bool = False
    rehearsed: bool = False
    """Whether this process has called its networks backward on the GPU, so that libraries have their kernels ready."""

    def __post_init__(self) -> None:
        self.device = with_index(self.device)
        self._mean, self._std = (torch.tensor(v, device=self.device) for v in (self.slat_mean, self.slat_std))
        for network in self.networks():
            network.eval().requires_grad_(False)
            if not self.low_vram:
                network.to(self.device)
        self._structure = self._replayed(self.structure_flow)

    def networks(self) -> list[nn.Module]:
        """All networks that are present."""
        parts = (
            self.structure_flow,
            self.structure_decoder,
            self.latent_flow,
            self.mesh_decoder,
            self.gaussian_decoder,
            self.image_encoder,
        )
        return [p for p in parts if p is not None]

    @contextmanager
    def resident(self, *networks: nn.Module) -> Iterator[None]:
        """Have `networks` on the device inside the block; with `low_vram` they go back to the CPU at its end.

        Blocks may be nested: a network stays until the outermost block that named it ends.
        """
        with on_device(networks if self.low_vram else (), self.device):
            yield

    def set_checkpointing(self, active: bool) -> None:
        """Trade time for memory where gradients flow: recompute each block's inside in the backward pass."""
        for network in (self.structure_flow, self.latent_flow, self.mesh_decoder, self.gaussian_decoder):
            network.checkpointing = active

    def structure_noise_shape(self) -> tuple[int, ...]:
        """Shape of the noise that the structure starts from, for one item."""
        resolution = self.structure_flow.resolution
        return (1, self.structure_flow.in_channels, resolution, resolution, resolution)

    def structure_velocity(self) -> VelocityModel:
        """The structure flow as the sampler calls it; on a GPU recorded once for all objects."""

        def velocity(x: Tensor, t: float, cond: Tensor) -> Tensor:
            return self._structure(x, _times(t, x.shape[0], x.device), cond)

        return velocity

    def latent_velocity(self, voxels: Voxels) -> VelocityModel:
        """The latent flow on `voxels` as the sampler calls it; a state of k N rows is k copies of the batch."""

        def flow(x: Tensor, times: Tensor, cond: Tensor) -> Tensor:
            out: Tensor = self.latent_flow(x, voxels.repeated(x.shape[0] // len(voxels)), times, cond)
            return out

        recorded = self._replayed(flow)  # for these voxels: two dozen steps earn it back

        def velocity(x: Tensor, t: float, cond: Tensor) -> Tensor:
            return recorded(x, _times(t, voxels.batch_size * (x.shape[0] // len(voxels)), x.device), cond)

        return velocity

    def _replayed(self, network: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """``network`` recorded, where its weights stay in their place. With gradients it is called as it is."""
        if self.low_vram:
            return network
        replayed = Replayed(network)

        def call(*inputs: Tensor) -> Tensor:
            return network(*inputs) if torch.is_grad_enabled() else replayed(*inputs)

        return call

    def sample_structure(
        self,
        noise: Tensor,
        cond: Tensor,
        negative: Tensor,
        settings: SamplerSettings | None = None,
        multi_image: MultiImage = "stochastic",
    ) -> Tensor:
        """Noise (B, C, R, R, R) and conditions (K, T, C) -> the structure latent (B, C, R, R, R)."""
        with self.resident(self.structure_flow):
            steps = sample(
                self.structure_velocity(), noise, cond, negative, settings or self.structure_sampling, multi_image
            )
            return _last(steps).x

    def decode_structure(self, z: Tensor) -> Voxels:
        """Structure latent -> occupied voxels; raises V2M4Error if there are none."""
        with self.resident(self.structure_decoder):
            return Voxels(occupied_voxels(self.structure_decoder(z)))

    def sample_latent(
        self,
        voxels: Voxels,
        noise: Tensor,
        cond: Tensor,
        negative: Tensor,
        settings: SamplerSettings | None = None,
        multi_image: MultiImage = "stochastic",
    ) -> tuple[Tensor, Tensor]:
        """Noise (N, C) on `voxels` -> the structured latent (N, C), de-normalised, and the states (S, N, C) where the
        first S steps begin, as long as guidance is on: the first is the noise."""
        # Both branches one after the other: one recording then serves all steps, and the GPU is busy with either. What
        # is not recorded takes longer to launch than to compute: both at once then.
        velocity, settings, paired = self.latent_velocity(voxels), settings or self.latent_sampling, self.low_vram
        with self.resident(self.latent_flow):
            steps = list(sample(velocity, noise, cond, negative, settings, multi_image, paired))
        alike = multi_image == "stochastic" or len(cond) == len(negative)  # to how a second pass takes its pictures
        guided = takewhile(lambda step: step.guided and alike, steps[:-1])
        return self.denormalise(steps[-1].x), torch.stack([noise, *(step.x for step in guided)])

    def denormalise(self, x: Tensor) -> Tensor:
        """What the latent flow makes (N, C) -> the latent that the decoders take."""
        return denormalise(x, self._mean, self._std)

    def decode_mesh(self, slat: Tensor, voxels: Voxels) -> list[MeshResult]:
        """Structured latent (N, C) -> one mesh per item in [-0.5, 0.5]^3; differentiable in `slat`."""
        with self.resident(self.mesh_decoder):
            features, fine = self.mesh_decoder(slat, voxels)
        return [
            extract(coords[:, 1:], item, self.mesh_decoder.grid_resolution)
            for item, coords in zip(features.split(fine.counts), fine.coords.split(fine.counts), strict=True)
        ]

    def decode_gaussians(self, slat: Tensor, voxels: Voxels) -> list[Gaussians]:
        """Structured latent (N, C) -> the Gaussians of each item; differentiable in `slat`."""
        with self.resident(self.gaussian_decoder):
            raw = self.gaussian_decoder(slat, voxels)
            return [
                self.gaussian_decoder.gaussians(item, coords[:, 1:])
                for item, coords in zip(raw.split(voxels.counts), voxels.coords.split(voxels.counts), strict=True)
            ]


@dataclass(frozen=True)
class TrellisSample:
    """One object made by TRELLIS, with all that a second pass over its latent needs.

    cond (K, T, C): tokens of the K pictures; negative (1, T, C): zeros; noise (N, 8): what the latent started from;
    slat (N, 8): the de-normalised latent on `voxels`; states (S, N, 8): see `TrellisModel.sample_latent`.
    """

    model: TrellisModel
    cond: Tensor
    negative: Tensor
    voxels: Voxels
    noise: Tensor
    slat: Tensor
    states: Tensor
    mesh: MeshResult

    @cached_property
    @torch.no_grad()
    def gaussians(self) -> Gaussians:
        """The other way to show it, decoded when it is asked for."""
        return self.model.decode_gaussians(self.slat, self.voxels)[0]


def with_index(device: torch.device) -> torch.device:
    """`device` as tensors on it report it: "cuda" becomes the current GPU."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def denormalise(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """x * std + mean per channel of (N, C)."""
    return x * std + mean


def _times(t: float, batch: int, device: torch.device) -> Tensor:
    return torch.full((batch,), t, dtype=torch.float32, device=device)


def _last(steps: Iterator[Step]) -> Step:
    step = next(steps)
    for following in steps:
        step = following
    return step
