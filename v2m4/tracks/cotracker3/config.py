"""The sizes of a CoTracker3 network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REPOSITORY = "facebook/cotracker3"
REVISION = "bf55ea50d4390e1820a267f131cd6587240fb2c5"
SHA256 = (
    ("scaled_offline.pth", "2670d4562ed69326dda775a26e54883925cd11b6fc9b24cb7aa9f8078bce7834"),
    ("scaled_online.pth", "205d34789f19699d64b22cf93f9b697f15f28d4025240e31532e504109837218"),
)
MOTION_FREQUENCIES = 10


@dataclass(frozen=True)
class CoTrackerConfig:
    """The defaults are those of the released offline network."""

    window_len: int = 60
    stride: int = 4
    corr_radius: int = 3
    corr_levels: int = 4
    latent_dim: int = 128
    num_virtual_tracks: int = 64
    model_resolution: tuple[int, int] = (384, 512)
    space_depth: int = 3
    time_depth: int = 3
    hidden_size: int = 384
    num_heads: int = 8
    corr_hidden: int = 384
    corr_out: int = 256

    @classmethod
    def from_official(cls, config: Mapping[str, Any]) -> CoTrackerConfig:
        """Read the constructor values; entries that are no sizes of the network are passed over."""
        known = {name: config[name] for name in cls.__dataclass_fields__ if name in config}
        return cls(**{**known, "model_resolution": tuple(known.get("model_resolution", cls.model_resolution))})

    @property
    def patch(self) -> int:
        """Points of a square neighbourhood that is compared."""
        return (2 * self.corr_radius + 1) ** 2

    @property
    def token_width(self) -> int:
        """Two logits, the correlations of every level, and both motions (x, y) with their sines and cosines."""
        return 2 + self.corr_levels * self.corr_out + 4 * (1 + 2 * MOTION_FREQUENCIES)


ONLINE = CoTrackerConfig(window_len=16)
