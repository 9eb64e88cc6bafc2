"""How different two pictures look: the port, and the plugs that fill it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from v2m4.registry import Plug


class Perceptual(Protocol):
    """An image distance. What depends on the reference alone is computed once, by `prepare`."""

    def prepare(self, reference: Tensor) -> object:
        """``reference``: (H,W,3) float32 in [0,1] on black. The result is handed to `__call__`."""
        ...

    def __call__(self, prepared: object, images: Tensor) -> Tensor:
        """``images``: (N,H,W,3) float32 in [0,1] on black. Returns (N,), lower is more alike, differentiable."""
        ...


PERCEPTUALS: dict[str, Plug] = {}
