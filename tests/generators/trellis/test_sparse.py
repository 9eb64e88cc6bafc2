"""Operations on voxel features, against dense PyTorch and against loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.generators.trellis.test_voxels import random_voxels
from v2m4.generators.trellis import sparse
from v2m4.generators.trellis.sparse import (
    SparseConv3d,
    SparseGroupNorm,
    downsample,
    from_items,
    gather_matmul,
    to_items,
    upsample,
    window_attention,
)
from v2m4.generators.trellis.voxels import Voxels


def dense_convolution(conv: SparseConv3d, x: Tensor, voxels: Voxels) -> Tensor:
    """The convolution as `conv3d` on a grid of zeros, read at the voxels."""
    b, i, j, k = voxels.coords.long().T
    side = int(voxels.coords[:, 1:].max()) + 1
    grid = x.new_zeros(voxels.batch_size, x.shape[1], side, side, side)
    grid[b, :, i, j, k] = x
    out = F.conv3d(grid, conv.conv.weight.permute(0, 4, 1, 2, 3), conv.conv.bias, padding=1)
    return out[b, :, i, j, k]


def features(voxels: Voxels, channels: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(len(voxels), channels, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_conv(cin: int, cout: int, size: int = 3) -> SparseConv3d:
    torch.manual_seed(0)
    conv = SparseConv3d(cin, cout, size)
    torch.nn.init.normal_(conv.conv.bias)
    return conv


@pytest.mark.parametrize("limit", [2**22, 500])
def test_convolution_is_a_dense_one_read_at_the_voxels(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "GATHER_LIMIT_CPU", limit)
    voxels, conv = random_voxels(0), random_conv(6, 5)
    x = features(voxels, 6)
    torch.testing.assert_close(conv(x, voxels), dense_convolution(conv, x, voxels), rtol=1e-5, atol=1e-5)


def test_convolution_on_children_is_the_one_of_the_copies() -> None:
    voxels, conv = random_voxels(1), random_conv(6, 5)
    x = features(voxels, 6)
    copies = dense_convolution(conv, x.repeat_interleave(8, dim=0), voxels.fine)
    torch.testing.assert_close(conv.on_children(x, voxels), copies, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("on_children", [False, True])
def test_convolution_gradients_are_those_of_the_dense_one(on_children: bool) -> None:
    voxels, conv = random_voxels(2, side=4), random_conv(3, 4).double()
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
    out = gather_matmul(x, index, torch.ones(1, 2, 2), torch.tensor([5.0]))
    assert out.tolist() == [[7.0], [5.0]]


def test_group_norm_takes_statistics_per_item() -> None:
    voxels, norm = random_voxels(0), SparseGroupNorm(4, 12)
    torch.nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(0))
    x = features(voxels, 12) * 3 + 2
    want = [F.group_norm(item.T[None], 4, norm.weight, norm.bias)[0].T for item in x.split(voxels.counts)]
    torch.testing.assert_close(norm(x, voxels), torch.cat(want), rtol=1e-5, atol=1e-5)


def test_downsampling_counts_one_member_too_many() -> None:
    voxels = Voxels(torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 2, 2, 2]], dtype=torch.int32))
    x = torch.tensor([[3.0], [6.0], [4.0]])
    assert downsample(x, voxels).tolist() == [[3.0], [2.0]]


def test_upsampling_copies_parents_in_the_order_of_the_children() -> None:
    voxels = random_voxels(0)
    x = features(voxels.coarse, 3)
    assert torch.equal(upsample(x, voxels), x[voxels.parent])


@pytest.mark.parametrize("shift", [0, 2])
def test_window_attention_is_attention_inside_each_window(shift: int) -> None:
    voxels = random_voxels(0, side=9)
    windows = voxels.windows(4, shift)
    q, k, v = features(voxels, 3 * 2 * 4).view(-1, 3, 2, 4).unbind(1)
    want = torch.empty_like(q)
    for label in windows.label.unique():
        rows = windows.label == label
        scores = torch.einsum("qhd,khd->hqk", q[rows], k[rows]) / 2
        want[rows] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[rows])
    torch.testing.assert_close(window_attention(q, k, v, windows), want, rtol=1e-5, atol=1e-5)


def test_window_attention_has_exact_gradients() -> None:
    voxels = random_voxels(0, items=1, side=4)
    windows = voxels.windows(3, 1)
    qkv = [features(voxels, 4, seed, torch.float64).view(-1, 2, 2).requires_grad_() for seed in range(3)]
    assert torch.autograd.gradcheck(lambda q, k, v: window_attention(q, k, v, windows), qkv, fast_mode=True)


def test_items_of_different_size_are_padded_and_come_back() -> None:
    voxels = random_voxels(0)
    x = features(voxels, 3).requires_grad_()
    items, mask = to_items(x, voxels)
    assert items.shape == (2, max(voxels.counts), 3)
    assert mask is not None
    assert mask.sum((1, 2, 3)).tolist() == voxels.counts
    assert torch.equal(from_items(items, voxels), x)
    (from_items(items, voxels) * x.detach()).sum().backward()
    assert torch.equal(x.grad, x)


def test_items_of_equal_size_need_no_mask() -> None:
    voxels = random_voxels(0, items=1).repeated(3)
    items, mask = to_items(features(voxels, 3), voxels)
    assert mask is None
    assert items.shape[0] == 3
