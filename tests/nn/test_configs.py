"""Whatever a checkpoint's configuration says, it loads or is refused in a sentence: never a raw error."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from benchmarks.checkpoints import write_checkpoints
from tests.generators.triposr.tiny_triposr import OFFICIAL, TINY, tiny_network
from tests.generators.vecset import folders
from v2m4.errors import V2M4Error
from v2m4.generators.craftsman3d.generator import CraftsMan3D
from v2m4.generators.hunyuan3d.generator import Hunyuan3D
from v2m4.generators.trellis.builder import from_pretrained as trellis
from v2m4.generators.triposg.generator import TripoSg
from v2m4.generators.triposr.predictor import from_pretrained as triposr
from v2m4.nn.configs import MOST, MOST_LAYERS, sound, understood
from v2m4.settings import CraftsMan3DSettings, GeneratorSettings, Hunyuan3DSettings, TripoSgSettings

ODD = (None, True, -1, 0, 2.5, 7, 1e30, float("nan"), "many", [3], {"a": 1})
ABSENT = object()
FEW_STEPS = GeneratorSettings(
    triposg=TripoSgSettings(steps=2), hunyuan3d=Hunyuan3DSettings(steps=2), craftsman3d=CraftsMan3DSettings(steps=2)
)
_CONTEXT = ("cross_attention_dim", "context_in_dim", "context_dim")


@dataclass(frozen=True)
class Sizes:
    width: int
    layers: int
    bias: float = -1.0
    eps: float = 1e-6
    registers: int = 0
    gated: bool = False


def test_numbers_that_can_be_sizes_pass() -> None:
    sizes = Sizes(8, 2)
    assert sound(sizes, "toy") is sizes
    assert sound(Sizes(MOST, MOST_LAYERS, 3.0, 1, 4, True), "toy").bias == 3.0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 0}, "width is 0"),
        ({"width": True}, "width is True"),
        ({"width": 8.0}, "width is 8.0"),
        ({"layers": MOST_LAYERS + 1}, "layers is 1001"),
        ({"bias": float("inf")}, "bias is inf"),
        ({"eps": -1.0}, "eps is -1.0, and must be a positive number"),
        ({"registers": -1}, "registers is -1"),
        ({"gated": 1}, "gated is 1, and must be true or false"),
    ],
)
def test_what_cannot_be_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(V2M4Error, match=named):
        sound(Sizes(**{"width": 8, "layers": 2, **change}), "toy")


def test_sentences_pass_through_and_the_rest_becomes_one() -> None:
    with pytest.raises(V2M4Error, match="as it is"), understood("toy"):
        raise V2M4Error("as it is")
    with pytest.raises(V2M4Error, match="toy: .*ZeroDivisionError"), understood("toy"):
        _ = 1 // 0


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in nested mappings."""
    for name, value in content.items():
        yield (*at, name)
        if isinstance(value, dict):
            yield from places(value, (*at, name))


def with_odd(content: dict[str, Any], way: tuple[Any, ...], value: object) -> dict[str, Any]:
    """A copy with another value, or none, at a place."""
    changed = copy.deepcopy(content)
    inner = changed
    for name in way[:-1]:
        inner = inner[name]
    if value is ABSENT:
        del inner[way[-1]]
    else:
        inner[way[-1]] = value
    return changed


def use_vecset(plug: Any) -> Callable[[Path], None]:
    """Load, and once through each network; those of the fixtures do not fit one another."""

    def use(folder: Path) -> None:
        made = plug(FEW_STEPS, source=str(folder))
        picture = np.zeros((64, 64, 4), np.uint8)
        picture[16:48, 16:48] = 255
        model = made.model()
        model.encode(made.pixels(picture, model))
        tokens = torch.randn(
            1,
            5,
            next(getattr(model.denoiser.config, name) for name in _CONTEXT if hasattr(model.denoiser.config, name)),
        )
        latents = model.sample(tokens, model.noise(torch.Generator().manual_seed(0)), made.flow_grid(model), 2.0)
        model.decoder.query(torch.rand(3, 3), model.decoder.keys_values(latents[..., : model.channels]))

    return use


def use_triposr(folder: Path) -> None:
    network = triposr(str(folder), TINY.vit)
    network(torch.zeros(1, 3, 32, 32))


def write_triposr(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(OFFICIAL))
    torch.save(tiny_network().state_dict(), folder / "model.ckpt")


WRITE: dict[str, Callable[[Path], object]] = {
    "triposg": folders.triposg,
    "hunyuan3d": folders.hunyuan3d,
    "craftsman3d": folders.craftsman3d,
    "triposr": write_triposr,
    "trellis": lambda folder: write_checkpoints(folder, torch.device("cpu"), toy=True),
}


def use_trellis(folder: Path) -> None:
    hub = folder / "huggingface" / "hub"
    model, encoder = (next(hub.glob(f"models--{name}/snapshots/*")) for name in ("microsoft*", "facebook*"))
    trellis(str(model), encoder_source=str(encoder))


USE: dict[str, Callable[[Path], None]] = {
    "triposg": use_vecset(TripoSg),
    "hunyuan3d": use_vecset(Hunyuan3D),
    "craftsman3d": use_vecset(CraftsMan3D),
    "triposr": use_triposr,
    "trellis": use_trellis,
}


@pytest.mark.parametrize("name", WRITE)
def test_odd_values_load_or_are_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    WRITE[name](tmp_path)
    USE[name](tmp_path)
    random, failures, refused = np.random.default_rng(0), [], 0
    tried = {"triposr": len(ODD), "triposg": 1}.get(name, 2)
    for path in sorted((*tmp_path.rglob("*.json"), *tmp_path.rglob("*.yaml"))):
        text = path.read_text()
        read, write = (json.loads, json.dumps) if path.suffix == ".json" else (yaml.safe_load, yaml.safe_dump)
        content = read(text)
        for way in places(content):
            for value in (ABSENT, *(ODD[i] for i in random.permutation(len(ODD))[:tried])):
                path.write_text(write(with_odd(content, way, value)))
                try:
                    USE[name](tmp_path)
                except V2M4Error:
                    refused += 1
                except Exception as error:
                    failures.append(f"{path.name} {way} = {value!r}: {type(error).__name__}: {error}")
        path.write_text(text)
    assert refused > 20
    assert not failures, "\n".join(failures)
