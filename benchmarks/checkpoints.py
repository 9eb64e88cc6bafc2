"""Seeded random checkpoints in the official layout, in caches shaped like the Hub's and PyTorch's.

Random weights cost what real ones cost, and are read by the code that reads real ones: `v2m4` finds them where it would
have downloaded them, when it is started with `environment`. What they make is rubbish; see `stand_in`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.bench_stereo import TOY_DUST3R
from tests.generators.trellis import tiny
from v2m4.generators.trellis.builder import build_network
from v2m4.generators.trellis.checkpoints import CHECKPOINTS, ENCODER_REPOSITORY, ENCODER_REVISION, REPOSITORY, REVISION
from v2m4.nn.dinov2 import Dinov2, Dinov2Config
from v2m4.perceptual import PERCEPTUALS
from v2m4.perceptual.dreamsim import (
    CLIP_MEMBER,
    CLIP_VIT,
    DINO_VIT,
    OPEN_CLIP_MEMBER,
    OPEN_CLIP_VIT,
    UPDATES_FOLDER,
    DreamSimNetwork,
    Vit,
    VitConfig,
)
from v2m4.perceptual.lpips import Vgg16Features
from v2m4.settings import Dust3rSettings
from v2m4.stereo import STEREOS
from v2m4.stereo.dust3r import predictor as dust3r_predictor
from v2m4.stereo.dust3r.model import AsymmetricCroCo3DStereo, Dust3rConfig

MANIFESTS = Path(__file__).parents[1] / "tests" / "parity" / "fixtures" / "trellis"
VITS = (DINO_VIT, CLIP_VIT, OPEN_CLIP_VIT)
SPREAD = 0.02  # of the weights; what transformers are initialised with
RANK, ALPHA = 16, 0.5


def environment(root: Path) -> dict[str, str]:
    """Environment variables under which checkpoints are looked for in ``root``, and nowhere else."""
    return {"HF_HOME": str(root / "huggingface"), "TORCH_HOME": str(root / "torch"), "HF_HUB_OFFLINE": "1"}


def write_checkpoints(root: Path, device: torch.device, *, toy: bool) -> int:
    """Write TRELLIS, DINOv2, DUSt3R, DreamSim and LPIPS's trunk; returns the bytes written.

    device: where the numbers are drawn. toy: sizes for trying everything on a CPU, see `shrink`.
    """
    torch.manual_seed(0)
    random = partial(random_state, device=device)
    _write_trellis(_snapshot(root, REPOSITORY, REVISION), random, toy)
    _write_encoder(_snapshot(root, ENCODER_REPOSITORY, ENCODER_REVISION), random, toy)
    repository, file, revision = STEREOS["dust3r"].weights[0]
    with torch.device("meta"):
        dust3r = AsymmetricCroCo3DStereo(TOY_DUST3R if toy else Dust3rConfig())
    _save(_snapshot(root, repository, revision) / file, random(dust3r))
    folder = root / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    _write_dreamsim(folder, random, toy)
    with torch.device("meta"):
        trunk = Vgg16Features()
    torch.save(random(trunk), folder / PERCEPTUALS["lpips"].torch_files[0][0])
    return sum(file.stat().st_size for file in root.rglob("*") if file.is_file())


def random_state(network: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """A state for a network that lives on the "meta" device: matrices normal, biases zero, scales one."""
    state = {}
    for name, like in network.state_dict().items():
        if like.dim() > 1 and like.is_floating_point():
            state[name] = (SPREAD * torch.randn(like.shape, device=device)).to("cpu", like.dtype)
        else:
            scale = like.is_floating_point() and not name.endswith("bias")
            state[name] = torch.full(like.shape, float(scale), dtype=like.dtype, device="cpu")
    return state


def shrink() -> None:
    """Let this process take toy sizes for the networks whose sizes no file tells."""
    toy_dreamsim = partial(DreamSimNetwork, toy_vits())
    dust3r: Any = dust3r_predictor
    dust3r.Dust3rConfig = lambda: TOY_DUST3R
    few = Dust3rSettings(iterations=5)
    dust3r.Dust3r.from_settings = classmethod(lambda cls, settings, device: cls(device, size=64, alignment=few))
    import v2m4.perceptual.dreamsim as dreamsim

    dreamsim.DreamSimNetwork = toy_dreamsim  # type: ignore[misc, assignment]


def toy_vits() -> tuple[VitConfig, ...]:
    """DreamSim's transformers, small."""
    return tuple(replace(c, width=48, depth=2, heads=2, projected=c.projected and 16) for c in VITS)


