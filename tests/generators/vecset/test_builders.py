"""Loading the three generators: strict, by their own configurations, and with sentences for what can go wrong."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tests.generators.vecset import folders
from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS
from v2m4.generators.craftsman3d.generator import CraftsMan3D
from v2m4.generators.hunyuan3d.checkpoints import FOLDERS
from v2m4.generators.hunyuan3d.generator import Hunyuan3D
from v2m4.generators.triposg.generator import TripoSg
from v2m4.settings import GeneratorSettings, Hunyuan3DSettings, Settings

NAMES = ("triposg", "hunyuan3d", "craftsman3d")
WRITERS: dict[str, Callable[[Path], None]] = {name: getattr(folders, name) for name in NAMES}
PLUGS = {"triposg": TripoSg, "hunyuan3d": Hunyuan3D, "craftsman3d": CraftsMan3D}


def load(name: str, folder: Path, **options: Any) -> Any:
    return importlib.import_module(f"v2m4.generators.{name}.builder").from_pretrained(str(folder), **options)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_loaded_whole(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    model = load(name, tmp_path)
    for network in model.networks():
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert model.plug == name
    latents = model.noise(torch.Generator().manual_seed(0))
    answers = model.decoder.query(torch.rand(3, 3), model.decoder.keys_values(latents[..., : model.channels]))
    assert bool(torch.isfinite(answers).all())


def test_sizes_come_from_the_checkpoints_own_configurations(tmp_path: Path) -> None:
    for name in NAMES:
        WRITERS[name](tmp_path / name)
    assert load("triposg", tmp_path / "triposg").channels == 8
    assert load("hunyuan3d", tmp_path / "hunyuan3d").tokens == 11
    craftsman = load("craftsman3d", tmp_path / "craftsman3d")
    assert (craftsman.tokens, craftsman.channels) == (12, 6)
    assert craftsman.encoder.config.registers == 4
    assert craftsman.encoder.config.image_size == 70


@pytest.mark.parametrize("variant", ["base", "turbo"])
def test_hunyuans_variants_bring_their_own_times(variant: str, tmp_path: Path) -> None:
    folders.hunyuan3d(tmp_path, variant)
    settings = GeneratorSettings(hunyuan3d=Hunyuan3DSettings(variant=variant, steps=5))  # type: ignore[arg-type]
    plug = Hunyuan3D(settings, source=str(tmp_path))
    model = plug.model()
    assert model.phases == (50 if variant == "turbo" else None)
    times = plug.flow_grid(model).times
    assert len(times) == (5 if variant == "turbo" else 4)
    tokens, noise = torch.randn(1, 3, 20), torch.randn(1, 11, 8)
    weak, strong = (model.sample(tokens, noise, plug.flow_grid(model), g) for g in (1.0, 9.0))
    assert not torch.allclose(weak, strong)  # a distilled network is told the guidance


@pytest.mark.parametrize("name", NAMES)
def test_foreign_weights_are_named(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    for path in [*tmp_path.rglob("*.safetensors")][:1]:
        state = load_file(path)
        state["model.somewhere.else.weight"] = torch.zeros(2)
        save_file(state, str(path))
    for path in tmp_path.glob("*.ckpt"):
        content = torch.load(path)
        content["state_dict"]["clip.visual.weight"] = torch.zeros(2)
        torch.save(content, path)
    with pytest.raises(V2M4Error, match=rf"{name}: .*(somewhere\.else|clip\.visual)"):
        load(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_are_named(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    for path in [*tmp_path.rglob("*.safetensors"), *tmp_path.rglob("*.ckpt")]:
        path.unlink()
    with pytest.raises(V2M4Error, match=rf"{name}: the folder .* has no "):
        load(name, tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", "- a: [", "{}"])
@pytest.mark.parametrize("name", NAMES)
def test_broken_configurations_are_named(name: str, text: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    for path in [*tmp_path.rglob("config.*")]:
        path.write_text(text)
    with pytest.raises(V2M4Error, match=name):
        load(name, tmp_path)


def _json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    change(content)
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))


UNSUPPORTED: list[tuple[str, str, Callable[[Any], Any], str]] = [
    (
        "triposg",
        "transformer/config.json",
        lambda c: c.update(use_cross_attention_2=True),
        "use_cross_attention_2 = True",
    ),
    ("triposg", "transformer/config.json", lambda c: c.update(rotary=True), "unknown here .rotary"),
    ("triposg", "vae/config.json", lambda c: c.update(embedding_type="learned"), "embedding_type = 'learned'"),
    ("hunyuan3d", f"{FOLDERS['base']}/config.yaml", lambda c: c["vae"]["params"].update(include_pi=True), "include_pi"),
    ("hunyuan3d", f"{FOLDERS['base']}/config.yaml", lambda c: c.pop("model"), "does not describe model"),
    ("hunyuan3d", f"{FOLDERS['base']}/config.yaml", lambda c: c["scheduler"].update(target="a.DDIM"), "sampler DDIM"),
    (
        "hunyuan3d",
        f"{FOLDERS['base']}/config.yaml",
        lambda c: c["conditioner"]["params"]["main_image_encoder"].update(type="Clip"),
        "picture encoder is unknown",
    ),
    (
        "craftsman3d",
        "config.yaml",
        lambda c: c["system"]["denoiser_model"].update(condition_type="clip_dinov2"),
        "condition_type = 'clip_dinov2'",
    ),
    ("craftsman3d", "config.yaml", lambda c: c["system"]["denoiser_model"].update(use_RMSNorm=True), "use_RMSNorm"),
    ("craftsman3d", "config.yaml", lambda c: c["system"]["noise_scheduler"].update(shift=1.0), "shift 1.0"),
    ("craftsman3d", "config.yaml", lambda c: c["system"]["shape_model"].pop("embed_dim"), "refers to system"),
    ("craftsman3d", "config.yaml", lambda c: c["system"].update(z_scale_factor="a"), "z_scale_factor .* a number"),
    (
        "craftsman3d",
        "config.yaml",
        lambda c: c["system"]["denoiser_model"].update(width="x"),
        "width is .x., and must be from 1",
    ),
    ("craftsman3d", "config.yaml", lambda c: c.pop("system"), "does not describe the networks"),
]


@pytest.mark.parametrize(("name", "file", "change", "said"), UNSUPPORTED, ids=[f"{u[0]}-{u[3]}" for u in UNSUPPORTED])
def test_unsupported_configurations_are_refused(
    name: str, file: str, change: Callable[[Any], Any], said: str, tmp_path: Path
) -> None:
    WRITERS[name](tmp_path)
    _json(tmp_path / file, change)
    with pytest.raises(V2M4Error, match=said):
        load(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_an_unreachable_hub_is_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*_: object, **__: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(V2M4Error, match=f"{name}: .*cannot be reached"):
        PLUGS[name]().model()


@pytest.mark.parametrize("name", NAMES)
def test_too_little_memory_is_explained(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    WRITERS[name](tmp_path)
    monkeypatch.setattr(importlib.import_module(f"v2m4.generators.{name}.builder"), "load_network", full)
    with pytest.raises(V2M4Error, match=f"{name}: .*memory"):
        load(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_the_plug_is_declared_with_all_its_files(name: str) -> None:
    plug = GENERATORS[name]
    assert plug.weights == importlib.import_module(f"v2m4.generators.{name}.checkpoints").WEIGHTS
    created = plug.create(Settings(low_vram=True), torch.device("cpu"))
    assert isinstance(created, PLUGS[name])
    assert created.low_vram


def test_every_file_is_pinned_to_a_commit_but_of_the_repository_nobody_can_see() -> None:
    pinned = [revision for name in ("triposg", "hunyuan3d") for *_, revision in GENERATORS[name].weights]
    assert all(len(revision) == 40 for revision in pinned)
    assert {revision for *_, revision in GENERATORS["craftsman3d"].weights} == {"main"}


def test_hunyuans_licence_names_where_it_is_not_valid_and_auto_leaves_it_alone() -> None:
    plug = GENERATORS["hunyuan3d"]
    assert all(place in plug.licence for place in ("EU", "UK", "South Korea"))
    assert plug.commercial
    assert plug.preference < 0
