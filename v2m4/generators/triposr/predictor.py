"""The generator `triposr`: a picture in, a coloured mesh out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.generators import Generated
from v2m4.generators.triposr.config import PLUG, REPOSITORY, REVISION, TripoSRConfig, ViTConfig
from v2m4.generators.triposr.network import TripoSRNetwork
from v2m4.generators.triposr.picture import prepare
from v2m4.generators.triposr.surface import surface
from v2m4.geometry.cleanup import clean
from v2m4.geometry.mesh import Mesh
from v2m4.nn.configs import understood
from v2m4.nn.precision import Precision, choose_precision, computing, store_linears
from v2m4.nn.weights import fetch, load_strictly, memory_guard, read_state_dict
from v2m4.settings import GeneratorSettings, Settings


class TripoSR:
    """TripoSR (Tochilkin et al., arXiv 2403.02151): one deterministic pass, in 32 bits on a CPU.

    Weights are loaded at the first call and kept; with ``low_vram`` they are on the GPU only while it works. Fulfils
    the `Generator` protocol; the random numbers are not used.
    """

    def __init__(
        self,
        settings: GeneratorSettings | None = None,
        device: torch.device | str = "cpu",
        low_vram: bool = False,
        source: str = REPOSITORY,
        precision: Precision = "auto",
        network: TripoSRNetwork | None = None,
    ) -> None:
        """`source`: Hub repository, or a folder with config.yaml and model.ckpt. With `network` nothing is loaded."""
        self.settings = settings or GeneratorSettings()
        self.device = torch.device(device)
        self.low_vram = low_vram and self.device.type != "cpu"
        self.source = source
        self.precision = choose_precision(precision, self.device)
        self._network = None if network is None else self._made_ready(network)

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> TripoSR:
        """The plug for a run's settings."""
        return cls(settings.generator, device, settings.low_vram)

    @property
    def network(self) -> TripoSRNetwork:
        """The network, loaded if it is not there yet. Raises V2M4Error if the weights cannot be had."""
        if self._network is None:
            with memory_guard(PLUG):
                self._network = self._made_ready(from_pretrained(self.source))
        return self._network

    def _made_ready(self, network: TripoSRNetwork) -> TripoSRNetwork:
        store_linears(network.image_tokenizer, self.precision)
        store_linears(network.backbone, self.precision)
        network.eval().requires_grad_(False)
        return network if self.low_vram else network.to(self.device)

    def __call__(
        self, reference: NDArray[np.uint8], rng: torch.Generator, device: torch.device | str | None = None
    ) -> Generated:
        """Mesh of the object in `reference` (S, S, 4) uint8 RGBA with straight alpha, its colours at the vertices.

        Raises V2M4Error if the picture is empty, nothing comes out, or memory is too small.
        """
        with memory_guard(PLUG):
            raw = self.extract(self.triplane(reference))
            return Generated(_canonical(clean(raw, self.settings.max_faces, self.settings.cleanup)))

    @torch.no_grad()
    def triplane(self, picture: NDArray[np.uint8]) -> Tensor:
        """(3, c, 2P, 2P) planes of the object in `picture` (H, W, 4) uint8 RGBA."""
        image = prepare(picture, self.network.config.image_size)[None].to(self.device)
        try:
            network = self.network.to(self.device)
            with computing(self.precision, self.device):
                planes: Tensor = network(image)[0].float()
        finally:
            if self.low_vram:
                self.network.to("cpu")
        return planes

    @torch.no_grad()
    def extract(self, planes: Tensor) -> Mesh:
        """The coloured mesh of planes from `triplane`, in the network's coordinates, as fine as its grid."""
        chosen, decoder = self.settings.triposr, self.network.decoder.to(self.device)
        return surface(decoder, planes, chosen.grid, chosen.threshold, chosen.stride)


def _canonical(mesh: Mesh) -> Mesh:
    """The mesh about the origin with its longest side 1; z is up already."""
    low, high = mesh.vertices.amin(0), mesh.vertices.amax(0)
    return mesh.with_vertices((mesh.vertices - (low + high) / 2) / (high - low).max())


def from_pretrained(source: str = REPOSITORY, vit: ViTConfig | None = None) -> TripoSRNetwork:
    """The network with the official weights, downloaded once, or with those in the folder `source`, on the CPU.

    `vit`: sizes of the image tokenizer, which the files leave out; as released if absent. Raises
    V2M4Error, which says what failed.
    """
    config = _read_config(fetch(source, "config.yaml", REVISION, PLUG))
    weights = fetch(source, "model.ckpt", REVISION, PLUG)
    with understood(PLUG), torch.device("meta"):
        network = TripoSRNetwork(TripoSRConfig.from_official(config, vit or ViTConfig()))
    network.to_empty(device="cpu")
    load_strictly(network, read_state_dict(weights, PLUG), PLUG)
    return network


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise V2M4Error(
            f"TripoSR: {path} cannot be read ({str(error).splitlines()[0]}). Delete it and run again to download it."
        ) from error
    if not isinstance(content, dict):
        raise V2M4Error(f"TripoSR: {path} is not a configuration. Delete it and run again to download it anew.")
    return content
