"""I3D (Carreira and Zisserman 2017) as FVD asks it: 400 numbers per clip, before the softmax."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from v2m4.arrays import Float64
from v2m4.errors import V2M4Error
from v2m4.evaluation.judges import JUDGES
from v2m4.nn.weights import fetch, memory_guard
from v2m4.settings import Settings

Detector = Callable[[Tensor], Tensor]


class VideoFeatures:
    """Features of prepared clips, from the published TorchScript file or a ``detector`` given instead."""

    def __init__(self, device: torch.device | str = "cpu", detector: Detector | None = None) -> None:
        self.device = torch.device(device)
        self._detector = load_i3d(self.device) if detector is None else detector
        self.weights = JUDGES["i3d"].revisions[0]

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> VideoFeatures:
        """The published detector on ``device``."""
        return cls(device)

    @torch.no_grad()
    def __call__(self, clip: Tensor) -> Float64:
        """(400,) of a clip (3,T,224,224) in [-1,1]."""
        with memory_guard("i3d"):
            return self._detector(clip[None].to(self.device))[0].double().cpu().numpy()


def load_i3d(device: torch.device) -> Detector:
    """The published file. It is a program: it runs only if it is the very one that is pinned, else V2M4Error."""
    plug = JUDGES["i3d"]
    ((repo, file, revision),) = plug.weights
    path = fetch(repo, file, revision, plug.name)
    require_checksum(path, plug.checksum(file))
    module = torch.jit.load(str(path), map_location=device).eval()
    # Its own resizing and rescaling are off: `prepare_clip` did both, as the paper's evaluation does.
    return lambda clips: module(clips, rescale=False, resize=False, return_features=True)


def require_checksum(path: Path, expected: str) -> None:
    """Raise V2M4Error unless the SHA-256 of the file begins with ``expected``."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(expected):
        raise V2M4Error(
            f"i3d: {path} is another file than the pinned one (SHA-256 {found[:12]}, not {expected[:12]}), and is not "
            "run. Remove it, then `v2m4 download i3d`."
        )
