"""Loads CraftsMan3D: from a Hub repository or a folder, strictly; what its sizes are, its own configuration decides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.generators.craftsman3d.checkpoints import CONFIG, PLUG, REPOSITORY, REVISION, WEIGHTS_FILE
from v2m4.generators.craftsman3d.model import CraftsManModel
from v2m4.generators.craftsman3d.network import CraftsManConfig, CraftsManDiT
from v2m4.generators.vecset.decoder import DecoderConfig, VecsetDecoder
from v2m4.generators.vecset.loading import chosen, load_network, part_of, read_config, refuse_foreign, same, without
from v2m4.nn.configs import sound, understood
from v2m4.nn.dinov2 import Dinov2, Dinov2Config, from_transformers
from v2m4.nn.precision import choose_precision
from v2m4.nn.weights import Renaming, fetch, memory_guard, read_state_dict

SHAPE_PREFIX, FLOW_PREFIX, ENCODER_PREFIX = "shape_model.", "denoiser_model.", "condition.dino_model."
SHAPE_UNUSED = ("encoder.", "pre_kl.")
"""Parts of the shape model's checkpoint that only encode surfaces."""
SHAPE_NAMES = (Renaming(r"decoder\.(.+)", r"geo_decoder.\1"),)
"""From the official names of the shape model to those of `VecsetDecoder`."""
SHIFT = 3.0
_SCHEDULERS = ("noise_scheduler", "denoise_scheduler")
_HEAD_WIDTH = 64  # of every DINOv2; their checkpoints do not say it


def denoiser_config(config: Mapping[str, Any]) -> CraftsManConfig:
    """From the block `denoiser_model`. Raises V2M4Error for what is not supported."""
    names = ("input_channels", "output_channels", "n_ctx", "width", "layers", "heads", "context_dim")
    only = {"condition_type": "dinov2", "qkv_fuse": True, "use_RMSNorm": False, "qkv_bias": False}
    ignored = ("init_scale", "use_checkpoint", "drop_path", "skip_ln", "variance_type", "pretrained_model_name_or_path")
    return sound(CraftsManConfig(**chosen(config, same(names), only, ignored, PLUG)), PLUG)


def shape_config(config: Mapping[str, Any], scale_factor: float = 1.0) -> DecoderConfig:
    """From the block `shape_model`. Raises V2M4Error for what is not supported."""
    used = {
        "embed_dim": "latent_channels",
        "width": "width",
        "heads": "heads",
        "num_decoder_layers": "layers",
        "num_freqs": "frequencies",
        "use_ln_post": "last_norm",
    }
    only = {"include_pi": False, "qkv_bias": False, "out_dim": 1}
    ignored = (
        *("n_samples", "with_sharp_data", "use_downsample", "num_latents", "point_feats", "num_encoder_layers"),
        *("init_scale", "use_flash", "use_checkpoint", "use_multi_reso", "pretrained_model_name_or_path"),
    )
    values = chosen(config, used, only, ignored, PLUG)
    return sound(DecoderConfig(**values, head_norm="none", eps=1e-5, scale_factor=scale_factor), PLUG)


