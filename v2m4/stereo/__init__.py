"""Pictures of one object to a point for every pixel: the port, and the plugs that fill it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from v2m4.registry import Plug, by_name


@dataclass(frozen=True)
class PointMaps:
    """points: (N,H,W,3) float32, all in one common frame, at arbitrary scale. confidence: (N,H,W), larger is better."""

    points: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Matches:
    """Surface points and where the frame shows them.

    points: (M,3) float32, in the mesh's coordinates. pixels: (M,2) float32 in [0,1], x right, y down.
    """

    points: Tensor
    pixels: Tensor


@runtime_checkable
class Locator(Protocol):
    """A plug that needs no point maps: it finds what the renderings show in the video frame itself."""

    def locate(self, reference: Tensor, renderings: Tensor, positions: Tensor, inside: Tensor) -> Matches:
        """reference: (H,W,3) and renderings: (N,H,W,3), float32 in [0,1] on black. positions: (N,H,W,3) surface points
        of the renderings' pixels, valid where inside (N,H,W) bool. Wrong matches are to be expected."""
        ...


class Stereo(Protocol):
    """A dense stereo model. The first picture is the video frame, the others are renderings of the mesh."""

    def __call__(self, images: Tensor) -> PointMaps:
        """``images``: (N,H,W,3) float32 in [0,1] on black."""
        ...


STEREOS: dict[str, Plug[Stereo | Locator]] = by_name(
    Plug(
        "stereo",
        "dust3r",
        "v2m4.stereo.dust3r:Dust3r",
        "DUSt3R over all pairs of pictures, aligned in one world; what the paper uses.",
        "CC BY-NC-SA 4.0, non-commercial",
        False,
        preference=20,
        weights=(
            (
                "naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt",
                "model.safetensors",
                "61c57447d7b0adc8a1a30b2b0adec7a8935aa2a3",
            ),
        ),
        needs_gpu=True,
        memory_gb=8,
        size_gb=2.3,
    ),
    Plug(
        "stereo",
        "vggt",
        "v2m4.stereo.vggt:VggtStereo",
        "VGGT-1B's world points, in one pass over all pictures.",
        "CC BY-NC 4.0, non-commercial",
        False,
        preference=15,
        weights=(("facebook/VGGT-1B", "model.safetensors", "860abec7937da0a4c03c41d3c269c366e82abdf9"),),
        needs_gpu=True,
        memory_gb=8,
        size_gb=5,
    ),
    Plug(
        "stereo",
        "vggt-commercial",
        "v2m4.stereo.vggt:VggtCommercialStereo",
        "VGGT-1B with the weights that Meta licenses for commercial use.",
        "VGGT-1B-Commercial licence, commercial use allowed, military use excluded",
        True,
        preference=14,
        # The repository is gated: without having accepted its terms nobody can read the hash of a commit, and no public
        # code names one. The digest of what was loaded is written into every run instead.
        weights=(("facebook/VGGT-1B-Commercial", "vggt_1B_commercial.pt", "main"),),
        needs_gpu=True,
        memory_gb=8,
        size_gb=5,
        bring="accept the terms at https://huggingface.co/facebook/VGGT-1B-Commercial, then `hf auth login`; no "
        "revision could be pinned, so the digest of what was loaded is written into every run",
        notice="no military use",
    ),
    Plug(
        "stereo",
        "features",
        "v2m4.stereo.features:Features",
        "Feature and flow matches between renderings and the frame; needs no weights.",
        "MIT",
        True,
        preference=0,
    ),
)
