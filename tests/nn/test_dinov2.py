"""DINOv2 computes what the library `transformers` computes, from weights under that library's names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from v2m4.nn.dinov2 import Dinov2, Dinov2Config, from_transformers

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 70, "patch_size": 14}


def library_model(registers: int, swiglu: bool) -> torch.nn.Module:
    """A tiny model of `transformers` with random weights, gains and tables."""
    from transformers import Dinov2Config as LibraryConfig
    from transformers import Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(0)
    if registers:
        config = Dinov2WithRegistersConfig(**SIZES, num_register_tokens=registers, use_swiglu_ffn=swiglu)
        model = Dinov2WithRegistersModel(config)
    else:
        model = Dinov2Model(LibraryConfig(**SIZES, use_swiglu_ffn=swiglu))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("swiglu", [False, True])
@pytest.mark.parametrize("registers", [0, 4])
def test_agrees_with_the_library(registers: int, swiglu: bool) -> None:
    library = library_model(registers, swiglu)
    config = Dinov2Config.of_transformers({**SIZES, "num_register_tokens": registers, "use_swiglu_ffn": swiglu})
    ours = Dinov2(config).eval()
    ours.load_state_dict(from_transformers(library.state_dict()), strict=True)
    # Pictures that fit the position table, and smaller ones, for which it is resampled.
    for side in (70, 56):
        pixels = torch.randn(2, 3, side, side)
        expected = library(pixel_values=pixels).last_hidden_state
        torch.testing.assert_close(ours(pixels), expected, rtol=1e-4, atol=1e-5)
    assert ours.without_registers(ours(pixels)).shape[1] == 1 + 4 * 4


@torch.no_grad()
def test_a_smaller_table_can_be_smoothed_first() -> None:
    torch.manual_seed(0)
    ours = Dinov2(Dinov2Config(24, 0, 3, 70, 14, antialias=True))
    torch.nn.init.normal_(ours.pos_embed)
    table = ours.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (5, 5))
    smooth = F.interpolate(table, size=(2, 2), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    patches = ours.patch_embed.proj(torch.zeros(1, 3, 28, 28)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours.embed(torch.zeros(1, 3, 28, 28))[:, 1:], patches + smooth)


def test_names_of_both_versions_of_the_library_are_known() -> None:
    new = from_transformers(library_model(0, True).state_dict())
    old_names = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value"}
    old_names |= {"o_proj": "output.dense", "down_proj": "weights_out"}
    old: dict[str, torch.Tensor] = {}
    for name, tensor in library_model(0, True).state_dict().items():
        for theirs, before in old_names.items():
            name = name.replace(f".{theirs}.", f".{before}.")
        old[name] = tensor
    for layer in range(2):
        for kind in ("weight", "bias"):
            stem = f"encoder.layer.{layer}.mlp"
            gate, up = old.pop(f"{stem}.gate_proj.{kind}"), old.pop(f"{stem}.up_proj.{kind}")
            old[f"{stem}.weights_in.{kind}"] = torch.cat([gate, up])
    translated = from_transformers(old)
    assert translated.keys() == new.keys()
    assert all(torch.equal(translated[name], new[name]) for name in new)
