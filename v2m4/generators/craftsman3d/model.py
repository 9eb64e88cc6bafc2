"""CraftsMan3D's networks and the way its flow is asked."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from v2m4.generators.vecset.attention import KeysValues
from v2m4.generators.vecset.model import VecsetModel


@dataclass
class CraftsManModel(VecsetModel[list[KeysValues]]):
    """As `VecsetModel`, but the flow is told times rounded to its own number format, as it was in training."""

    def velocity(self, x: Tensor, time: Tensor, context: list[KeysValues]) -> Tensor:
        return super().velocity(x, time.to(x.dtype), context)
