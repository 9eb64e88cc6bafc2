"""DreamSim: the ensemble's embedding, batching, slopes, and the published archive."""

import json
import zipfile
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from v2m4.errors import V2M4Error
from v2m4.nn.transformer import quick_gelu
from v2m4.perceptual import dreamsim as dreamsim_module
from v2m4.perceptual.dreamsim import (
    CLIP,
    IMAGENET,
    DreamSim,
    DreamSimNetwork,
    Vit,
    VitConfig,
    merge_updates,
    read_archive,
)

SMALL = {"image_size": 32, "width": 24, "depth": 2, "heads": 2}
CONFIGS = (
    VitConfig(IMAGENET, 1e-6, None, **SMALL),
    VitConfig(CLIP, 1e-5, 12, quick_gelu, **SMALL),
    VitConfig(CLIP, 1e-5, 12, **SMALL),
)


def randomised(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def small_network(seed: int = 0) -> DreamSimNetwork:
    torch.manual_seed(seed)
    network = DreamSimNetwork(CONFIGS)
    randomised(network, seed)
    return network


def test_an_embedding_joins_three_networks_and_is_centred_and_of_unit_length() -> None:
    network = small_network()
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        embedding = network(images)
        joined = torch.cat([extractor(images) for extractor in network.extractors], dim=1)
    assert embedding.shape == (3, 24 + 12 + 12)
    assert torch.allclose(embedding, F.normalize(joined - joined.mean(1, keepdim=True), dim=1))
    assert torch.allclose(embedding.mean(1), torch.zeros(3), atol=1e-6)


def test_dinos_class_token_is_taken_before_the_final_norm_and_clips_after() -> None:
    dino, clip = (randomised(Vit(config), 1) for config in CONFIGS[:2])
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = dino(images), clip(images)
        dino.norm.weight.zero_()
        clip.norm.weight.zero_()
        after = dino(images), clip(images)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_a_picture_is_at_no_distance_from_itself_and_batches_change_nothing() -> None:
    plug = DreamSim(network=small_network(), images_per_batch=2)
    images = torch.rand(5, 32, 32, 3)
    prepared = plug.prepare(images[1])
    distances = plug(prepared, images)
    assert distances.shape == (5,)
    assert distances[1].item() == pytest.approx(0, abs=1e-6)
    assert (distances[[0, 2, 3, 4]] > 1e-6).all()
    alone = torch.cat([plug(prepared, image[None]) for image in images])
    assert torch.allclose(distances, alone, atol=1e-6)


def test_the_reference_is_embedded_once() -> None:
    plug = DreamSim(network=small_network(), images_per_batch=4)
    seen: list[int] = []
    plug.network.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    prepared = plug.prepare(torch.rand(32, 32, 3))
    for _ in range(3):
        plug(prepared, torch.rand(4, 32, 32, 3))
    assert seen == [1, 4, 4, 4]


def test_pictures_are_resampled_to_the_networks_size() -> None:
    plug = DreamSim(network=small_network())
    coarse = torch.rand(1, 3, 8, 8)
    large = F.interpolate(coarse, size=(96, 96), mode="bilinear").permute(0, 2, 3, 1)
    small = F.interpolate(coarse, size=(32, 32), mode="bilinear").permute(0, 2, 3, 1)
    assert float(plug(plug.prepare(large[0]), small)) < 0.01


def test_descent_on_the_pixels_brings_a_picture_closer() -> None:
    plug = DreamSim(network=small_network())
    prepared = plug.prepare(torch.rand(40, 40, 3))
    picture = torch.full((1, 40, 40, 3), 0.5, requires_grad=True)
    first = plug(prepared, picture).sum()
    (slope,) = torch.autograd.grad(first, picture)
    assert torch.isfinite(slope).all()
    moved = picture.detach() - 0.02 * slope / slope.abs().max()
    assert float(plug(prepared, moved).sum()) < first.item()


def test_half_precision_ranks_pictures_alike() -> None:
    images = torch.rand(6, 32, 32, 3)
    full, half = DreamSim(network=small_network()), DreamSim(network=small_network(), precision="bfloat16")
    distances = full(full.prepare(images[0]), images)
    approximate = half(half.prepare(images[0]), images)
    assert approximate.dtype == torch.float32
    assert float((distances - approximate).abs().max()) < 0.1 * float(distances.max())


def updates_for(states: list[dict[str, Tensor]], rank: int) -> dict[str, Tensor]:
    updates = {}
    for k, state in enumerate(states):
        for name in state:
            if name.endswith("attn.qkv.weight"):
                stem = f"base_model.model.extractor_list.{k}.model.{name.removesuffix('.weight')}"
                updates[f"{stem}.lora_A.weight"] = torch.randn(rank, state[name].shape[1])
                updates[f"{stem}.lora_B.weight"] = torch.randn(state[name].shape[0], rank)
    return updates


def test_low_rank_updates_act_as_they_would_beside_the_layer() -> None:
    network = small_network()
    states = [dict(extractor.state_dict()) for extractor in network.extractors]
    updates = updates_for(states, rank=3)
    merged = merge_updates(states, updates, scale=0.25)
    x = torch.randn(5, 24)
    stem = "base_model.model.extractor_list.1.model.blocks.0.attn.qkv"
    beside = x @ states[1]["blocks.0.attn.qkv.weight"].T
    beside = beside + 0.25 * (x @ updates[f"{stem}.lora_A.weight"].T) @ updates[f"{stem}.lora_B.weight"].T
    assert torch.allclose(x @ merged[1]["blocks.0.attn.qkv.weight"].T, beside, atol=1e-4)
    assert torch.equal(merged[1]["blocks.0.mlp.fc1.weight"], states[1]["blocks.0.mlp.fc1.weight"])


@pytest.mark.parametrize(
    "names",
    [
        ["base_model.model.extractor_list.3.model.blocks.0.attn.qkv.lora_A.weight"],
        ["base_model.model.extractor_list.0.model.blocks.9.attn.qkv.lora_A.weight"],
        ["base_model.model.mlp.weight"],
        ["base_model.model.extractor_list.0.model.blocks.0.attn.qkv.lora_A.weight"],
    ],
)
def test_updates_that_fit_nowhere_are_refused(names: list[str]) -> None:
    states = [dict(extractor.state_dict()) for extractor in small_network().extractors]
    with pytest.raises(V2M4Error, match="dreamsim: .*Delete the archive"):
        merge_updates(states, {name: torch.zeros(2, 24) for name in names}, 1.0)


def write_archive(folder: Path, states: list[dict[str, Tensor]], updates: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": states[1]}, folder / "clip_vitb16_pretrain.pth.tar")
    torch.save({"state_dict": states[2]}, folder / "open_clip_vitb16_pretrain.pth.tar")
    save_file(updates, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 0.5}))
    path = folder / "ensemble.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("clip_vitb16_pretrain.pth.tar", "open_clip_vitb16_pretrain.pth.tar"):
            archive.write(folder / name, name)
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            archive.write(folder / name, f"ensemble_lora/{name}")
    return path


