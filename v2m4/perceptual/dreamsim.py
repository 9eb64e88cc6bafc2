"""The `dreamsim` plug: DreamSim's ensemble (Fu et al., NeurIPS 2023, arXiv 2306.09344).

Three ViT-B/16 (DINO, CLIP, OpenCLIP), tuned by low-rank updates on human judgements; an image is the concatenation of
their embeddings, the distance one minus the cosine. The networks are plain PyTorch here: the `dreamsim` package would
run unpinned code from a repository, write its downloads into the working folder, and needs torchvision, peft, timm,
open_clip and transformers for three vision transformers. Its published weights are read as they are.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2m4.errors import V2M4Error
from v2m4.nn.configs import sound, understood
from v2m4.nn.cuda_graphs import side_by_side
from v2m4.nn.precision import Precision, choose_precision, computing, store_linears
from v2m4.nn.transformer import Block, PatchProjection, quick_gelu, through
from v2m4.nn.weights import fetch_url, load_strictly, memory_guard, read_state_dict
from v2m4.perceptual import PERCEPTUALS
from v2m4.settings import Settings

CLIP_MEMBER = "clip_vitb16_pretrain.pth.tar"
OPEN_CLIP_MEMBER = "open_clip_vitb16_pretrain.pth.tar"
UPDATES_FOLDER = "ensemble_lora"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
UPDATE_NAME = re.compile(r"extractor_list\.(\d+)\.model\.(.+)\.lora_([AB])(?:\.\w+)?\.weight$")


@dataclass(frozen=True)
class VitConfig:
    """One of the three transformers. `projected` is the width after CLIP's projection; None takes the class token of
    the last block as it is, before the final norm, as DreamSim does with DINO."""

    mean_std: tuple[tuple[float, ...], tuple[float, ...]]
    eps: float
    projected: int | None
    activation: Callable[[Tensor], Tensor] = F.gelu
    image_size: int = 224
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12


DINO_VIT = VitConfig(IMAGENET, 1e-6, None)
CLIP_VIT = VitConfig(CLIP, 1e-5, 512, quick_gelu)
OPEN_CLIP_VIT = VitConfig(CLIP, 1e-5, 512)


class Vit(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to embeddings (N, width or projected). Parameter names are the checkpoints'."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        for name, values in zip(("mean", "std"), config.mean_std, strict=True):
            self.register_buffer(name, torch.tensor(values, device="cpu").view(3, 1, 1), persistent=False)
        width, side = config.width, config.image_size // config.patch_size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + side * side, width))
        self.patch_embed = PatchProjection(config.patch_size, width)
        self.blocks = nn.ModuleList(
            Block(width, config.heads, 4, config.eps, activation=config.activation) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=config.eps)
        self.pos_drop = nn.Identity() if config.projected is None else nn.LayerNorm(width, eps=config.eps)
        if config.projected is not None:
            self.proj = nn.Parameter(torch.zeros(width, config.projected))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embed.tokens((images - self.mean) / self.std)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed
        x = through(self.blocks, self.pos_drop(x))
        embedding = x[:, 0].float()
        with torch.autocast(images.device.type, enabled=False):
            return embedding if self.config.projected is None else self.norm(embedding) @ self.proj


class DreamSimNetwork(nn.Module):
    """The ensemble: images (N, 3, S, S) in [0, 1] to unit embeddings whose components have zero mean."""

    def __init__(self, configs: tuple[VitConfig, ...] = (DINO_VIT, CLIP_VIT, OPEN_CLIP_VIT)) -> None:
        super().__init__()
        self.extractors = nn.ModuleList(Vit(config) for config in configs)
        self.image_size = configs[0].image_size

    def forward(self, images: Tensor) -> Tensor:
        joined = torch.cat(side_by_side([partial(e, images) for e in self.extractors]), dim=1).float()
        return F.normalize(joined - joined.mean(dim=1, keepdim=True), dim=1)


class DreamSim:
    """DreamSim between one reference and many pictures. Create from published weights, or around a `network`."""

    name = "dreamsim"

    def __init__(
        self,
        device: torch.device | str = "cpu",
        network: DreamSimNetwork | None = None,
        precision: Precision = "auto",
        images_per_batch: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        on_gpu = self.device.type == "cuda"
        # Distances between like pictures are small: ten bits of mantissa tell them apart, bfloat16's seven may not.
        self.precision: Precision = (
            "float16" if precision == "auto" and on_gpu else choose_precision(precision, self.device)
        )
        self.images_per_batch = images_per_batch or (256 if on_gpu else 8)
        with memory_guard(self.name):
            network = load_dreamsim() if network is None else network
            store_linears(network, self.precision)
            self.network = network.eval().requires_grad_(False).to(self.device)

    @torch.no_grad()
    def prepare(self, reference: Tensor) -> Tensor:
        """(1, width) the embedding of `reference` (H, W, 3) in [0, 1]."""
        return self.embed(reference.unsqueeze(0))

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> DreamSim:
        """The plug for a run's settings."""
        return cls(device)

    def __call__(self, prepared: object, images: Tensor) -> Tensor:
        """(N,) distances of `images` (N, H, W, 3) in [0, 1], in [0, 2]; differentiable."""
        assert isinstance(prepared, Tensor)
        return 1 - self.embed(images) @ prepared[0]

    def embed(self, images: Tensor) -> Tensor:
        """(N, width) unit embeddings of `images` (N, H, W, 3) in [0, 1], resampled to the network's 224 pixels."""
        size = self.network.image_size
        parts = []
        precision = self._precision_for(images)
        network = self.network if precision == self.precision else self._for_slopes
        with memory_guard(self.name), computing(precision, self.device):
            for batch in images.split(self.images_per_batch):
                x = batch.to(self.device).float().permute(0, 3, 1, 2)
                if x.shape[2:] != (size, size):
                    x = F.interpolate(x, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)
                parts.append(network(x))
        return torch.cat(parts)

    @cached_property
    def _for_slopes(self) -> DreamSimNetwork:
        """The network with its linear layers in bfloat16, which would otherwise be converted in every call."""
        network = deepcopy(self.network)
        store_linears(network, "bfloat16")
        return network

    def _precision_for(self, images: Tensor) -> Precision:
        """Slopes of single pixels are below what float16 can hold, so they are computed in bfloat16."""
        slopes = images.requires_grad and torch.is_grad_enabled()
        return "bfloat16" if slopes and self.precision == "float16" else self.precision


