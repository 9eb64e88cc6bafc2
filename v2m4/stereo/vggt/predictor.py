"""The `vggt` plugs: pictures in, point maps in the first picture's camera frame out, in one pass."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from v2m4.precision import Precision, choose_precision, computing, store_linears
from v2m4.stereo import PointMaps
from v2m4.stereo.frames import check_images, maps_to_images, pad_to_square
from v2m4.stereo.vggt.model import Vggt, VggtConfig, world_point_part
from v2m4.weights import fetch, load_strictly, memory_guard, read_state_dict

REPOSITORY = "facebook/VGGT-1B"
REVISION = "860abec7937da0a4c03c41d3c269c366e82abdf9"
FILENAME = "model.safetensors"
COMMERCIAL_REPOSITORY = "facebook/VGGT-1B-Commercial"
# The repository is gated, so the hash of a commit cannot be read without having accepted its terms.
COMMERCIAL_REVISION = "main"
COMMERCIAL_FILENAME = "vggt_1B_commercial.pt"


class VggtStereo:
    """VGGT's world points. Created from the official checkpoint, or around a `model` of one's own.

    `size` is the side at which the network sees the pictures, a multiple of 14.
    """

    name = "vggt"
    licence = "CC BY-NC 4.0 (weights; non-commercial)"
    commercial = False
    requires = "the checkpoint facebook/VGGT-1B (5 GB) and, to be quick, a CUDA GPU"
    checkpoint = (REPOSITORY, REVISION, FILENAME)

    def __init__(
        self,
        device: torch.device | str = "cpu",
        model: Vggt | None = None,
        precision: Precision = "auto",
        size: int = 518,
        repository: str | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.precision = choose_precision(precision, self.device)
        with memory_guard(self.name):
            network = self._load(repository) if model is None else model
            store_linears(network.aggregator, self.precision)
            self.model = network.eval().requires_grad_(False).to(self.device)
        patch = self.model.config.aggregator.patch_size
        self.size = max(patch, size // patch * patch)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> PointMaps:
        """`images`: (N, H, W, 3) in [0, 1]. Maps are at the same size, on the plug's device.

        The world is the first picture's camera frame. Raises V2M4Error when memory is too small.
        """
        check_images(images, self.name, fewest=1)
        squares, padding = pad_to_square(images.to(self.device))
        side = squares.shape[1]
        with memory_guard(self.name), computing(self.precision, self.device):
            inputs = squares.permute(0, 3, 1, 2).float()
            if side != self.size:
                inputs = F.interpolate(inputs, size=(self.size, self.size), mode="bicubic", antialias=True)
            output = self.model(inputs.clamp(0, 1).unsqueeze(0), 4 if self.device.type == "cuda" else 1)
        return PointMaps(
            maps_to_images(output.points[0], side, padding),
            maps_to_images(output.confidence[0].unsqueeze(-1), side, padding).squeeze(-1),
        )

    def _load(self, repository: str | None) -> Vggt:
        official, revision, filename = self.checkpoint
        path = fetch(repository or official, filename, revision, self.name)
        with torch.device("meta"):
            model = Vggt(VggtConfig())
        state_dict = world_point_part(read_state_dict(path, self.name))
        load_strictly(model.to_empty(device="cpu"), state_dict, self.name)
        return model


class VggtCommercialStereo(VggtStereo):
    """The same network with the weights that Meta licenses for commercial use (access is asked for on the Hub)."""

    name = "vggt-commercial"
    licence = "VGGT-1B-Commercial licence (commercial use allowed, military use excluded)"
    commercial = True
    requires = (
        "the gated checkpoint facebook/VGGT-1B-Commercial (5 GB; accept its terms, then `hf auth login`) and, to be "
        "quick, a CUDA GPU"
    )
    checkpoint = (COMMERCIAL_REPOSITORY, COMMERCIAL_REVISION, COMMERCIAL_FILENAME)
