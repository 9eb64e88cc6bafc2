"""Loads TRELLIS: from a Hub repository or a folder, strictly, in half precision on a GPU and in float32 on a CPU."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from v2m4.errors import V2M4Error
from v2m4.generators.trellis.checkpoints import (
    CHECKPOINTS,
    ENCODER_REPOSITORY,
    ENCODER_REVISION,
    PLUG,
    REPOSITORY,
    REVISION,
)
from v2m4.generators.trellis.conditioning import ImageEncoder
from v2m4.generators.trellis.decoders import SLatGaussianDecoder, SLatMeshDecoder
from v2m4.generators.trellis.latent import SLatFlowModel
from v2m4.generators.trellis.model import SLAT_MEAN, SLAT_STD, TrellisModel
from v2m4.generators.trellis.sampler import SamplerSettings
from v2m4.generators.trellis.structure import SparseStructureDecoder, SparseStructureFlowModel
from v2m4.nn.configs import MOST, sound, understood
from v2m4.nn.dinov2 import Dinov2, Dinov2Config, from_transformers
from v2m4.nn.weights import fetch, load_strictly, memory_guard, read_state_dict

_CLASSES: dict[str, type[nn.Module]] = {
    "SparseStructureFlowModel": SparseStructureFlowModel,
    "SparseStructureDecoder": SparseStructureDecoder,
    "SLatFlowModel": SLatFlowModel,
    "SLatMeshDecoder": SLatMeshDecoder,
    "SLatGaussianDecoder": SLatGaussianDecoder,
}
_ROLES = {
    "sparse_structure_flow_model": "structure_flow",
    "sparse_structure_decoder": "structure_decoder",
    "slat_flow_model": "latent_flow",
    "slat_decoder_mesh": "mesh_decoder",
    "slat_decoder_gs": "gaussian_decoder",
}


_ONLY_AS_RELEASED = {
    "share_mod": False,
    "qk_rms_norm_cross": False,
    "use_skip_connection": True,
    "norm_type": "layer",
}
"""Options of the configurations that are accepted at these values alone."""
MOST_STEPS = 1000
_TRAINING_ONLY = ("use_checkpoint",)


def build_network(class_name: str, config: Mapping[str, Any]) -> nn.Module:
    """A network with random weights from a checkpoint's class name and configuration.

    Raises V2M4Error for a class or a configuration entry that is unknown here.
    """
    name = class_name.removeprefix("Elastic")
    if name not in _CLASSES:
        raise V2M4Error(f"TRELLIS: networks of the kind “{class_name}” are unknown here; use {REPOSITORY}.")
    options = {k: v for k, v in config.items() if k not in _TRAINING_ONLY}
    for option, released in _ONLY_AS_RELEASED.items():
        if options.pop(option, released) != released:
            raise V2M4Error(
                f"TRELLIS: {class_name} with {option} = {config[option]} is unknown here; use {REPOSITORY}."
            )
    odd = [key for key, value in options.items() if not _is_size(value)]
    if odd:
        raise V2M4Error(
            f"TRELLIS: the configuration of {class_name} does not fit: "
            f"{', '.join(f'{key} is {options[key]!r}' for key in odd)}. Use {REPOSITORY}."
        )
    with understood("TRELLIS"):
        return _CLASSES[name](**options)


def _is_size(value: Any) -> bool:
    """Whether a value can be a network's option: text, a switch, a list of values, or a number from 0 to `MOST`."""
    if isinstance(value, (list, tuple)):
        return all(_is_size(inner) for inner in value)
    if isinstance(value, Mapping):
        return all(_is_size(inner) for inner in value.values())
    return value is None or isinstance(value, str) or (isinstance(value, (int, float)) and 0 <= value <= MOST)