def encoder_config(state: Mapping[str, Tensor]) -> Dinov2Config:
    """Sizes of the picture encoder, read from its weights (under our names)."""
    if "pos_embed" not in state or "patch_embed.proj.weight" not in state:
        raise V2M4Error(f"{PLUG}: the checkpoint holds no picture encoder that is known here. Use {REPOSITORY}.")
    width, patch = state["pos_embed"].shape[2], state["patch_embed.proj.weight"].shape[3]
    side = round((state["pos_embed"].shape[1] - 1) ** 0.5)
    depth = 1 + max((int(name.split(".")[1]) for name in state if name.startswith("blocks.")), default=-1)
    registers = state["register_tokens"].shape[1] if "register_tokens" in state else 0
    return Dinov2Config(
        width=width,
        depth=depth,
        heads=max(width // _HEAD_WIDTH, 1),
        image_size=side * patch,
        patch_size=patch,
        registers=registers,
        swiglu="blocks.0.mlp.w12.weight" in state,
        antialias=registers > 0,
    )


def resolved(config: Mapping[str, Any]) -> dict[str, Any]:
    """The block `system` with references such as ${system.shape_model.width} replaced by what they name.

    Raises V2M4Error if the configuration has no such block or a reference leads nowhere.
    """

    def look_up(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: look_up(inner) for name, inner in value.items()}
        match = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
        if match is None:
            return value
        found: Any = config
        for name in match[1].split("."):
            if not isinstance(found, dict) or name not in found:
                raise V2M4Error(f"{PLUG}: {CONFIG} refers to {match[1]}, which it does not hold. Download it again.")
            found = found[name]
        return look_up(found)

    system = config.get("system")
    needed = ("shape_model", "denoiser_model")
    also = ("z_scale_factor", *_SCHEDULERS)
    if not isinstance(system, dict) or any(not isinstance(system.get(name), dict) for name in needed):
        raise V2M4Error(f"{PLUG}: {CONFIG} does not describe the networks. Download {REPOSITORY} again.")
    return {name: look_up(value) for name, value in system.items() if name in (*needed, *also)}


def check_sampling(system: Mapping[str, Any]) -> None:
    """Raise V2M4Error if the configuration asks for another grid of times than the released one."""
    for name in _SCHEDULERS:
        shift = (system.get(name) or {}).get("shift", SHIFT)
        if shift != SHIFT:
            raise V2M4Error(
                f"{PLUG}: this checkpoint was trained with shift {shift}, and only {SHIFT:g} is supported. "
                f"Use {REPOSITORY}."
            )
    if not isinstance(system.get("z_scale_factor", 1.0), (int, float)):
        raise V2M4Error(f"{PLUG}: z_scale_factor in {CONFIG} must be a number. Download {REPOSITORY} again.")


def from_pretrained(
    source: str = REPOSITORY,
    revision: str = REVISION,
    device: torch.device | str = "cpu",
    low_vram: bool = False,
) -> CraftsManModel:
    """Load CraftsMan3D with Dora's vector sets from the Hub (or a folder laid out like it) onto `device`.

    Raises V2M4Error if files are missing or foreign, the Hub cannot be reached, or memory is too small.
    """
    device = torch.device(device)
    cpu = device.type == "cpu"
    half = getattr(torch, choose_precision("auto", device))
    system = resolved(read_config(fetch(source, CONFIG, revision, PLUG), PLUG))
    with understood(PLUG):
        check_sampling(system)
        of_flow = denoiser_config(system["denoiser_model"])
        of_shape = shape_config(system["shape_model"], float(system.get("z_scale_factor", 1.0)))
    weights = fetch(source, WEIGHTS_FILE, revision, PLUG)
    with memory_guard(PLUG):
        state = read_state_dict(weights, PLUG)
        refuse_foreign(state, (SHAPE_PREFIX, FLOW_PREFIX, ENCODER_PREFIX), weights, PLUG)
        encoder_state = from_transformers(part_of(state, ENCODER_PREFIX))
        with understood(PLUG):
            of_encoder = sound(encoder_config(encoder_state), PLUG)
        encoder = load_network(lambda: Dinov2(of_encoder), encoder_state, (), PLUG, half)
        flow = load_network(lambda: CraftsManDiT(of_flow), part_of(state, FLOW_PREFIX), (), PLUG, half)
        decoder = load_network(
            lambda: VecsetDecoder(of_shape),
            without(part_of(state, SHAPE_PREFIX), SHAPE_UNUSED),
            SHAPE_NAMES,
            PLUG,
            torch.float32 if cpu else torch.float16,
        )
        return CraftsManModel(
            PLUG, encoder, flow, decoder, of_flow.n_ctx, of_flow.input_channels, device, low_vram and not cpu
        )