def test_the_published_archive_is_read_and_put_together(monkeypatch, tmp_path) -> None:
    source = small_network(3)
    states = [dict(extractor.state_dict()) for extractor in source.extractors]
    updates = updates_for(states, rank=4)
    archive = write_archive(tmp_path, states, updates)
    torch.save(states[0], tmp_path / "dino.pth")
    monkeypatch.setattr(
        dreamsim_module,
        "fetch_url",
        lambda url, name, plug, start: archive if url.endswith("zip") else tmp_path / "dino.pth",
    )
    monkeypatch.setattr(dreamsim_module, "DreamSimNetwork", lambda: DreamSimNetwork(CONFIGS))
    loaded = DreamSim().network
    want = merge_updates(states, updates, 0.5 / 4)
    for extractor, state in zip(loaded.extractors, want, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in extractor.state_dict().items())


@pytest.mark.parametrize("fault", ["truncated", "incomplete"])
def test_a_damaged_archive_says_to_delete_it(tmp_path, fault: str) -> None:
    states = [dict(extractor.state_dict()) for extractor in small_network().extractors]
    archive = write_archive(tmp_path, states, updates_for(states, 4))
    if fault == "truncated":
        archive.write_bytes(archive.read_bytes()[:1000])
    else:
        with zipfile.ZipFile(archive, "w") as content:
            content.writestr("readme.txt", "nothing here")
    with pytest.raises(V2M4Error, match=r"dreamsim: the archive .* Delete it"):
        read_archive(archive)


