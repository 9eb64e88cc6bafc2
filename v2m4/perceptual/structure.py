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

from v2m4.settings import Settings

_WINDOW = 7
_FINEST = 112  # larger pictures are shrunk to this: finer detail hardly helps to find a pose
_COARSEST = 14
_STABLE = 4e-3  # variance, of brightness in [0,1], below which a neighbourhood counts as plain


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

    def __init__(
        self,
        device: torch.device | str = "cpu",
        presence_weight: float = 0.4,
        structure_weight: float = 0.35,
        color_weight: float = 0.25,
    ) -> None:
        self.device = device
        self.weights = (presence_weight, structure_weight, color_weight)

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Structure:
        """The plug for a run's settings."""
        return cls(device)

    def prepare(self, reference: Tensor) -> Prepared:
        """``reference``: (H,W,3) float32 in [0,1] on black."""
        return Prepared([_level(planes) for planes in _pyramid(reference[None].to(self.device))])

    def __call__(self, prepared: object, images: Tensor) -> Tensor:
        """``images``: (N,H,W,3) float32 in [0,1] on black. Returns (N,), differentiable."""
        assert isinstance(prepared, Prepared)
        total = torch.zeros(len(images), device=images.device)
        for reference, planes in zip(prepared.levels, _pyramid(images), strict=True):
            total = total + _distance(reference, _level(planes), self.weights)
        return total / len(prepared.levels)


def _pyramid(images: Tensor) -> list[Tensor]:
    """(N,4,h,w) of every scale: colour, and how surely there is an object."""
    planes = images.permute(0, 3, 1, 2)
    # Pictures come without a mask. Black is background; anything brighter than a few steps of 255 is not.
    presence = 1 - torch.exp(-40 * planes.amax(1, keepdim=True))
    planes = torch.cat([planes, presence], dim=1)
    if planes.shape[-1] > _FINEST:
        size = (_FINEST, _FINEST * planes.shape[-2] // planes.shape[-1])[::-1]
        planes = functional.adaptive_avg_pool2d(planes, size)
    levels = [planes]
    while min(levels[-1].shape[-2:]) >= 2 * _COARSEST:
        levels.append(functional.avg_pool2d(levels[-1], 2))
    return levels


def _level(planes: Tensor) -> Level:
    brightness = 0.299 * planes[:, :1] + 0.587 * planes[:, 1:2] + 0.114 * planes[:, 2:3]
    mean, square = _local_mean(torch.cat([brightness, brightness * brightness], dim=1)).split(1, dim=1)
    # Each channel's share of the brightest, smaller where it is too dark to tell.
    chroma = planes[:, :3] / (planes[:, :3].amax(1, keepdim=True) + 0.08)
    return Level(planes, brightness, mean, (square - mean * mean).clamp_min(0), chroma)


def _local_mean(x: Tensor) -> Tensor:
    """Mean over a window around each pixel, rows and columns in turn; only what lies inside the picture counts."""
    for window in ((_WINDOW, 1), (1, _WINDOW)):
        padding = (window[0] // 2, window[1] // 2)
        x = functional.avg_pool2d(x, window, stride=1, padding=padding, count_include_pad=False)
    return x


def _distance(a: Level, b: Level, weights: tuple[float, float, float]) -> Tensor:
    """(N,) how far the pictures b (N) are from a (1) at one scale."""
    area = a.planes[:, 3].sum((1, 2)).clamp_min(1.0)
    both = torch.minimum(a.planes[:, 3], b.planes[:, 3])
    either = torch.maximum(a.planes[:, 3], b.planes[:, 3])
    presence = 1 - both.sum((1, 2)) / either.sum((1, 2)).clamp_min(1e-6)
    covariance = _local_mean(a.brightness * b.brightness) - a.mean * b.mean
    alike = (covariance + _STABLE) / ((a.variance + _STABLE).sqrt() * (b.variance + _STABLE).sqrt())
    structure = ((1 - alike.clamp(-1, 1)[:, 0]) * either).sum((1, 2)) / area
    color = ((a.chroma - b.chroma).square().sum(1) + 1e-8).sqrt()
    color = (color * both + 0.5 * (either - both)).sum((1, 2)) / area
    return weights[0] * presence + weights[1] * structure / 2 + weights[2] * color
