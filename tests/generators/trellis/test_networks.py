"""The five networks: batches, guided pairs, half precision, checkpointing, activations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.generators.trellis import tiny
from tests.generators.trellis.test_voxels import random_voxels
from v2m4.errors import V2M4Error
from v2m4.generators.trellis.decoders import radical_inverse
from v2m4.generators.trellis.layers import normalise_heads
from v2m4.generators.trellis.structure import occupied_voxels
from v2m4.generators.trellis.voxels import Voxels

ROLES = list(tiny.CONFIGS)
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def inputs(role: str, batch: int = 2) -> tuple[Any, ...]:
    """Random arguments of a network."""
    rng = torch.Generator().manual_seed(0)
    t, cond = torch.linspace(100, 900, batch), torch.randn(batch, 9, tiny.CONDITION, generator=rng)
    if role.startswith("sparse_structure"):
        x = torch.randn(batch, 8, 4, 4, 4, generator=rng)
        return (x, t, cond) if "flow" in role else (x,)
    voxels = random_voxels(0, items=batch, side=6)
    x = torch.randn(len(voxels), 8, generator=rng)
    return (x, voxels, t, cond) if "flow" in role else (x, voxels)


def output(network: Any, arguments: tuple[Any, ...]) -> Tensor:
    result = network(*arguments)
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("role", ROLES)
def test_items_of_a_batch_do_not_see_each_other(role: str) -> None:
    network, arguments = tiny.network(role), inputs(role)
    with torch.no_grad():
        whole = output(network, arguments)
        if role.startswith("sparse_structure"):
            alone = torch.cat([output(network, tuple(a[i : i + 1] for a in arguments)) for i in range(2)])
        else:
            x, voxels, *rest = arguments
            parts = []
            for i, (rows, coords) in enumerate(
                zip(x.split(voxels.counts), voxels.coords.split(voxels.counts), strict=True)
            ):
                single = Voxels(coords * torch.tensor([0, 1, 1, 1], dtype=torch.int32))
                parts.append(output(network, (rows, single, *(a[i : i + 1] for a in rest))))
            alone = torch.cat(parts)
    torch.testing.assert_close(whole, alone, **CLOSE)


@pytest.mark.parametrize("role", ROLES)
def test_half_precision_keeps_both_ends_in_float32(role: str) -> None:
    network = tiny.network(role, use_fp16=True)
    dtypes = {name.split(".")[0]: p.dtype for name, p in network.named_parameters() if p.ndim > 2 or "to_out" in name}
    assert torch.float16 in dtypes.values()
    assert network.input_layer.weight.dtype == torch.float32
    assert all(p.dtype == torch.float32 for n, p in network.named_parameters() if "norm" in n or "out_layer." in n)
    network.to_torso_dtype(torch.float32)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("role", ROLES)
def test_bfloat16_stays_near_float32(role: str) -> None:
    network, arguments = tiny.network(role), inputs(role)
    with torch.no_grad():
        want = output(network, arguments)
        network.to_torso_dtype(torch.bfloat16)
        got = output(network, arguments)
    assert got.dtype == torch.float32
    assert (got - want).norm() < 0.05 * want.norm()


@pytest.mark.parametrize("role", [r for r in ROLES if r != "sparse_structure_decoder"])
def test_checkpointing_changes_memory_not_gradients(role: str) -> None:
    network, (x, *rest) = tiny.network(role), inputs(role)
    gradients = []
    for active in (False, True):
        network.checkpointing = active
        leaf = x.clone().requires_grad_()
        output(network, (leaf, *rest)).square().mean().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("widths", "blocks"), [(None, 2), ([8], 1), ([8], 3), ([8, 16], 2)])
def test_the_latent_flow_halves_the_resolution_once_per_width(widths: list[int] | None, blocks: int) -> None:
    patch = 2 ** len(widths or ())
    changes = {"io_block_channels": widths, "num_io_res_blocks": blocks, "patch_size": patch, "share_mod": False}
    network, (x, voxels, t, cond) = tiny.network("slat_flow_model", **changes), inputs("slat_flow_model")
    assert len(network.input_blocks) == len(network.out_blocks) == blocks * len(widths or ())
    with torch.no_grad():
        assert network(x, voxels, t, cond).shape == x.shape


def test_patches_hold_neighbouring_cells() -> None:
    network = tiny.network("sparse_structure_flow_model", patch_size=2)
    x = torch.arange(2 * 8 * 64.0).view(2, 8, 4, 4, 4)
    tokens = network._to_tokens(x)
    assert tokens.shape == (2, 8, 64)
    assert torch.equal(tokens[1, 1].view(8, 2, 2, 2), x[1, :, :2, :2, 2:])
    assert torch.equal(network._to_grid(tokens), x)
    assert network(x, torch.ones(2), torch.zeros(2, 5, tiny.CONDITION)).shape == x.shape


def test_a_guided_pair_is_two_single_evaluations() -> None:
    model = tiny.model(image_encoder=None)
    voxels = random_voxels(1, items=1, side=6)
    x, cond = torch.randn(len(voxels), 8), torch.randn(2, 9, tiny.CONDITION)
    velocity = model.latent_velocity(voxels)
    with torch.no_grad():
        pair = velocity(torch.cat([x, x]), 300.0, cond)
        single = torch.cat([velocity(x, 300.0, cond[:1]), velocity(x, 300.0, cond[1:])])
    torch.testing.assert_close(pair, single, **CLOSE)


def test_gradients_reach_the_condition_through_flow_and_decoders() -> None:
    model = tiny.model(image_encoder=None)
    voxels = random_voxels(1, items=1, side=5)
    negative = torch.zeros(1, 9, tiny.CONDITION, requires_grad=True)
    slat = model.denormalise(model.latent_velocity(voxels)(torch.randn(len(voxels), 8), 300.0, negative))
    mesh, gaussians = model.decode_mesh(slat, voxels)[0], model.decode_gaussians(slat, voxels)[0]
    (mesh.attributes.mean() + gaussians.colors.mean()).backward()
    assert negative.grad is not None
    assert bool(torch.isfinite(negative.grad).all())
    assert negative.grad.norm() > 0


def test_gaussians_are_what_renderers_expect() -> None:
    decoder, (x, voxels) = tiny.network("slat_decoder_gs"), inputs("slat_decoder_gs", batch=1)
    with torch.no_grad():
        gaussians = decoder.gaussians(decoder(x, voxels), voxels.coords[:, 1:])
    count = 8 * len(voxels)
    shapes = [tuple(t.shape) for t in vars(gaussians).values()]
    assert shapes == [(count, 3), (count, 3), (count, 4), (count,), (count, 3)]
    torch.testing.assert_close(gaussians.rotations.norm(dim=1), torch.ones(count))
    assert gaussians.scales.min() >= 9e-4
    assert gaussians.opacities.min() > 0 and gaussians.opacities.max() < 1
    centre = ((voxels.coords[:, 1:] + 0.5) / 8 - 0.5).repeat_interleave(8, 0)
    assert (gaussians.means - centre).abs().max() <= 0.75 / 8 + 1e-6


def test_radical_inverse_mirrors_the_digits() -> None:
    assert [radical_inverse(i, 2) for i in range(5)] == [0, 1 / 2, 1 / 4, 3 / 4, 1 / 8]
    assert radical_inverse(5, 3) == pytest.approx(2 / 3 + 1 / 9)


def test_head_norm_gives_every_head_the_same_length() -> None:
    x = torch.randn(5, 3, 16) * 7
    torch.testing.assert_close(normalise_heads(x, torch.ones(3, 16)).norm(dim=-1), torch.full((5, 3), 4.0))
    assert not normalise_heads(torch.zeros(1, 3, 16), torch.ones(3, 16)).any()
    assert math.isfinite(normalise_heads(x.half(), torch.ones(3, 16)).sum())


def test_occupied_voxels_are_the_positive_logits_in_row_major_order() -> None:
    logits = torch.full((2, 1, 3, 3, 3), -1.0)
    logits[0, 0, 2, 1, 0] = logits[0, 0, 0, 2, 1] = logits[1, 0, 1, 1, 1] = 0.5
    assert occupied_voxels(logits).tolist() == [[0, 0, 2, 1], [0, 2, 1, 0], [1, 1, 1, 1]]


def test_an_empty_structure_is_explained() -> None:
    logits = torch.full((2, 1, 3, 3, 3), -1.0)
    logits[0, 0, 0, 0, 0] = 1
    with pytest.raises(V2M4Error, match="no solid part"):
        occupied_voxels(logits)


@pytest.mark.parametrize(
    ("role", "changes", "word"),
    [
        ("sparse_structure_flow_model", {"pe_mode": "rope"}, "rope"),
        ("sparse_structure_flow_model", {"patch_size": 3}, "patches of 3"),
        ("slat_flow_model", {"patch_size": 4}, "io_block_channels"),
        ("slat_decoder_mesh", {"attn_mode": "full"}, "full"),
        ("slat_decoder_mesh", {"representation_config": {"use_color": False}}, "colour"),
        ("slat_decoder_gs", {"representation_config": {"scaling_activation": "exp"}}, "scaling_activation"),
        ("slat_decoder_gs", {"representation_config": {"sh_degree": 3}}, "sh_degree"),
        ("slat_decoder_gs", {"depth": 3}, "depth"),
        ("slat_flow_model", {"share_mod": True}, "share_mod"),
    ],
)
def test_configurations_that_are_unknown_are_refused_by_name(role: str, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(V2M4Error, match=word):
        tiny.network(role, **changes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_gpu_agrees_with_the_cpu(role: str, dtype: torch.dtype) -> None:
    network, arguments = tiny.network(role), inputs(role)
    leaf = arguments[0].clone().requires_grad_()
    want = output(network, (leaf, *arguments[1:]))
    (want_gradient,) = torch.autograd.grad(want.square().mean(), leaf)
    network.cuda().to_torso_dtype(dtype)
    moved = [a.cuda() if isinstance(a, Tensor) else Voxels(a.coords.cuda()) for a in arguments]
    leaf = moved[0].requires_grad_()
    got = output(network, (leaf, *moved[1:]))
    (gradient,) = torch.autograd.grad(got.square().mean(), leaf)
    limit = {torch.float32: 2e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}[dtype]
    assert (got.cpu() - want).norm() < limit * want.norm()
    assert (gradient.cpu() - want_gradient).norm() < limit * want_gradient.norm()