def load_network(class_name: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """A network with the weights `state`, every key and shape of which must match."""
    with torch.device("meta"):
        network = build_network(class_name, config)
    load_strictly(network, state, PLUG, assign=True)
    return network


def from_pretrained(
    source: str = REPOSITORY,
    revision: str = REVISION,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    low_vram: bool = False,
    encoder_source: str = ENCODER_REPOSITORY,
    encoder_revision: str = ENCODER_REVISION,
) -> TrellisModel:
    """Load TRELLIS image-large from the Hub (or a folder laid out like it) onto `device`.

    `dtype` is that of the blocks; by default the checkpoint's own (float16) on a GPU and float32 on the CPU.
    Raises V2M4Error if files are missing or foreign, the Hub cannot be reached, or memory is too small.
    """
    device = torch.device(device)
    with understood(PLUG):
        pipeline = _read_json(fetch(source, "pipeline.json", revision, PLUG)).get("args", {})
        stems = {**CHECKPOINTS, **pipeline.get("models", {})}
        normalisation = pipeline.get("slat_normalization", {"mean": SLAT_MEAN, "std": SLAT_STD})
        mean, std = (tuple(map(float, normalisation[name])) for name in ("mean", "std"))
        if not len(mean) == len(std) == len(SLAT_MEAN) or min(std) <= 0 or not all(map(math.isfinite, mean + std)):
            raise ValueError("slat_normalization is no mean and deviation of each channel")
        sampling = [_sampling(pipeline.get(name, {})) for name in ("sparse_structure_sampler", "slat_sampler")]
    with memory_guard(PLUG):
        networks: dict[str, Any] = {}
        for role, attribute in _ROLES.items():
            described = _read_json(fetch(source, f"{stems[role]}.json", revision, PLUG))
            weights = fetch(source, f"{stems[role]}.safetensors", revision, PLUG)
            if not isinstance(described.get("name"), str) or not isinstance(described.get("args"), dict):
                raise V2M4Error(f"TRELLIS: {stems[role]}.json names no network. Download {source} again.")
            network = load_network(described["name"], described["args"], read_state_dict(weights, PLUG))
            wanted = dtype or (None if device.type == "cuda" else torch.float32)
            if wanted is not None:
                network.to_torso_dtype(wanted)  # type: ignore[operator]
            networks[attribute] = network
        return TrellisModel(
            **networks,
            image_encoder=load_image_encoder(encoder_source, encoder_revision),
            slat_mean=mean,
            slat_std=std,
            structure_sampling=sampling[0],
            latent_sampling=sampling[1],
            device=device,
            low_vram=low_vram and device.type != "cpu",
        )


def load_image_encoder(source: str = ENCODER_REPOSITORY, revision: str = ENCODER_REVISION) -> ImageEncoder:
    """DINOv2 ViT-L/14 with registers from the Hub or a folder, strictly, in float32."""
    with understood(PLUG):
        config = sound(Dinov2Config.of_transformers(_read_json(fetch(source, "config.json", revision, PLUG))), PLUG)
    state = read_state_dict(fetch(source, "model.safetensors", revision, PLUG), PLUG)
    with understood(PLUG), torch.device("meta"):
        backbone = Dinov2(config)
    load_strictly(backbone, from_transformers(state), PLUG, assign=True)
    return ImageEncoder(backbone)


def _sampling(described: Mapping[str, Any]) -> SamplerSettings:
    """Sampler settings from the entry of a pipeline file; what it leaves out is as released."""
    params, default = described.get("params", {}), SamplerSettings()
    low, high = params.get("cfg_interval", default.interval)
    found = SamplerSettings(
        steps=int(params.get("steps", default.steps)),
        guidance=float(params.get("cfg_strength", default.guidance)),
        interval=(float(low), float(high)),
        rescale_t=float(params.get("rescale_t", default.rescale_t)),
        sigma_min=float(described.get("args", {}).get("sigma_min", default.sigma_min)),
    )
    if not 1 <= found.steps <= MOST_STEPS or not all(map(math.isfinite, (found.guidance, low, high, found.rescale_t))):
        raise ValueError("the sampler's numbers are no steps, strengths and times")
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise V2M4Error(
            f"TRELLIS: {path} cannot be read ({error}). Delete it and run again to download it anew."
        ) from error
    if not isinstance(content, dict):
        raise V2M4Error(
            f"TRELLIS: {path} is not a description of a model. Delete it and run again to download it anew."
        )
    return content
