"""Norm, resampling and attention on voxel features, against dense PyTorch and against loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.generators.trellis.test_voxels import random_voxels
from tests.generators.trellis.windows import window_attention
from v2m4.generators.trellis.sparse import (
    SparseGroupNorm,
    downsample,
    from_items,
    to_items,
    upsample,
)
from v2m4.generators.trellis.voxels import Voxels


def features(voxels: Voxels, channels: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(len(voxels), channels, generator=torch.Generator().manual_seed(seed), dtype=dtype)


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
