"""A TRELLIS with tiny random networks whose first mesh is a known one: random decoders give rubbish."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from tests.generators.trellis import tiny
from tests.parity.negative_optimisation import Absolute, SmallSquares
from tests.toys import ball
from v2m4.generators import Generated
from v2m4.generators.trellis.predictor import Trellis
from v2m4.geometry.mesh import Mesh
from v2m4.settings import GeneratorSettings, Settings, TrellisSettings


class KnownTrellis(Trellis):
    """The networks run and give what refinement needs; the mesh handed on is a long ball, in colours."""

    DISTANCES: ClassVar = {"dreamsim": SmallSquares(), "lpips": Absolute()}

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> KnownTrellis:
        options = GeneratorSettings(trellis=TrellisSettings(steps=settings.generator.trellis.steps), max_faces=500)
        return cls(options, device, model=tiny.model(device=device))

    def __call__(
        self, reference: NDArray[np.uint8], rng: torch.Generator, device: torch.device | str = "cpu"
    ) -> Generated:
        made = super().__call__(reference, rng, device)
        body = ball()
        shape = Mesh(body.vertices * torch.tensor([0.5, 0.3, 0.3]), body.faces, colors=0.5 + 0.4 * body.vertices)
        return Generated(shape, None, made.extras)