def test_the_real_size_is_three_times_vit_base() -> None:
    with torch.device("meta"):
        network = DreamSimNetwork()
    counts = [sum(p.numel() for p in extractor.parameters()) for extractor in network.extractors]
    base, input_norm, projection = 85_798_656, 2 * 768, 768 * 512
    assert counts == [base, base + input_norm + projection, base + input_norm + projection]


@pytest.mark.slow
def test_the_distance_is_that_of_the_package(monkeypatch, tmp_path) -> None:
    """The package's own reading of an archive of random weights in the published layout, at full size, against ours."""
    package = pytest.importorskip("dreamsim", exc_type=(ImportError, RuntimeError))
    from dreamsim.feature_extraction.vision_transformer import DINOHead, vit_base
    from peft import LoraConfig, PeftModel, get_peft_model

    source = DreamSimNetwork()
    randomised_a_little(source)
    states = [dict(extractor.state_dict()) for extractor in source.extractors]
    # 1. What the package unpacks into its folder; it reads a DINO head, though the distance does not use it.
    head = {f"module.head.{name}": tensor for name, tensor in DINOHead(768, 2048).state_dict().items()}
    head["module.head.last_layer.weight"] = torch.zeros(2048, 256)
    torch.save({"student": head}, tmp_path / "dino_vitb16_pretrain.pth")
    torch.save(states[0], tmp_path / "dino.pth")
    for state, name in zip(states[1:], (dreamsim_module.CLIP_MEMBER, dreamsim_module.OPEN_CLIP_MEMBER), strict=True):
        torch.save({"state_dict": dict(state)}, tmp_path / name)
    dino = vit_base(patch_size=16)
    dino.load_state_dict(states[0])
    monkeypatch.setattr(torch.hub, "load", lambda repository, model: deepcopy(dino))
    arguments = package.config.dreamsim_args["model_config"]["ensemble"]
    base = package.model.PerceptualModel(**arguments, device="cpu", load_dir=str(tmp_path), normalize_embeds=True)
    tuned = get_peft_model(base, LoraConfig(r=4, lora_alpha=2, target_modules=["qkv"]))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:  # begins as zeros, which would change nothing
            nn.init.normal_(parameter, std=0.05)
    tuned.save_pretrained(str(tmp_path / "ensemble_lora"))
    theirs, _ = package.dreamsim(device="cpu", cache_dir=str(tmp_path))
    assert isinstance(theirs, PeftModel)
    # 2. The same files as the published archive.
    archive = tmp_path / "ensemble.zip"
    with zipfile.ZipFile(archive, "w") as content:
        for path in (*tmp_path.glob("*.tar"), *(tmp_path / "ensemble_lora").iterdir()):
            content.write(path, str(path.relative_to(tmp_path)))
    monkeypatch.setattr(
        dreamsim_module,
        "fetch_url",
        lambda url, name, plug, start: archive if url.endswith("zip") else tmp_path / "dino.pth",
    )
    ours = DreamSim()
    pictures = torch.rand(3, 224, 224, 3)
    with torch.no_grad():
        want = theirs(pictures[:1].permute(0, 3, 1, 2).expand(2, -1, -1, -1), pictures[1:].permute(0, 3, 1, 2))
    found = ours(ours.prepare(pictures[0]), pictures[1:])
    assert torch.allclose(found, want, atol=1e-5) and float(want.min()) > 1e-3


def randomised_a_little(network: DreamSimNetwork) -> None:
    """Weights that neither vanish nor drown the pictures in twelve layers."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
