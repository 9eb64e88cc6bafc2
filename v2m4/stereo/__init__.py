"""Pictures of one object to a point for every pixel: the port, and the plugs that fill it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from v2m4.registry import Plug


@dataclass(frozen=True)
class PointMaps:
    """points: (N,H,W,3) float32, all in one common frame, at arbitrary scale. confidence: (N,H,W), larger is better."""

    points: Tensor
    confidence: Tensor


class Stereo(Protocol):
    """A dense stereo model. The first picture is the video frame, the others are renderings of the mesh."""

    def __call__(self, images: Tensor) -> PointMaps:
        """``images``: (N,H,W,3) float32 in [0,1] on black."""
        ...


STEREOS: dict[str, Plug] = {}
