"""The `lpips` plug: LPIPS with a VGG-16 trunk (Zhang et al., CVPR 2018, arXiv 1801.03924), version 0.1.

The `lpips` package brings the calibrated channel weights; its code is not imported, because it needs torchvision only
for the trunk, which is plain PyTorch here and takes torchvision's published weights.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.errors import V2M4Error
from v2m4.nn.precision import Precision, choose_precision, computing
from v2m4.nn.weights import fetch_url, load_strictly, memory_guard, read_state_dict
from v2m4.perceptual import PERCEPTUALS
from v2m4.settings import Settings

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)
# Version 0.1 standardises images in [-1, 1] by these.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPS = 1e-10


class Vgg16Features(nn.Module):
    """VGG-16's convolutions (arXiv 1409.1556) up to relu5_3; parameter names are torchvision's."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        taps: list[int] = []
        before = 3
        for width, count in zip(CHANNELS, CONVOLUTIONS, strict=True):
            if taps:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            taps.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        self.taps = tuple(taps)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Activations after the last convolution of each of the five scales, (N, channels, h, w)."""
        kept = []
        for k, layer in enumerate(self.features):
            x = layer(x)
            if k in self.taps:
                kept.append(x)
        return kept


class LpipsNetwork(nn.Module):
    """Trunk and channel weights. Weights of channels are positive; names are those of the `lpips` package."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Vgg16Features()
        for name, values in (("shift", SHIFT), ("scale", SCALE)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        for k, width in enumerate(CHANNELS):
            self.register_parameter(f"lin{k}", nn.Parameter(torch.ones(width) / width))

    def features(self, images: Tensor) -> list[Tensor]:
        """Activations of `images` (N, H, W, 3) in [0, 1], each pixel's channels of unit length."""
        activations = self.trunk((images.permute(0, 3, 1, 2) * 2 - 1 - self.shift) / self.scale)
        # Where no channel fires the length is EPS rather than zero, at which the slope of a root would be infinite.
        return [x / (x.float().square().sum(1, keepdim=True) + EPS**2).sqrt() for x in activations]

    def level_maps(self, reference: list[Tensor], images: list[Tensor]) -> list[Tensor]:
        """Weighted squared differences (N, h, w) of each level."""
        return [
            torch.einsum("nchw,c->nhw", (b - a).square(), self.get_parameter(f"lin{k}"))
            for k, (a, b) in enumerate(zip(reference, images, strict=True))
        ]


class PreparedReference(NamedTuple):
    """The reference's activations and its size (H, W)."""

    features: list[Tensor]
    size: tuple[int, int]


class Lpips:
    """LPIPS-VGG between one reference and many pictures. Create from published weights, or around a `network`."""

    name = "lpips"

    def __init__(
        self,
        device: torch.device | str = "cpu",
        network: LpipsNetwork | None = None,
        precision: Precision = "auto",
        images_per_batch: int = 16,
    ) -> None:
        self.device = torch.device(device)
        self.precision = choose_precision(precision, self.device)
        self.images_per_batch = images_per_batch
        with memory_guard(self.name):
            network = load_lpips() if network is None else network
            self.network = network.eval().requires_grad_(False).to(self.device)
            if self.device.type == "cuda":  # the order that its convolutions compute in
                for weight in self.network.trunk.parameters():
                    weight.data = weight.data.contiguous(memory_format=_order_of(weight))

    @torch.no_grad()
    def prepare(self, reference: Tensor) -> PreparedReference:
        """Activations of `reference` (H, W, 3) in [0, 1]."""
        with memory_guard(self.name), computing(self.precision, self.device):
            features = self.network.features(reference.to(self.device).float().unsqueeze(0))
        return PreparedReference(features, (reference.shape[0], reference.shape[1]))

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Lpips:
        """The plug for a run's settings."""
        return cls(device)

    def __call__(self, prepared: object, images: Tensor) -> Tensor:
        """(N,) distances of `images` (N, H, W, 3) in [0, 1]; differentiable. Another size is resampled first."""
        assert isinstance(prepared, PreparedReference)
        parts = [torch.stack([m.mean((1, 2)) for m in maps]).sum(0) for maps in self._levels(prepared, images)]
        return torch.cat(parts)

    def maps(self, prepared: PreparedReference, images: Tensor) -> Tensor:
        """(N, H, W) distance per pixel of the reference; levels are enlarged bilinearly and added."""
        parts = []
        for levels in self._levels(prepared, images):
            enlarged = [
                F.interpolate(m.unsqueeze(1), size=prepared.size, mode="bilinear", align_corners=False)[:, 0]
                for m in levels
            ]
            parts.append(torch.stack(enlarged).sum(0))
        return torch.cat(parts)

    def _levels(self, prepared: PreparedReference, images: Tensor) -> list[list[Tensor]]:
        images = images.to(self.device).float()
        if (images.shape[1], images.shape[2]) != prepared.size:
            channels_first = images.permute(0, 3, 1, 2)
            resampled = F.interpolate(channels_first, size=prepared.size, mode="bilinear", antialias=True)
            images = resampled.permute(0, 2, 3, 1)
        batches = []
        with memory_guard(self.name), computing(self.precision, self.device):
            for batch in images.split(self.images_per_batch):
                features = self.network.features(batch)
                batches.append([m.float() for m in self.network.level_maps(prepared.features, features)])
        return batches


def _order_of(weight: Tensor) -> torch.memory_format:
    return torch.channels_last if weight.dim() == 4 else torch.contiguous_format


def network_state(vgg: Mapping[str, Tensor], linear: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of `LpipsNetwork` from torchvision's VGG-16 (its classifier is left out) and the package's weights."""
    trunk = {f"trunk.{name}": tensor for name, tensor in vgg.items() if not name.startswith("classifier.")}
    return trunk | {name.split(".")[0]: tensor.flatten() for name, tensor in linear.items()}


def load_lpips() -> LpipsNetwork:
    """The network with the published weights; V2M4Error says what is missing."""
    network = LpipsNetwork()
    linear = read_state_dict(_package_weights(), Lpips.name)
    ((filename, url, sha256_start),) = PERCEPTUALS[Lpips.name].torch_files
    vgg = read_state_dict(fetch_url(url, filename, Lpips.name, sha256_start), Lpips.name)
    load_strictly(network, network_state(vgg, linear), Lpips.name)
    return network


def _package_weights() -> Path:
    spec = importlib.util.find_spec("lpips")
    if spec is None or not spec.submodule_search_locations:
        raise V2M4Error("lpips: the package is not installed. Run `pip install lpips`, or choose another plug.")
    return Path(next(iter(spec.submodule_search_locations))) / "weights" / "v0.1" / "vgg.pth"
