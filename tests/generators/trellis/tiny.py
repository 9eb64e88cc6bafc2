"""A TRELLIS small enough for tests, with seeded random weights, and its checkpoint folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from v2m4.generators.trellis.builder import CHECKPOINTS, build_network
from v2m4.generators.trellis.conditioning import IMAGE_SIZE, ImageEncoder
from v2m4.generators.trellis.model import TrellisModel
from v2m4.nn.dinov2 import Dinov2, Dinov2Config, from_transformers

CONDITION = 24
_FLOW = {
    "in_channels": 8,
    "out_channels": 8,
    "cond_channels": CONDITION,
    "num_blocks": 2,
    "num_heads": 2,
    "qk_rms_norm": True,
}
_DECODER = {"resolution": 8, "latent_channels": 8, "num_blocks": 2, "num_heads": 4}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "sparse_structure_flow_model": ("SparseStructureFlowModel", {"resolution": 4, "model_channels": 32, **_FLOW}),
    "sparse_structure_decoder": (
        "SparseStructureDecoder",
        {"out_channels": 1, "latent_channels": 8, "num_res_blocks": 1, "channels": [16, 8]},
    ),
    "slat_flow_model": (
        "SLatFlowModel",
        {"resolution": 8, "model_channels": 48, "io_block_channels": [16], **_FLOW},
    ),
    "slat_decoder_mesh": ("SLatMeshDecoder", {"model_channels": 256, "mlp_ratio": 0.25, **_DECODER}),
    "slat_decoder_gs": (
        "SLatGaussianDecoder",
        {"model_channels": 32, "representation_config": {"num_gaussians": 8}, **_DECODER},
    ),
}


def network(role: str, seed: int = 0, **changes: Any) -> Any:
    """The tiny network of a pipeline role with random weights."""
    class_name, config = CONFIGS[role]
    torch.manual_seed(seed)
    return build_network(class_name, {**config, **changes}).eval()


def encoder(seed: int = 0) -> ImageEncoder:
    """A tiny DINOv2 with registers that takes the official picture size."""
    library = backbone(seed)
    ours = Dinov2(Dinov2Config.of_transformers(library.config.to_dict()))  # type: ignore[operator, union-attr]
    ours.load_state_dict(from_transformers(library.state_dict()))
    return ImageEncoder(ours.eval())


def backbone(seed: int = 0) -> nn.Module:
    """The same in the form of the library that wrote the released file."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(seed)
    config = Dinov2WithRegistersConfig(
        hidden_size=CONDITION,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        patch_size=37,
        image_size=IMAGE_SIZE,
        num_register_tokens=4,
    )
    return Dinov2WithRegistersModel(config).eval()


def model(seed: int = 0, **changes: Any) -> TrellisModel:
    """The tiny model with an image encoder."""
    networks = [network(role, seed) for role in CONFIGS]
    return TrellisModel(*networks, **{"image_encoder": encoder(seed), **changes})


def save(folder: Path, seed: int = 0) -> None:
    """Write the tiny model as a checkpoint folder laid out like the released one, and its encoder under `encoder`."""
    (folder / "ckpts").mkdir(parents=True)
    for role, (class_name, config) in CONFIGS.items():
        stem = folder / CHECKPOINTS[role]
        stem.with_suffix(".json").write_text(json.dumps({"name": class_name, "args": config}))
        state = {k: v.contiguous() for k, v in network(role, seed).state_dict().items()}
        save_file(state, str(stem.with_suffix(".safetensors")))
    sampler = {
        "name": "FlowEulerGuidanceIntervalSampler",
        "args": {"sigma_min": 1e-5},
        "params": {"steps": 3, "cfg_strength": 4.0, "cfg_interval": [0.4, 1.0], "rescale_t": 2.0},
    }
    arguments = {
        "models": CHECKPOINTS,
        "sparse_structure_sampler": sampler,
        "slat_sampler": sampler,
        "slat_normalization": {"mean": [0.0] * 8, "std": [2.0] * 8},
    }
    (folder / "pipeline.json").write_text(json.dumps({"name": "TrellisImageTo3DPipeline", "args": arguments}))
    backbone(seed).save_pretrained(folder / "encoder")


def picture(size: int = 96) -> NDArray[np.uint8]:
    """A shaded ball with a soft edge, off centre, (size, size, 4) uint8 with straight alpha."""
    y, x = np.mgrid[:size, :size] / size
    radius = np.hypot(x - 0.55, y - 0.45)
    shade = np.clip(1 - 2.2 * np.hypot(x - 0.45, y - 0.35), 0.1, 1)
    alpha = np.clip((0.3 - radius) * size, 0, 1)
    return (np.dstack([shade, 0.6 * shade, 0.3 + 0 * x, alpha]) * 255).astype(np.uint8)
