"""The nearest of many points, on every device."""

from __future__ import annotations

import pytest
import torch

from v2m4.geometry.neighbours import Neighbours


def test_every_point_is_its_own_nearest() -> None:
    points = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Neighbours(points).nearest(points), torch.arange(300))


def test_neighbours_agree_with_all_distances():
    rng = torch.Generator().manual_seed(0)
    points, queries = torch.rand(50, 3, generator=rng), torch.rand(30, 3, generator=rng)
    assert torch.equal(Neighbours(points).nearest(queries), torch.cdist(queries, points).argmin(1))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("queries", "points", "width"), [(1000, 777, 3), (5, 1, 3), (33, 5000, 3), (100, 90, 6)])
def test_the_gpu_finds_the_same(queries: int, points: int, width: int) -> None:
    rng = torch.Generator().manual_seed(0)
    table, asked = torch.randn(points, width, generator=rng), torch.randn(queries, width, generator=rng)
    expected = Neighbours(table).nearest(asked)
    found = Neighbours(table.cuda()).nearest(asked.cuda()).cpu()
    torch.testing.assert_close((asked - table[found]).norm(dim=1), (asked - table[expected]).norm(dim=1))
