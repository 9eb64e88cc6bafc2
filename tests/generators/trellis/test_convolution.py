"""Submanifold convolution against a dense one on a grid of zeros."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.generators.trellis.test_voxels import random_voxels
from v2m4.generators.trellis import convolution
from v2m4.generators.trellis.convolution import SparseConv3d, gather_matmul
from v2m4.generators.trellis.voxels import Voxels


def features(voxels: Voxels, channels: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(len(voxels), channels, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def dense_convolution(conv: SparseConv3d, x: Tensor, voxels: Voxels) -> Tensor:
    """The convolution as `conv3d` on a grid of zeros, read at the voxels."""
    b, i, j, k = voxels.coords.long().T
    side = int(voxels.coords[:, 1:].max()) + 1
    grid = x.new_zeros(voxels.batch_size, x.shape[1], side, side, side)
    grid[b, :, i, j, k] = x
    out = F.conv3d(grid, conv.conv.weight.permute(0, 4, 1, 2, 3), conv.conv.bias, padding=1)
    return out[b, :, i, j, k]


def random_conv(cin: int, cout: int, size: int = 3) -> SparseConv3d:
    torch.manual_seed(0)
    conv = SparseConv3d(cin, cout, size)
    torch.nn.init.normal_(conv.conv.bias)
    return conv


def split(voxels: Voxels, level: int) -> Voxels:
    return split(voxels, level - 1).fine if level else voxels


@pytest.mark.parametrize("limit", [2**22, 2000])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_convolution_is_a_dense_one_read_at_the_voxels(level: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "GATHER_LIMIT_CPU", limit)
    voxels, conv = split(random_voxels(0, side=5), level), random_conv(6, 5)
    x = features(voxels, 6)
    torch.testing.assert_close(conv(x, voxels), dense_convolution(conv, x, voxels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_convolution_on_children_is_the_one_of_the_copies(level: int) -> None:
    voxels, conv = split(random_voxels(1, side=3), level), random_conv(6, 5)
    x = features(voxels, 6)
    copies = dense_convolution(conv, x.repeat_interleave(8, dim=0), voxels.fine)
    torch.testing.assert_close(conv.on_children(x, voxels), copies, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("on_children", [False, True])
def test_convolution_gradients_are_those_of_the_dense_one(on_children: bool, level: int) -> None:
    voxels, conv = split(random_voxels(2, side=3), level), random_conv(3, 4).double()
    x = features(voxels, 3, dtype=torch.float64).requires_grad_()
    if on_children:
        got, want = conv.on_children(x, voxels), dense_convolution(conv, x.repeat_interleave(8, 0), voxels.fine)
    else:
        got, want = conv(x, voxels), dense_convolution(conv, x, voxels)
    weight = torch.randn(want.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inputs = [x, conv.conv.weight, conv.conv.bias]
    for g, w in zip(
        torch.autograd.grad((got * weight).sum(), inputs),
        torch.autograd.grad((want * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(g, w, rtol=1e-5, atol=1e-5)


def test_a_1x1x1_kernel_is_read_in_the_order_of_its_memory() -> None:
    voxels, conv = random_voxels(0), random_conv(6, 4, size=1)
    x = features(voxels, 6)
    matrix = conv.conv.weight.detach().flatten().view(6, 4)
    torch.testing.assert_close(conv(x, voxels), x @ matrix + conv.conv.bias)


def test_absent_rows_contribute_nothing() -> None:
    x, index = torch.ones(3, 2), torch.tensor([[0, 3], [3, 3]])
    out = gather_matmul(x, index, torch.ones(1, 2, 2))
    assert out.tolist() == [[2.0], [0.0]]