def load_dreamsim() -> DreamSimNetwork:
    """The ensemble with the published weights, low-rank updates added in; V2M4Error says what failed."""
    plug = DreamSim.name
    archive, dino_file = (fetch_url(url, name, plug, start) for name, url, start in PERCEPTUALS[plug].torch_files)
    dino = read_state_dict(dino_file, plug)
    clip, open_clip, updates, scale = read_archive(archive)
    states = merge_updates([dino, clip, open_clip], updates, scale)
    with torch.device("meta"):
        network = DreamSimNetwork()
    for extractor, state in zip(network.extractors, states, strict=True):
        load_strictly(extractor, state, plug, assign=True)
    return network


@dataclass(frozen=True)
class _Updates:
    r: int
    lora_alpha: float


def read_archive(archive: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], float]:
    """CLIP's and OpenCLIP's tensors, the low-rank updates and their scale, from the published archive."""
    plug = DreamSim.name
    try:
        with zipfile.ZipFile(archive) as content, tempfile.TemporaryDirectory() as folder:
            names = [n for n in content.namelist() if not n.endswith("/")]
            wanted = [n for n in names if n.endswith((CLIP_MEMBER, OPEN_CLIP_MEMBER)) or UPDATES_FOLDER in n]
            by_name = {Path(n).name: Path(content.extract(n, folder)) for n in wanted}
            adapter = next(path for name, path in by_name.items() if name.startswith("adapter_model"))
            settings = json.loads(by_name["adapter_config.json"].read_text())
            states = [
                read_state_dict(path, plug) for path in (by_name[CLIP_MEMBER], by_name[OPEN_CLIP_MEMBER], adapter)
            ]
    except (zipfile.BadZipFile, EOFError, KeyError, StopIteration, ValueError) as error:
        raise V2M4Error(
            f"dreamsim: the archive {archive} is truncated or not DreamSim's. Delete it and run again."
        ) from error
    with understood(plug):
        rank = sound(_Updates(settings["r"], settings["lora_alpha"]), plug).r
        scale = settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    return states[0], states[1], states[2], scale


def merge_updates(
    states: list[dict[str, Tensor]], updates: Mapping[str, Tensor], scale: float
) -> list[dict[str, Tensor]]:
    """`states` of the extractors with the low-rank `updates` added: W + scale * B A (LoRA, arXiv 2106.09685).

    Raises V2M4Error for an update that belongs to none of them.
    """
    halves: dict[tuple[int, str], dict[str, Tensor]] = {}
    for name, tensor in updates.items():
        found = UPDATE_NAME.search(name)
        target = (int(found[1]), f"{found[2]}.weight") if found else (-1, "")
        if found is None or target[0] >= len(states) or target[1] not in states[target[0]]:
            raise V2M4Error(f"dreamsim: the update {name} fits none of the networks. Delete the archive and run again.")
        halves.setdefault(target, {})[found[3]] = tensor
    merged = [dict(state) for state in states]
    for (extractor, weight), parts in halves.items():
        if parts.keys() != {"A", "B"}:
            raise V2M4Error(f"dreamsim: half of the update of {weight} is missing. Delete the archive and run again.")
        merged[extractor][weight] = merged[extractor][weight] + scale * (parts["B"] @ parts["A"])
    return merged
