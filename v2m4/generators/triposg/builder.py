"""Loads TripoSG: from a Hub repository or a folder, strictly, in half precision on a GPU and in float32 on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from v2m4.generators.triposg.checkpoints import FOLDERS, PLUG, REPOSITORY, REVISION
from v2m4.generators.triposg.network import (
    TRANSFORMER_NAMES,
    TripoSgConfig,
    TripoSgDiT,
    TripoSgVaeConfig,
    decoder_names,
)
from v2m4.generators.vecset.attention import KeysValues
from v2m4.generators.vecset.decoder import VecsetDecoder
from v2m4.generators.vecset.loading import chosen, load_network, read_config, same, without
from v2m4.generators.vecset.model import VecsetModel
from v2m4.nn.configs import sound
from v2m4.nn.dinov2 import Dinov2, Dinov2Config, from_transformers
from v2m4.nn.weights import fetch, memory_guard, read_state_dict

TripoSgModel = VecsetModel[list[KeysValues]]
TOKENS = 2048
"""Latents per shape; the networks take any number, and were trained with up to these."""
VAE_UNUSED = ("encoder.", "quant.")
"""Parts of the VAE's checkpoint that only encode surfaces."""


def transformer_config(config: Mapping[str, Any]) -> TripoSgConfig:
    """From the official configuration. Raises V2M4Error for what is not supported."""
    names = ("num_attention_heads", "width", "in_channels", "num_layers", "cross_attention_dim")
    only = {"use_cross_attention_2": False, "cross_attention_2_dim": None}
    ignored = ("_class_name", "_diffusers_version", "_name_or_path")
    return sound(TripoSgConfig(**chosen(config, same(names), only, ignored, PLUG)), PLUG)


def vae_config(config: Mapping[str, Any]) -> TripoSgVaeConfig:
    """From the official configuration. Raises V2M4Error for what is not supported."""
    names = ("latent_channels", "num_attention_heads", "width_decoder", "num_layers_decoder", "embed_frequency")
    only = {"embedding_type": "frequency", "embed_include_pi": False}
    ignored = (
        *("_class_name", "_diffusers_version", "_name_or_path"),
        *("in_channels", "width_encoder", "num_layers_encoder"),
    )
    return sound(TripoSgVaeConfig(**chosen(config, same(names), only, ignored, PLUG)), PLUG)


def from_pretrained(
    source: str = REPOSITORY,
    revision: str = REVISION,
    device: torch.device | str = "cpu",
    low_vram: bool = False,
) -> TripoSgModel:
    """Load TripoSG from the Hub (or a folder laid out like it) onto `device`.

    Raises V2M4Error if files are missing or foreign, the Hub cannot be reached, or memory is too small.
    """
    device = torch.device(device)
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    configs, files = {}, {}
    for part, (folder, weights) in FOLDERS.items():
        configs[part] = read_config(fetch(source, f"{folder}/config.json", revision, PLUG), PLUG)
        files[part] = fetch(source, f"{folder}/{weights}", revision, PLUG)
    with memory_guard(PLUG):
        of_encoder = sound(Dinov2Config.of_transformers(configs["encoder"]), PLUG)
        encoder = load_network(
            lambda: Dinov2(of_encoder), from_transformers(read_state_dict(files["encoder"], PLUG)), (), PLUG, dtype
        )
        of_flow = transformer_config(configs["transformer"])
        flow = load_network(
            lambda: TripoSgDiT(of_flow), read_state_dict(files["transformer"], PLUG), TRANSFORMER_NAMES, PLUG, dtype
        )
        of_vae = vae_config(configs["vae"])
        decoder = load_network(
            lambda: VecsetDecoder(of_vae.decoder()),
            without(read_state_dict(files["vae"], PLUG), VAE_UNUSED),
            decoder_names(of_vae.num_layers_decoder),
            PLUG,
            dtype,
        )
        return TripoSgModel(
            PLUG, encoder, flow, decoder, TOKENS, of_flow.in_channels, device, low_vram and device.type != "cpu"
        )
