"""The `vggt` plugs: pictures in, point maps in the first picture's camera frame out, in one pass."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from v2m4.nn.precision import Precision, choose_precision, computing, store_linears
from v2m4.nn.weights import fetch, load_strictly, memory_guard, read_state_dict
from v2m4.stereo import STEREOS, PointMaps
from v2m4.stereo.frames import check_images, maps_to_images, pad_to_square
from v2m4.stereo.vggt.model import Vggt, VggtConfig, world_point_part


class VggtStereo:
    """VGGT's world points. Created from the official checkpoint, or around a `model` of one's own.

    `size` is the side at which the network sees the pictures, a multiple of 14.
    """

    name = "vggt"

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
        official, filename, revision = STEREOS[self.name].weights[0]
        path = fetch(repository or official, filename, revision, self.name)
        with torch.device("meta"):
            model = Vggt(VggtConfig())
        state_dict = world_point_part(read_state_dict(path, self.name))
        load_strictly(model.to_empty(device="cpu"), state_dict, self.name)
        return model


class VggtCommercialStereo(VggtStereo):
    """The same network with the weights that Meta licenses for commercial use (access is asked for on the Hub)."""

    name = "vggt-commercial"
