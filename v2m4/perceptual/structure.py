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

_WINDOW = 7
_FINEST = 112  # larger pictures are shrunk to this: finer detail hardly helps to find a pose
_COARSEST = 14
_STABLE = 4e-3  # variance, of brightness in [0,1], below which a neighbourhood counts as plain


@dataclass(frozen=True)
class Prepared:
    """The reference's features, finest scale first."""

    levels: list[Tensor]


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

    def prepare(self, reference: Tensor) -> Prepared:
        """``reference``: (H,W,3) float32 in [0,1] on black."""
        return Prepared(_pyramid(reference[None].to(self.device)))

    def __call__(self, prepared: object, images: Tensor) -> Tensor:
        """``images``: (N,H,W,3) float32 in [0,1] on black. Returns (N,), differentiable."""
        assert isinstance(prepared, Prepared)
        levels = _pyramid(images)
        total = torch.zeros(len(images), device=images.device)
        for reference, image in zip(prepared.levels, levels, strict=True):
            total = total + _distance(reference, image, self.weights)
        return total / len(levels)


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


def _distance(a: Tensor, b: Tensor, weights: tuple[float, float, float]) -> Tensor:
    area = a[:, 3].sum((1, 2)).clamp_min(1.0)
    both = torch.minimum(a[:, 3], b[:, 3])
    either = torch.maximum(a[:, 3], b[:, 3])
    presence = 1 - both.sum((1, 2)) / either.sum((1, 2)).clamp_min(1e-6)
    alike = _local_correlation(_brightness(a), _brightness(b))
    structure = ((1 - alike) * either).sum((1, 2)) / area
    color = ((_chroma(a) - _chroma(b)).square().sum(1) + 1e-8).sqrt()
    color = (color * both + 0.5 * (either - both)).sum((1, 2)) / area
    return weights[0] * presence + weights[1] * structure / 2 + weights[2] * color


def _brightness(x: Tensor) -> Tensor:
    return (0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]).clamp(0, 1)


def _chroma(x: Tensor) -> Tensor:
    """(N,3,h,w): each channel's share of the brightest, weighed down where it is too dark to tell."""
    top = x[:, :3].amax(1, keepdim=True)
    return x[:, :3] / (top + 0.08)


def _local_correlation(a: Tensor, b: Tensor) -> Tensor:
    """(N,h,w) in [-1,1]: how alike the variation around each pixel is, whatever its mean and contrast."""
    a, b = torch.broadcast_tensors(a, b)

    def mean(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, _WINDOW, stride=1, padding=_WINDOW // 2, count_include_pad=False)

    ma, mb = mean(a), mean(b)
    va, vb = (mean(a * a) - ma * ma).clamp_min(0), (mean(b * b) - mb * mb).clamp_min(0)
    covariance = mean(a * b) - ma * mb
    return ((covariance + _STABLE) / ((va + _STABLE).sqrt() * (vb + _STABLE).sqrt())).clamp(-1, 1)[:, 0]