def _snapshot(root: Path, repository: str, revision: str) -> Path:
    """The folder in which the Hub's cache keeps a revision of a repository."""
    folder = root / "huggingface" / "hub" / f"models--{repository.replace('/', '--')}" / "snapshots" / revision
    folder.mkdir(parents=True)
    return folder


def _save(path: Path, state: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, str(path))


def _write_trellis(folder: Path, random: Callable[[nn.Module], dict[str, Tensor]], toy: bool) -> None:
    """The five networks with their configurations, and the file that names them."""
    described = {}
    for path in MANIFESTS.glob("manifest_*.json"):
        manifest = json.loads(path.read_text())
        described[manifest["pipeline_role"]] = (manifest["class"], manifest["config"])
    for role, (class_name, config) in (tiny.CONFIGS if toy else described).items():
        with torch.device("meta"):
            network = build_network(class_name, config)
        _save(folder / f"{CHECKPOINTS[role]}.safetensors", random(network))
        (folder / f"{CHECKPOINTS[role]}.json").write_text(json.dumps({"name": class_name, "args": config}))
    (folder / "pipeline.json").write_text(json.dumps({"args": {"models": CHECKPOINTS}}))


def _write_encoder(folder: Path, random: Callable[[nn.Module], dict[str, Tensor]], toy: bool) -> None:
    """DINOv2 with registers as the library `transformers` writes it."""
    size = Dinov2Config(registers=4)
    if toy:
        size = Dinov2Config(width=tiny.CONDITION, depth=2, heads=2, mlp_ratio=2, patch_size=37, registers=4)
    with torch.device("meta"):
        state = random(Dinov2(size))
    config = {
        "hidden_size": size.width,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "image_size": size.image_size,
        "patch_size": size.patch_size,
        "mlp_ratio": size.mlp_ratio,
        "num_register_tokens": size.registers,
    }
    (folder / "config.json").write_text(json.dumps(config))
    _save(folder / "model.safetensors", to_transformers(state))


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DINOv2's tensors under the names of `transformers`, version 4: what `dinov2.from_transformers` undoes."""
    named = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] in ("cls_token", "mask_token", "register_tokens"):
            named[f"embeddings.{name}"] = tensor
        elif parts[0] == "pos_embed":
            named["embeddings.position_embeddings"] = tensor
        elif parts[0] == "patch_embed":
            named[f"embeddings.patch_embeddings.projection.{parts[-1]}"] = tensor
        elif parts[0] == "norm":
            named[f"layernorm.{parts[-1]}"] = tensor
        else:
            layer, rest = f"encoder.layer.{parts[1]}", parts[2:]
            if rest[:2] == ["attn", "qkv"]:
                for third, part in zip(tensor.chunk(3), ("query", "key", "value"), strict=True):
                    named[f"{layer}.attention.attention.{part}.{rest[-1]}"] = third
            elif rest[:2] == ["attn", "proj"]:
                named[f"{layer}.attention.output.dense.{rest[-1]}"] = tensor
            elif rest[0] in ("ls1", "ls2"):
                named[f"{layer}.layer_scale{rest[0][-1]}.lambda1"] = tensor
            else:
                named[f"{layer}.{'.'.join(rest)}"] = tensor
    return named


def _write_dreamsim(folder: Path, random: Callable[[nn.Module], dict[str, Tensor]], toy: bool) -> None:
    """DINO's file, and the archive with CLIP, OpenCLIP and the low-rank updates of all three."""
    archive, dino = (folder / name for name, *_ in PERCEPTUALS["dreamsim"].torch_files)
    states, updates = [], {}
    for index, config in enumerate(toy_vits() if toy else VITS):
        with torch.device("meta"):
            states.append(random(Vit(config)))
        for block in range(config.depth):
            name = f"base_model.model.extractor_list.{index}.model.blocks.{block}.attn.qkv"
            updates[f"{name}.lora_A.weight"] = SPREAD * torch.randn(RANK, config.width)
            updates[f"{name}.lora_B.weight"] = SPREAD * torch.randn(3 * config.width, RANK)
    torch.save(states[0], dino)
    adapter = folder / "adapter_model.safetensors"
    _save(adapter, updates)
    with zipfile.ZipFile(archive, "w") as content:
        for member, state in zip((CLIP_MEMBER, OPEN_CLIP_MEMBER), states[1:], strict=True):
            with content.open(member, "w", force_zip64=True) as stream:
                torch.save({"state_dict": state}, stream)
        content.write(adapter, f"{UPDATES_FOLDER}/{adapter.name}")
        content.writestr(f"{UPDATES_FOLDER}/adapter_config.json", json.dumps({"r": RANK, "lora_alpha": ALPHA}))
    adapter.unlink()
