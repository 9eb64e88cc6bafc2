"""Checkpoint folders laid out like the released ones, with the small networks of the parity fixtures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from tests.parity.runner import config_of, group, load_fixture
from v2m4.generators.craftsman3d.builder import ENCODER_PREFIX, FLOW_PREFIX, SHAPE_PREFIX
from v2m4.generators.hunyuan3d.checkpoints import CONFIG, FOLDERS, WEIGHTS_FILE
from v2m4.generators.triposg import checkpoints as triposg_files

FIXTURES = Path(__file__).parents[2] / "parity" / "fixtures"


def fixture(name: str) -> tuple[Any, dict[str, Tensor]]:
    """Configuration and official weights of a parity fixture."""
    meta, tensors = load_fixture(FIXTURES / f"{name}.safetensors")
    return config_of(meta), group(tensors, "w")


def triposg(folder: Path) -> None:
    """Three networks with their configurations, each in a folder of its own."""
    parts = {"encoder": "triposg/tiny_dinov2", "transformer": "triposg/tiny_dit", "vae": "triposg/tiny_vae"}
    for part, (place, file) in triposg_files.FOLDERS.items():
        config, weights = fixture(parts[part])
        (folder / place).mkdir(parents=True)
        (folder / place / "config.json").write_text(json.dumps({"_class_name": "Any", **config}))
        save_file(weights, str(folder / place / file))


def hunyuan3d(folder: Path, variant: str = "base") -> None:
    """One file with everything, beside its configuration; the only small flow fixture is a distilled one."""
    place = folder / FOLDERS[variant]
    place.mkdir(parents=True)
    parts = {"model": "tiny_dit_guidance", "vae": "tiny_vae", "conditioner": "tiny_conditioner"}
    config: dict[str, Any] = {}
    state: dict[str, Tensor] = {}
    for part, name in parts.items():
        params, weights = fixture(f"hunyuan3d/{name}")
        params.pop("processor_size", None)
        config[part] = {"target": "hy3dgen.Anything", "params": params}
        state |= {f"{part}.{key}": tensor for key, tensor in weights.items()}
    prefix = "Consistency" if variant == "turbo" else ""
    config["scheduler"] = {
        "target": f"hy3dgen.shapegen.schedulers.{prefix}FlowMatchEulerDiscreteScheduler",
        "params": {"num_train_timesteps": 1000, **({"pcm_timesteps": 50} if prefix else {})},
    }
    (place / CONFIG).write_text(yaml.safe_dump(config))
    save_file(state, str(place / WEIGHTS_FILE))


def craftsman3d(folder: Path) -> None:
    """A training checkpoint beside its configuration, which refers to itself as the public ones do."""
    folder.mkdir(parents=True, exist_ok=True)
    shape, shape_weights = fixture("craftsman3d/tiny_dora_vae")
    flow, flow_weights = fixture("craftsman3d/tiny_denoiser")
    _, encoder_weights = fixture("craftsman3d/tiny_dinov2_registers")
    flow |= {"input_channels": "${system.shape_model.embed_dim}", "n_ctx": "${system.shape_model.num_latents}"}
    system = {
        "z_scale_factor": 1.0,
        "shape_model": shape,
        "denoiser_model": flow,
        "condition_model": {"pretrained": "${data.somewhere}"},
        "noise_scheduler": {"num_train_timesteps": 1000, "shift": 3.0},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"name": "any", "system": system}))
    parts = ((SHAPE_PREFIX, shape_weights), (FLOW_PREFIX, flow_weights), (ENCODER_PREFIX, encoder_weights))
    state = {f"{prefix}{key}": tensor for prefix, weights in parts for key, tensor in weights.items()}
    # What only encodes surfaces is part of the released file too.
    state[f"{SHAPE_PREFIX}pre_kl.weight"] = torch.zeros(12, 24)
    torch.save({"state_dict": state, "epoch": 3}, folder / "model.ckpt")
