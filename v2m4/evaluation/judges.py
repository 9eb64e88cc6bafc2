"""Measures of pictures and clips that come from a learned network: declared as plugs, gathered where their weights are.

A measure whose package or weights are absent is left out by name, with the sentence why. It is never replaced: another
CLIP counts only where it is asked for by name, and then bears its name wherever its values are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from v2m4.arrays import Bytes, Float64
from v2m4.errors import V2M4Error
from v2m4.perceptual import PERCEPTUALS
from v2m4.registry import Plug, by_name
from v2m4.settings import Settings

PAPER_CLIP = "ViT-bigG-14/laion2b_s39b_b160k"
PICTURE_JUDGES = ("clip", "lpips", "dreamsim")


class PictureJudge(Protocol):
    """Compares pictures one by one."""

    weights: str

    def __call__(self, shown: Bytes, true: Bytes) -> Float64:
        """(N,) values of pairs of (N,S,S,3) pictures."""
        ...


class ClipFeatures(Protocol):
    """Describes clips by numbers."""

    weights: str

    def __call__(self, clip: torch.Tensor) -> Float64:
        """(D,) features of a prepared clip (3,T,S,S) in [-1,1]."""
        ...


JUDGES: dict[str, Plug[Any]] = by_name(
    Plug(
        "measure",
        "clip",
        "v2m4.evaluation.clip_similarity:ClipSimilarity",
        "CLIP score: cosine of OpenCLIP ViT-bigG-14's image embeddings; the paper's measure.",
        "MIT",
        True,
        packages=("open_clip",),
        weights=(
            (
                "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
                "open_clip_pytorch_model.bin",
                "bc7788f151930d91b58474715fdce5524ad9a189",
            ),
        ),
        memory_gb=12,
        size_gb=10,
        bring='pip install "v2m4[evaluation]"',
    ),
    Plug(
        "measure",
        "i3d",
        "v2m4.evaluation.i3d:VideoFeatures",
        "FVD: I3D's features of Kinetics-400, the file that StyleGAN-V and the paper use.",
        "Apache-2.0",
        True,
        weights=(
            (
                "ByteDance/LatentSync-1.6",
                "auxiliary/i3d_torchscript.pt",
                "c42c7e6c8e9c213626389fa7d9a3c444b8536353",
            ),
        ),
        sha256=(("auxiliary/i3d_torchscript.pt", "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"),),
        memory_gb=2,
        size_gb=0.05,
    ),
)


@dataclass(frozen=True)
class Panel:
    """The learned measures that can be taken here, and why the others cannot.

    pictures: name to judge. features: what FVD compares, if it can. left_out: name to sentence.
    """

    pictures: Mapping[str, PictureJudge] = field(default_factory=dict)
    features: ClipFeatures | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def gather(wanted: Iterable[str], device: torch.device, clip_model: str = PAPER_CLIP) -> Panel:
        """Those of ``wanted`` (clip, lpips, dreamsim, fvd) whose packages and weights are here; nothing is downloaded.

        clip_model: MODEL/TAG of OpenCLIP; another than the paper's may fetch its weights, as that package does.
        """
        pictures: dict[str, PictureJudge] = {}
        features, left_out = None, {}
        for name in wanted:
            plug = _plug(name)
            lacks = [lack for lack in plug.missing() if lack != "a CUDA GPU"]
            if name == "clip" and clip_model != PAPER_CLIP:
                lacks = [lack for lack in lacks if not lack.startswith("weights")]
            if lacks:
                left_out[name] = f"{' and '.join(lacks)} missing here ({plug.remedy})"
                continue
            try:
                if name == "fvd":
                    features = plug.create(Settings(), device)
                elif name == "clip":
                    pictures[name] = plug.load()(device, clip_model)
                else:
                    pictures[name] = PerceptualJudge(name, plug, device)
            except V2M4Error as problem:
                left_out[name] = str(problem)
        return Panel(pictures, features, left_out)


def _plug(name: str) -> Plug[Any]:
    return {"fvd": JUDGES["i3d"], "clip": JUDGES["clip"], **PERCEPTUALS}[name]


class PerceptualJudge:
    """An image distance of the perceptual port. LPIPS: the mean over its map, as large as the picture."""

    def __init__(self, name: str, plug: Plug[Any], device: torch.device, distance: Any = None) -> None:
        self.weights = ", ".join(plug.revisions) or f"none ({name})"
        self._distance = plug.create(Settings(), device) if distance is None else distance
        self._maps = name == "lpips"

    def __call__(self, shown: Bytes, true: Bytes) -> Float64:
        """(N,) distances."""
        return np.array([self._pair(a, b) for a, b in zip(_unit(shown), _unit(true), strict=True)])

    @torch.no_grad()
    def _pair(self, shown: torch.Tensor, true: torch.Tensor) -> float:
        prepared = self._distance.prepare(true)
        if self._maps:
            return float(self._distance.maps(prepared, shown[None]).mean())
        return float(self._distance(prepared, shown[None])[0])


def _unit(pictures: Bytes | Sequence[Bytes]) -> Iterable[torch.Tensor]:
    return (torch.tensor(np.asarray(p), dtype=torch.float32) / 255 for p in pictures)
