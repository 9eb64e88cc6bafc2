"""Where points of a picture are in the pictures after it: the port, and the plugs that fill it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from v2m4.registry import Plug, by_name
from v2m4.tracks.cotracker3.config import REPOSITORY, REVISION, SHA256


@dataclass(frozen=True)
class Tracks:
    """positions: (T,N,2) float32 columns and rows, in pixels, the middle of the first pixel at 0. visible: (T,N) bool,
    False where a point is hidden or lost."""

    positions: Tensor
    visible: Tensor


class Tracker(Protocol):
    """Follows points through a clip."""

    def __call__(self, frames: Tensor, queries: Tensor) -> Tracks:
        """``frames``: (T,H,W,3) float32 in [0,1]. ``queries``: (N,3), for each point its frame, column and row."""
        ...


TRACKERS: dict[str, Plug[Tracker]] = by_name(
    Plug(
        "tracks",
        "cotracker3",
        "v2m4.tracks.cotracker3.predictor:CoTracker",
        "CoTracker3, whole clips at once; what the paper's release uses to guide the registration of meshes.",
        "CC BY-NC 4.0, non-commercial",
        False,
        preference=20,
        weights=((REPOSITORY, "scaled_offline.pth", REVISION),),
        sha256=SHA256,
        memory_gb=6,
        size_gb=0.1,
    ),
    Plug(
        "tracks",
        "cotracker3-online",
        "v2m4.tracks.cotracker3.predictor:CoTrackerOnline",
        "CoTracker3 in sliding windows, for clips of any length.",
        "CC BY-NC 4.0, non-commercial",
        False,
        preference=-1,
        weights=((REPOSITORY, "scaled_online.pth", REVISION),),
        sha256=SHA256,
        memory_gb=4,
        size_gb=0.1,
    ),
)
