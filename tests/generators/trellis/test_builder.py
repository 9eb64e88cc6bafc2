"""Loading: strict, in the right precision, and with sentences for everything that can go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.generators.trellis import tiny
from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS
from v2m4.generators.trellis import builder
from v2m4.generators.trellis.builder import build_network, from_pretrained, load_network
from v2m4.generators.trellis.checkpoints import CHECKPOINTS, WEIGHTS
from v2m4.generators.trellis.predictor import Trellis
from v2m4.settings import Settings

MANIFESTS = sorted((Path(__file__).parents[2] / "parity" / "fixtures" / "trellis").glob("manifest_*.json"))
FLOW = CHECKPOINTS["slat_flow_model"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.save(tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path, **options: object) -> object:
    return from_pretrained(str(folder), encoder_source=str(folder / "encoder"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.stem.removeprefix("manifest_"))
def test_the_released_checkpoints_fit_strictly(path: Path) -> None:
    manifest = json.loads(path.read_text())
    tensors = manifest["tensors"]
    with torch.device("meta"):
        network = build_network(manifest["class"], manifest["config"])
        state = {k: torch.empty(t["shape"], dtype=getattr(torch, t["dtype"])) for k, t in tensors.items()}
    network.load_state_dict(state, strict=True, assign=True)
    assert {k: v.dtype for k, v in network.state_dict().items()} == {k: v.dtype for k, v in state.items()}


def test_the_released_checkpoints_are_the_ones_the_manifests_describe() -> None:
    for path in MANIFESTS:
        manifest = json.loads(path.read_text())
        stem = manifest["checkpoint"].split(".safetensors")[0]
        assert CHECKPOINTS[manifest["pipeline_role"]] == stem


def test_the_plug_is_declared_with_all_its_files() -> None:
    plug = GENERATORS["trellis"]
    assert plug.weights == WEIGHTS
    made = plug.create(Settings(low_vram=True), torch.device("cpu"))
    assert isinstance(made, Trellis) and made.low_vram


def test_every_file_is_pinned_to_a_commit() -> None:
    assert len(WEIGHTS) == 1 + 2 * 5 + 2
    assert all(len(revision) == 40 for _, _, revision in WEIGHTS)


def test_a_folder_is_loaded_whole(folder: Path) -> None:
    model = load(folder)
    for role, network in zip(tiny.CONFIGS, model.networks(), strict=False):
        expected = tiny.network(role).state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in network.state_dict().items())
        assert not any(p.requires_grad for p in network.parameters())
        assert not network.training
    assert model.slat_std == (2.0,) * 8
    assert model.latent_sampling == builder.SamplerSettings(3, 4.0, (0.4, 1.0), 2.0, 1e-5)
    pixels = torch.randn(1, 3, 518, 518)
    torch.testing.assert_close(model.image_encoder(pixels), tiny.encoder()(pixels))


def test_checkpoints_stored_in_half_precision_run_in_float32_on_the_cpu(folder: Path) -> None:
    path = folder / f"{FLOW}.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, str(path))
    (folder / f"{FLOW}.json").write_text(
        json.dumps({"name": "ElasticSLatFlowModel", "args": {**tiny.CONFIGS["slat_flow_model"][1], "use_fp16": True}})
    )
    assert {p.dtype for p in load(folder).latent_flow.parameters()} == {torch.float32}
    assert load(folder, dtype=torch.bfloat16).latent_flow.torso_dtype == torch.bfloat16


def test_foreign_weights_are_named(folder: Path) -> None:
    path = folder / f"{FLOW}.safetensors"
    state = load_file(path)
    state["blocks.7.extra"] = state.pop("out_layer.bias")
    save_file(state, str(path))
    with pytest.raises(V2M4Error, match=r"(?s)out_layer\.bias.*blocks\.7\.extra"):
        load(folder)


def test_missing_files_are_named(folder: Path) -> None:
    (folder / f"{FLOW}.safetensors").unlink()
    with pytest.raises(V2M4Error, match=FLOW):
        load(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_broken_descriptions_are_named(folder: Path, text: str) -> None:
    (folder / f"{FLOW}.json").write_text(text)
    with pytest.raises(V2M4Error, match="slat_flow"):
        load(folder)


def test_a_foreign_image_encoder_is_named(folder: Path) -> None:
    path = folder / "encoder" / "model.safetensors"
    state = load_file(path)
    state["head.weight"] = state.pop("layernorm.weight")
    save_file(state, str(path), metadata={"format": "pt"})
    with pytest.raises(V2M4Error, match=r"norm\.weight.*head\.weight"):
        load(folder)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(V2M4Error, match="cannot be read"):
        load(folder)


def test_unknown_networks_are_named() -> None:
    with pytest.raises(V2M4Error, match="SLatRadianceFieldDecoder"):
        build_network("SLatRadianceFieldDecoder", {})
    class_name, config = tiny.CONFIGS["slat_flow_model"]
    with pytest.raises(V2M4Error, match="missing"):
        load_network(class_name, config, {})


def test_an_unreachable_hub_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def offline(*_: object, **__: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(V2M4Error, match="cannot be reached"):
        from_pretrained()


def test_too_little_memory_is_explained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(builder, "load_network", full)
    with pytest.raises(V2M4Error, match="memory"):
        load(folder)
