"""The fused GPU kernels of TRELLIS against the plain PyTorch that they stand for, values and slopes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_windows_of_any_length_attend_as_padded_ones_do() -> None:
    from v2m4.generators.trellis.layers import SelfAttention
    from v2m4.generators.trellis.sparse import attends_at_any_length, window_self_attention

    rng = torch.Generator().manual_seed(0)
    attention = SelfAttention(128, 2).requires_grad_(False)
    windows = _voxels(700, rng).windows(8, 4)
    x, weight = torch.randn(2, 700, 128, generator=rng).unbind()
    assert not attends_at_any_length(x)
    expected, slopes = _with_slope(lambda own: window_self_attention(own, attention, windows), x, weight)
    own = x.to("cuda", torch.float16)
    assert attends_at_any_length(own)
    on_gpu = _voxels(700, torch.Generator().manual_seed(0), "cuda").windows(8, 4)
    half = attention.to("cuda", torch.float16)
    found, found_slopes = _with_slope(lambda own: window_self_attention(own, half, on_gpu), own, weight.to(own))
    _alike(found, expected, 3e-3)
    _alike(found_slopes, slopes, 3e-3)


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("silu", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_sum_and_norm_are_those_of_the_formula(dtype: torch.dtype, silu: bool, gated: bool) -> None:
    from v2m4.nn.layer_norm import add_norm

    rng = torch.Generator().manual_seed(0)
    x, added, w1, w2 = torch.randn(4, 2, 9, 40, generator=rng).to(dtype).unbind()
    gate, scale, shift = torch.randn(2, 1, 3 * 40, generator=rng).to(dtype).chunk(3, dim=-1)
    results = []
    for device, kind in (("cpu", torch.float64), ("cuda", dtype)):
        own, more = (t.to(device, kind).requires_grad_() for t in (x, added))
        vectors = [t.to(device, kind) for t in (gate, scale, shift)]
        total, out = add_norm(own, more, vectors[0] if gated else None, *vectors[1:], 1e-6, plus=1.0, silu=silu)
        slopes = torch.autograd.grad((total * w1.to(total)).sum() + (out * w2.to(out)).sum(), (own, more))
        results.append([total, out, *slopes])
    for found, expected in zip(*reversed(results), strict=True):
        _alike(found, expected, 2e-3 if dtype == torch.float16 else 1e-6)


@pytest.mark.parametrize("gated", [True, False])
def test_a_sum_in_full_precision_has_a_norm_in_half(gated: bool) -> None:
    from v2m4.nn.layer_norm import add_norm

    rng = torch.Generator().manual_seed(0)
    x, w1, w2 = torch.randn(3, 2, 9, 40, generator=rng).unbind()
    added = torch.randn(2, 9, 40, generator=rng).half()
    gate, weight, bias = torch.randn(3, 40, generator=rng).unbind()
    results = []
    for device in ("cpu", "cuda"):
        own, more = (t.to(device).requires_grad_() for t in (x, added))
        vectors = [t.to(device) for t in (gate, weight, bias)]
        total, out = add_norm(own, more, vectors[0] if gated else None, *vectors[1:], 1e-6, dtype=torch.half)
        assert (total.dtype, out.dtype) == (torch.float32, torch.half)
        slopes = torch.autograd.grad((total * w1.to(total)).sum() + (out.float() * w2.to(total)).sum(), (own, more))
        results.append([total, out, *slopes])
    for found, expected, tolerance in zip(*reversed(results), (1e-6, 1e-3, 1e-5, 1e-3), strict=True):
        _alike(found, expected, tolerance)


def test_norm_alone_is_layer_norm_with_learned_vectors() -> None:
    from v2m4.nn.layer_norm import add_norm, layer_norm

    x = torch.randn(7, 48, device="cuda", dtype=torch.float16)
    weight, bias = torch.rand(2, 48, device="cuda").unbind()
    same, out = add_norm(x, None, None, weight, bias, 1e-6)
    assert same is x
    _alike(out, layer_norm(x, 1e-6, weight, bias), 1e-3)


@pytest.mark.parametrize(("rows", "width", "dtype"), [(3000, 96, torch.float16), (70, 192, torch.float32)])
def test_group_norm_with_silu_is_that_of_the_formula(rows: int, width: int, dtype: torch.dtype) -> None:
    from v2m4.generators.trellis.sparse import SparseGroupNorm

    rng = torch.Generator().manual_seed(0)
    norm = SparseGroupNorm(32, width).requires_grad_(False)
    norm.weight.copy_(torch.rand(width, generator=rng))
    norm.bias.copy_(torch.randn(width, generator=rng))
    x = (2 * torch.randn(rows, width, generator=rng) + 3).to(dtype)
    weight = torch.randn(rows, width, generator=rng)
    voxels = _voxels(rows, rng)
    expected = _with_slope(lambda own: norm.activated(own, voxels), x.float(), weight)
    norm.cuda()
    found = _with_slope(lambda own: norm.activated(own, voxels), x.cuda(), weight.to("cuda", dtype))
    for mine, other in zip(found, expected, strict=True):
        _alike(mine, other, 2e-3 if dtype == torch.float16 else 1e-5)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_convolution_with_what_is_added_is_the_same_on_both_devices(level: int) -> None:
    from v2m4.generators.trellis.convolution import SparseConv3d

    rng = torch.Generator().manual_seed(level)
    layer = SparseConv3d(16, 24).requires_grad_(False)
    results = []
    for device in ("cpu", "cuda"):
        voxels = _voxels(60, torch.Generator().manual_seed(0), device)
        for _ in range(level):
            voxels = voxels.fine
        own = SparseConv3d(16, 24).requires_grad_(False)
        own.load_state_dict(layer.state_dict())
        own.conv.bias += torch.arange(24)
        own.to(device)
        x = torch.randn(len(voxels), 16, generator=rng.manual_seed(level))
        skip = torch.randn(len(voxels) // 8, 24, generator=rng) if level else None
        onto, weight = torch.randn(8 * len(voxels), 24, generator=rng), torch.randn(len(voxels), 24, generator=rng)
        there = None if skip is None else skip.to(device)
        results.append(
            [
                *_with_slope(lambda x: own(x, voxels, there), x.to(device), weight.to(device)),  # noqa: B023
                *_with_slope(lambda x: own.on_children(x, voxels), x.to(device), onto.to(device)),  # noqa: B023
            ]
        )
    for found, expected in zip(*reversed(results), strict=True):
        _alike(found, expected, 2e-3)  # convolutions may round to ten bits


def test_corners_of_voxels_are_the_same_by_either_way() -> None:
    from v2m4.generators.trellis import flexicubes

    rng = torch.Generator().manual_seed(0)
    coords = torch.unique(torch.randint(0, 6, (60, 3), generator=rng), dim=0).int().cuda()
    feats = torch.randn(len(coords), 101, generator=rng).cuda().requires_grad_()
    corners = flexicubes.touched_corners(coords, 8)
    plain, fused = (f(coords, feats, 8, corners) for f in (flexicubes._corners, flexicubes._corners_fused))
    for mine, other in zip(fused[0], plain[0], strict=True):
        assert torch.equal(mine, other)
    weights = [torch.randn_like(t) for t in plain[1:]]
    slopes = [
        torch.autograd.grad(sum((t * w).sum() for t, w in zip(way[1:], weights, strict=True)), feats)[0]
        for way in (fused, plain)
    ]
    for mine, other in [*zip(fused[1:], plain[1:], strict=True), tuple(slopes)]:
        torch.testing.assert_close(mine, other)


def test_dual_vertices_are_the_same_by_either_way() -> None:
    from v2m4.generators.trellis import flexicubes
    from v2m4.generators.trellis.dual_triton import dual_vertices_triton

    rng = torch.Generator().manual_seed(0)
    coords = torch.unique(torch.randint(0, 9, (300, 3), generator=rng), dim=0).int().cuda()
    feats = torch.randn(len(coords), 101, generator=rng).cuda()
    corners = flexicubes.touched_corners(coords, 12)
    cubes, means, own = flexicubes._corners(coords, feats, 12, corners)
    sdf = torch.cat([means[:, 0], means.new_ones(1024)])
    given = [sdf, torch.randn(len(sdf), 9, generator=rng).cuda(), own]
    rules = flexicubes._rules_on(sdf.device)
    case = ((sdf[cubes.corner] < 0) << torch.arange(8, device="cuda")).sum(1)
    _, cube, group = flexicubes._number_vertices(rules.vertices[case])
    topology = (cubes.corner, rules.group[case], cube, group)
    results = []
    for mix, more in ((flexicubes._mix, ()), (dual_vertices_triton, (flexicubes._edges_on(sdf.device),))):
        mine = [t.clone().requires_grad_() for t in given]
        values = mix(*mine, *topology, *more)
        total = sum((v * v.detach().cos()).sum() for v in values)
        results.append([*values, *torch.autograd.grad(total, mine)])
    for found, expected in zip(*reversed(results), strict=True):
        _alike(found, expected, 1e-5)


def _voxels(count: int, rng: torch.Generator, device: str = "cpu"):  # type: ignore[no-untyped-def]
    from v2m4.generators.trellis.voxels import Voxels

    cells = torch.randperm(16**3, generator=rng)[:count].sort().values
    xyz = torch.stack([cells // 256, cells // 16 % 16, cells % 16], dim=1)
    return Voxels(torch.nn.functional.pad(xyz, (1, 0)).int().to(device))


def _with_slope(function: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    own = x.detach().clone().requires_grad_()
    value = function(own)
    return value.detach(), torch.autograd.grad(value, own, weight)[0]


def _alike(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Relative distance of the whole."""
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    assert float((found - expected).norm() / expected.norm()) < tolerance
