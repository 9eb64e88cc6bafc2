"""The `dust3r` plug: pictures in, point maps in one frame out."""

from __future__ import annotations

import torch
from torch import Tensor

from v2m4.nn.precision import Precision, choose_precision, computing, store_linears
from v2m4.nn.weights import fetch, load_strictly, memory_guard, read_state_dict
from v2m4.settings import Dust3rSettings, Settings
from v2m4.stereo import STEREOS, PointMaps
from v2m4.stereo.dust3r.alignment import align
from v2m4.stereo.dust3r.model import (
    AsymmetricCroCo3DStereo,
    Dust3rConfig,
    second_names,
    with_second_decoder,
)
from v2m4.stereo.dust3r.pairs import complete_graph, predict_pairs
from v2m4.stereo.dust3r.preprocess import PATCH, network_image
from v2m4.stereo.frames import check_images, maps_to_images, pad_to_square


class Dust3r:
    """DUSt3R over all ordered pairs of the pictures, then global alignment.

    Created from the official checkpoint, or around a `model` of one's own. `size` is the side at which the network
    sees the pictures, a multiple of 16.
    """

    name = "dust3r"

    def __init__(
        self,
        device: torch.device | str = "cpu",
        model: AsymmetricCroCo3DStereo | None = None,
        precision: Precision = "auto",
        size: int = 512,
        alignment: Dust3rSettings | None = None,
        repository: str | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.precision = choose_precision(precision, self.device)
        self.size = max(PATCH, size // PATCH * PATCH)
        self.alignment = alignment or Dust3rSettings()
        with memory_guard(self.name):
            network = load_dust3r(repository) if model is None else model
            store_linears(network, self.precision)
            self.model = network.eval().requires_grad_(False).to(self.device)

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> Dust3r:
        """The plug for a run's settings."""
        stereo = settings.camera.stereo
        return cls(device, precision=stereo.dust3r_precision, alignment=stereo.dust3r)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> PointMaps:
        """`images`: (N, H, W, 3) in [0, 1], N at least 2. Maps are at the same size, on the plug's device.

        Raises V2M4Error when there are fewer pictures or too little memory.
        """
        check_images(images, self.name, fewest=2)
        squares, padding = pad_to_square(images)
        with memory_guard(self.name):
            inputs = torch.stack([network_image(square, self.size) for square in squares]).to(self.device)
            with computing(self.precision, self.device):
                pairs = predict_pairs(self.model, inputs, complete_graph(len(inputs)), *self.batches)
            confidence = pairs.confidence_per_image()
            points = align(pairs, self.alignment)
        side = squares.shape[1]
        return PointMaps(
            maps_to_images(points, side, padding),
            maps_to_images(confidence.unsqueeze(-1), side, padding).squeeze(-1),
        )

    @property
    def batches(self) -> tuple[int, int]:
        """Pairs per decoder pass and maps per head pass: what keeps a GPU busy in a few GB, and a CPU out of swap."""
        return (14, 4) if self.device.type == "cuda" else (2, 1)


def load_dust3r(repository: str | None = None) -> AsymmetricCroCo3DStereo:
    """The network with the official weights, downloaded once, or with those in the folder or Hub `repository`.

    Raises V2M4Error, which says what failed.
    """
    official, filename, revision = STEREOS[Dust3r.name].weights[0]
    path = fetch(repository or official, filename, revision, Dust3r.name)
    with torch.device("meta"):
        model = AsymmetricCroCo3DStereo(Dust3rConfig())
    state_dict = with_second_decoder(read_state_dict(path, Dust3r.name))
    load_strictly(model, state_dict, Dust3r.name, second_names(), assign=True)
    return model
