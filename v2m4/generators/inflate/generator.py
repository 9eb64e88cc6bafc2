"""Silhouette inflation: a closed, textured mesh from one picture, without weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from v2m4.arrays import Bytes
from v2m4.errors import V2M4Error
from v2m4.generators import Generated
from v2m4.generators.inflate.heights import round_heights
from v2m4.generators.inflate.outline import crop_object, trace
from v2m4.generators.inflate.sheet import sheet
from v2m4.settings import InflateSettings, Settings
from v2m4.settings.schema import problems


@dataclass(frozen=True)
class Inflate:
    """The generator `inflate`. Raises `V2M4Error` for settings outside their ranges."""

    settings: InflateSettings = field(default_factory=InflateSettings)

    def __post_init__(self) -> None:
        wrong = [f"generator.inflate.{sentence}" for sentence in problems(self.settings)]
        if wrong:
            raise V2M4Error(" ".join(wrong))

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Inflate:
        """The plug for a run's settings."""
        return cls(settings.generator.inflate)

    def __call__(self, reference: Bytes, rng: torch.Generator, device: torch.device | str = "cpu") -> Generated:
        """A closed, textured mesh and its camera from an (S,S,4) uint8 picture. Raises `V2M4Error` if it is empty."""
        crop = crop_object(reference, self.settings.working_size)
        outline = trace(crop.rgba[..., 3], self.settings)
        heights = round_heights(outline.distance, self.settings)
        made = sheet(reference, crop, outline, heights, self.settings)
        camera = made.camera
        assert camera is not None
        return Generated(made.mesh.to(device), camera.to(device))
