"""An image distance that needs no weights: where the object is, how its parts are laid out, and in which colours.

Both pictures are compared at several scales, so that a distance of a few pixels is felt as well as one of half the
picture. Brightness is compared only after each neighbourhood's mean and contrast are taken out (the structure term of
SSIM, Wang et al. 2004), and colours as chroma, so that a frame lit by the sun and a rendering without light can still
be alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from v2m4.settings import Settings, StructureSettings

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Level:
    """One scale of a batch of pictures: planes (N,4,h,w) of colour and presence, (N,1,h,w) brightness and its local
    mean and variance, and (N,3,h,w) chroma."""

    planes: Tensor
    brightness: Tensor
    mean: Tensor
    variance: Tensor
    chroma: Tensor


@dataclass(frozen=True)
class Prepared:
    """The reference's features, finest scale first."""

    levels: list[Level]


class Structure:
    """The distance as a `Perceptual`: 0 for equal pictures, about 1 for unlike ones."""

    def __init__(self, device: torch.device | str = "cpu", settings: StructureSettings | None = None) -> None:
        self.device = device
        self.settings = settings or StructureSettings()

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Structure:
        """The plug for a run's settings."""
        return cls(device, settings.camera.structure)

    def prepare(self, reference: Tensor) -> Prepared:
        """``reference``: (H,W,3) float32 in [0,1] on black."""
        scales = _pyramid(reference[None].to(self.device), self.settings)
        return Prepared([_level(planes, self.settings) for planes in scales])

    def __call__(self, prepared: object, images: Tensor) -> Tensor:
        """``images``: (N,H,W,3) float32 in [0,1] on black. Returns (N,), differentiable."""
        assert isinstance(prepared, Prepared)
        total = torch.zeros(len(images), device=images.device)
        for reference, planes in zip(prepared.levels, _pyramid(images, self.settings), strict=True):
            total = total + _distance(reference, _level(planes, self.settings), self.settings)
        return total / len(prepared.levels)


def _pyramid(images: Tensor, settings: StructureSettings) -> list[Tensor]:
    """(N,4,h,w) of every scale: colour, and how surely there is an object."""
    planes = images.permute(0, 3, 1, 2)
    # Pictures come without a mask. Black is background; anything brighter than a few steps of 255 is not.
    presence = 1 - torch.exp(-settings.presence * planes.amax(1, keepdim=True))
    planes = torch.cat([planes, presence], dim=1)
    finest = settings.finest
    if planes.shape[-1] > finest:
        size = (finest, finest * planes.shape[-2] // planes.shape[-1])[::-1]
        planes = functional.adaptive_avg_pool2d(planes, size)
    levels = [planes]
    while min(levels[-1].shape[-2:]) >= 2 * settings.coarsest:
        levels.append(functional.avg_pool2d(levels[-1], 2))
    return levels


def _level(planes: Tensor, settings: StructureSettings) -> Level:
    red, green, blue = _LUMA
    brightness = red * planes[:, :1] + green * planes[:, 1:2] + blue * planes[:, 2:3]
    both = torch.cat([brightness, brightness * brightness], dim=1)
    mean, square = _local_mean(both, settings.window).split(1, dim=1)
    # Each channel's share of the brightest, smaller where it is too dark to tell.
    chroma = planes[:, :3] / (planes[:, :3].amax(1, keepdim=True) + settings.dark)
    return Level(planes, brightness, mean, (square - mean * mean).clamp_min(0), chroma)


def _local_mean(x: Tensor, side: int) -> Tensor:
    """Mean over a window around each pixel, rows and columns in turn; only what lies inside the picture counts."""
    for window in ((side, 1), (1, side)):
        padding = (window[0] // 2, window[1] // 2)
        x = functional.avg_pool2d(x, window, stride=1, padding=padding, count_include_pad=False)
    return x


def _distance(a: Level, b: Level, settings: StructureSettings) -> Tensor:
    """(N,) how far the pictures b (N) are from a (1) at one scale."""
    area = a.planes[:, 3].sum((1, 2)).clamp_min(1.0)
    both = torch.minimum(a.planes[:, 3], b.planes[:, 3])
    either = torch.maximum(a.planes[:, 3], b.planes[:, 3])
    presence = 1 - both.sum((1, 2)) / either.sum((1, 2)).clamp_min(1e-6)
    covariance = _local_mean(a.brightness * b.brightness, settings.window) - a.mean * b.mean
    plain = settings.plain
    alike = (covariance + plain) / ((a.variance + plain).sqrt() * (b.variance + plain).sqrt())
    structure = ((1 - alike.clamp(-1, 1)[:, 0]) * either).sum((1, 2)) / area
    color = ((a.chroma - b.chroma).square().sum(1) + 1e-8).sqrt()
    color = (color * both + settings.missing * (either - both)).sum((1, 2)) / area
    weighted = settings.presence_weight * presence + settings.structure_weight * structure / 2
    return weighted + settings.color_weight * color
