"""Loads Hunyuan3D-2.0: from a Hub repository or a folder, strictly, in half precision on a GPU, float32 on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from v2m4.errors import V2M4Error
from v2m4.generators.hunyuan3d.checkpoints import CONFIG, FOLDERS, PLUG, REPOSITORY, REVISION, WEIGHTS_FILE
from v2m4.generators.hunyuan3d.model import HunyuanModel
from v2m4.generators.hunyuan3d.network import HunyuanConfig, HunyuanDiT
from v2m4.generators.hunyuan3d.sampling import PHASES, TRAIN_STEPS
from v2m4.generators.vecset.decoder import DecoderConfig, VecsetDecoder
from v2m4.generators.vecset.loading import chosen, load_network, part_of, read_config, refuse_foreign, same
from v2m4.nn.configs import sound, understood
from v2m4.nn.dinov2 import Dinov2, Dinov2Config, from_transformers
from v2m4.nn.weights import fetch, memory_guard, read_state_dict

ENCODER_PREFIX = "main_image_encoder.model."
TOKENS = 3072
"""Latents per shape where the configuration does not say."""


def dit_config(config: Mapping[str, Any]) -> HunyuanConfig:
    """From the block `model.params` of the official configuration. Raises V2M4Error for what is not supported."""
    names = (
        *("in_channels", "context_in_dim", "hidden_size", "mlp_ratio", "num_heads", "depth"),
        *("depth_single_blocks", "qkv_bias", "guidance_embed"),
    )
    # Positions are configured in the release too, but nothing reads them.
    values = chosen(config, same(names), {"time_factor": 1000}, ("axes_dim", "theta"), PLUG)
    return sound(HunyuanConfig(**values), PLUG)


def decoder_config(config: Mapping[str, Any]) -> DecoderConfig:
    """From the block `vae.params` of the official configuration. Raises V2M4Error for what is not supported."""
    used = {
        "embed_dim": "latent_channels",
        "width": "width",
        "heads": "heads",
        "num_decoder_layers": "layers",
        "num_freqs": "frequencies",
        "qkv_bias": "qkv_bias",
        "scale_factor": "scale_factor",
        "geo_decoder_downsample_ratio": "query_shrink",
        "geo_decoder_mlp_expand_ratio": "query_mlp_ratio",
        "geo_decoder_ln_post": "last_norm",
    }
    values = chosen(config, used, {"include_pi": False, "label_type": "binary"}, ("num_latents", "qk_norm"), PLUG)
    return sound(DecoderConfig(**values, head_norm="layer" if config.get("qk_norm", False) else "none"), PLUG)


def encoder_config(config: Mapping[str, Any]) -> Dinov2Config:
    """From the block `conditioner.params` of the official configuration. Raises V2M4Error for other conditioners."""
    main = config.get("main_image_encoder", {})
    if main.get("type") != "DinoImageEncoder" or set(config) - {"main_image_encoder"}:
        raise V2M4Error(
            f"{PLUG}: this checkpoint's picture encoder is unknown here; only single pictures through DINOv2 are "
            f"supported. Use {REPOSITORY}."
        )
    return sound(Dinov2Config.of_transformers(main["kwargs"]["config"]), PLUG)


def token_count(config: Mapping[str, Any]) -> int:
    """Latents per shape, from the block `vae.params`. Raises V2M4Error if that is no number of them."""
    return sound(_Tokens(config.get("num_latents", TOKENS)), PLUG).num_latents


@dataclass(frozen=True)
class _Tokens:
    num_latents: int


def phases(scheduler: Mapping[str, Any]) -> int | None:
    """Times of a consistency scheduler, None for the plain one. Raises V2M4Error for what is not supported."""
    kind = str(scheduler.get("target", "FlowMatchEulerDiscreteScheduler")).rsplit(".", 1)[-1]
    names = {"pcm_timesteps": "phases"} if kind.startswith("Consistency") else {}
    if kind.removeprefix("Consistency") != "FlowMatchEulerDiscreteScheduler":
        raise V2M4Error(f"{PLUG}: this checkpoint's sampler {kind} is unknown here. Use {REPOSITORY}.")
    only = {"num_train_timesteps": TRAIN_STEPS, "shift": 1.0, "use_dynamic_shifting": False}
    values = chosen(scheduler.get("params") or {}, names, only, (), PLUG)
    return sound(_Phases(values.get("phases", PHASES)), PLUG).pcm_timesteps if names else None


@dataclass(frozen=True)
class _Phases:
    pcm_timesteps: int


def from_pretrained(
    source: str = REPOSITORY,
    revision: str = REVISION,
    device: torch.device | str = "cpu",
    low_vram: bool = False,
    variant: str = "base",
) -> HunyuanModel:
    """Load Hunyuan3D-2.0's shape generator from the Hub (or a folder laid out like it) onto `device`.

    `variant`: a key of `FOLDERS`.
    Raises V2M4Error if files are missing or foreign, the Hub cannot be reached, or memory is too small.
    """
    device = torch.device(device)
    folder = FOLDERS[variant]
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    config = read_config(fetch(source, f"{folder}/{CONFIG}", revision, PLUG), PLUG)
    wanted = ("model", "vae", "conditioner")
    with understood(PLUG):
        blocks: dict[str, Any] = {name: (config.get(name) or {}).get("params") for name in wanted}
    absent = [name for name, params in blocks.items() if not isinstance(params, dict)]
    if absent:
        raise V2M4Error(f"{PLUG}: {folder}/{CONFIG} does not describe {', '.join(absent)}. Download {source} again.")
    with understood(PLUG):
        of_flow, of_vae = dit_config(blocks["model"]), decoder_config(blocks["vae"])
        of_encoder, times = encoder_config(blocks["conditioner"]), phases(config.get("scheduler") or {})
        tokens = token_count(blocks["vae"])
    weights = fetch(source, f"{folder}/{WEIGHTS_FILE}", revision, PLUG)
    with memory_guard(PLUG):
        state = read_state_dict(weights, PLUG)
        in_file = f"conditioner.{ENCODER_PREFIX}"
        refuse_foreign(state, ("model.", "vae.", in_file), weights, PLUG)
        encoder_state = from_transformers(part_of(state, in_file))
        encoder = load_network(lambda: Dinov2(of_encoder), encoder_state, (), PLUG, dtype)
        flow = load_network(lambda: HunyuanDiT(of_flow), part_of(state, "model."), (), PLUG, dtype)
        decoder = load_network(lambda: VecsetDecoder(of_vae), part_of(state, "vae."), (), PLUG, dtype)
        return HunyuanModel(
            PLUG,
            encoder,
            flow,
            decoder,
            tokens,
            of_flow.in_channels,
            device,
            low_vram and device.type != "cpu",
            times,
        )
