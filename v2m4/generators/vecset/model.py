"""The three networks of a vector-set generator, in pure tensors: pixels -> tokens -> latents -> field."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic

import torch
from torch import Tensor, nn

from v2m4.device import on_device
from v2m4.generators.trellis.model import with_index
from v2m4.generators.vecset.decoder import VecsetDecoder
from v2m4.generators.vecset.flow import Context, FlowGrid, FlowNetwork, Velocity, euler, last
from v2m4.generators.vecset.surface import Extraction, extract
from v2m4.geometry.mesh import Mesh
from v2m4.nn.dinov2 import Dinov2

CHUNK_GPU = 65536
CHUNK_CPU = 8192
"""Points asked at once: what keeps a GPU busy, what stays in a processor's cache."""


@dataclass
class VecsetModel(Generic[Context]):
    """The networks of one checkpoint. They rest on `device`, or with `low_vram` on the CPU except while they work.

    tokens x channels: size of the latents.
    """

    plug: str
    encoder: Dinov2
    denoiser: FlowNetwork[Context]
    decoder: VecsetDecoder
    tokens: int
    channels: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    low_vram: bool = False

    def __post_init__(self) -> None:
        self.device = with_index(self.device)
        for network in self.networks():
            network.eval().requires_grad_(False)
            if not self.low_vram:
                network.to(self.device)

    def networks(self) -> tuple[nn.Module, ...]:
        """All networks."""
        return self.encoder, self.denoiser, self.decoder

    @contextmanager
    def resident(self, *networks: nn.Module) -> Iterator[None]:
        """Have `networks` on the device inside the block; with `low_vram` they go back to the CPU at its end."""
        with on_device(networks if self.low_vram else (), self.device):
            yield

    def encode(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (B, 3, H, W) -> tokens (B, T, C), class token first, registers removed."""
        with self.resident(self.encoder):
            dtype = self.encoder.pos_embed.dtype
            return self.encoder.without_registers(self.encoder(pixels.to(self.device, dtype)))

    def noise(self, rng: torch.Generator) -> Tensor:
        """What the flow starts from, (1, L, C); a CPU generator gives the same noise on every machine."""
        return torch.randn(1, self.tokens, self.channels, generator=rng, device=rng.device).to(self.device)

    def velocity(self, x: Tensor, time: Tensor, context: Context) -> Tensor:
        """The flow network as the sampler calls it; `time` (B,) float32 of the grid."""
        out: Tensor = self.denoiser(x, time, context)
        return out

    def sample(
        self,
        tokens: Tensor,
        noise: Tensor,
        grid: FlowGrid,
        guidance: float | None,
        velocity: Velocity[Context] | None = None,
    ) -> Tensor:
        """Latents (1, L, C) for a picture's tokens (1, T, C); `guidance` None: without. `velocity`: as the method."""
        with self.resident(self.denoiser):
            dtype = next(self.denoiser.parameters()).dtype
            conditions = tokens if guidance is None else torch.cat([torch.zeros_like(tokens), tokens])
            context = self.denoiser.prepare(conditions.to(dtype))
            return last(euler(velocity or self.velocity, noise, grid, context, guidance, dtype))

    def surface(self, latents: Tensor, extraction: Extraction) -> Mesh:
        """The shape that `latents` (1, L, C) stand for, in the model's own frame."""
        with self.resident(self.decoder):
            keys_values = self.decoder.keys_values(latents)
            chunk = CHUNK_GPU if self.device.type == "cuda" else CHUNK_CPU
            return extract(
                lambda points: self.decoder.query(points, keys_values), extraction, self.device, chunk, self.plug
            )
