"""The CLIP score: cosine of two embeddings (Radford et al. 2021; weights: Schuhmann et al. 2022, OpenCLIP)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from v2m4.arrays import Bytes, Float64
from v2m4.errors import V2M4Error
from v2m4.evaluation.judges import JUDGES, PAPER_CLIP
from v2m4.nn.weights import fetch, memory_guard
from v2m4.settings import Settings


class ClipSimilarity:
    """Cosines of image embeddings, by OpenCLIP's model and its own preparation of pictures."""

    def __init__(self, device: torch.device | str = "cpu", model: str = PAPER_CLIP, network: Any = None) -> None:
        """model: MODEL/TAG, as `open_clip.list_pretrained` names them. network: (model, transform) to use instead."""
        self.device = torch.device(device)
        self._network, self._prepare = _open_clip(model) if network is None else network
        self._network = self._network.eval().requires_grad_(False).to(self.device)
        own = JUDGES["clip"].revisions[0] if model == PAPER_CLIP else "as open_clip fetches it; not the paper's model"
        self.weights = f"{model} ({own})"

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> ClipSimilarity:
        """The paper's model on ``device``."""
        return cls(device)

    def __call__(self, shown: Bytes, true: Bytes) -> Float64:
        """(N,) cosines in [-1,1] of pairs of (N,S,S,3) pictures."""
        cosines = torch.nn.functional.cosine_similarity(self.embed(shown), self.embed(true))
        return cosines.double().cpu().numpy()

    @torch.no_grad()
    def embed(self, pictures: Bytes) -> torch.Tensor:
        """(N,D) embeddings of (N,S,S,3) pictures."""
        with memory_guard("clip"):
            batch = torch.stack([self._prepare(Image.fromarray(np.ascontiguousarray(p))) for p in pictures])
            return torch.cat([self._network.encode_image(part.to(self.device)).float() for part in batch.split(8)])


def _open_clip(model: str) -> tuple[Any, Any]:
    """The model and its transform, with the pinned weights for the paper's."""
    try:
        import open_clip
    except (ImportError, RuntimeError) as error:
        raise V2M4Error(
            f'clip: the package open_clip cannot be imported ({error}). Run `pip install "v2m4[evaluation]"`.'
        ) from error
    architecture, _, tag = model.partition("/")
    if (architecture, tag) not in open_clip.list_pretrained():
        raise V2M4Error(f"clip: OpenCLIP knows no “{model}”. Name it as MODEL/TAG, for example {PAPER_CLIP}.")
    ((repo, file, revision),) = JUDGES["clip"].weights
    pretrained = str(fetch(repo, file, revision, "clip")) if model == PAPER_CLIP else tag
    with memory_guard("clip"):
        network, _, transform = open_clip.create_model_and_transforms(architecture, pretrained=pretrained)
    return network, transform
