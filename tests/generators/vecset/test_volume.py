"""Coarse to fine: the same surface as everywhere, for far fewer questions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.generators.vecset.volume import VolumeRule, closed_at_border, coarse_to_fine, dilated, halvings, near_surface
from v2m4.geometry.marching_cubes import marching_cubes

CPU = torch.device("cpu")


def ellipsoid(p: Tensor) -> Tensor:
    """Positive inside."""
    return 9 * (1 - (p / p.new_tensor([0.7, 0.5, 0.8]) - 0.1).norm(dim=1))


@pytest.mark.parametrize("dilations", [1, 2])
def test_the_surface_is_that_of_the_whole_grid(dilations: int) -> None:
    levels = halvings(48, 12)
    fine = coarse_to_fine(ellipsoid, levels, 1.0, VolumeRule(dilations), CPU, 5000)
    whole = coarse_to_fine(ellipsoid, levels[-1:], 1.0, VolumeRule(), CPU, 10**6)
    assert fine.queries < 0.6 * whole.queries
    torch.testing.assert_close(fine.logits[fine.asked], whole.logits[fine.asked], rtol=1e-4, atol=1e-4)
    assert torch.equal(fine.logits > 0, whole.logits > 0)
    for a, b in zip(marching_cubes(fine.logits), marching_cubes(whole.logits), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_every_cell_of_the_surface_was_asked_at_its_corners() -> None:
    volume = coarse_to_fine(ellipsoid, halvings(40, 10), 1.0, VolumeRule(), CPU, 10**6)
    inside = (volume.logits > 0)[None, None].float()
    mixed = (F.max_pool3d(inside, 2, 1) != -F.max_pool3d(-inside, 2, 1))[0, 0]
    asked = -F.max_pool3d(-volume.asked[None, None].float(), 2, 1)[0, 0] > 0
    assert bool(asked[mixed].all())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.01, 0.3))
def test_dilation_is_a_maximum_over_the_neighbourhood(seed: int, density: float) -> None:
    mask = torch.rand(6, 5, 7, generator=torch.Generator().manual_seed(seed)) < density
    expected = F.max_pool3d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0
    assert torch.equal(dilated(mask), expected)


def plain_near_surface(logits: Tensor, asked: Tensor, near: float) -> Tensor:
    """One node after the other."""
    found = torch.zeros_like(asked)
    for index in asked.nonzero().tolist():
        value = logits[tuple(index)]
        hit = bool(value.abs() < near)
        for axis in range(3):
            for step in (-1, 1):
                other = list(index)
                other[axis] += step
                if 0 <= other[axis] < logits.shape[axis] and asked[tuple(other)]:
                    hit |= bool(logits[tuple(other)].sign() != value.sign())
        found[tuple(index)] = hit
    return found


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_near_the_surface_is_where_signs_change_or_values_are_small(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits, asked = 3 * torch.randn(5, 5, 5, generator=rng), torch.rand(5, 5, 5, generator=rng) < 0.8
    assert torch.equal(near_surface(logits, asked, 0.95), plain_near_surface(logits, asked, 0.95))


def test_grids_are_those_of_the_releases() -> None:
    assert halvings(512, 63, 4) == (63, 126, 252, 504)
    assert halvings(256, 63) == (64, 128, 256)
    assert halvings(384, 63) == (96, 192, 384)
    assert halvings(384, 384) == (384,)
    with pytest.raises(V2M4Error, match="holds no surface"):
        halvings(1, 1)


def test_a_surface_that_leaves_the_grid_is_closed_at_its_border() -> None:
    values = torch.ones(4, 4, 4)
    vertices, faces = marching_cubes(closed_at_border(values))
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    assert bool((edges.unique(dim=0, return_counts=True)[1] == 2).all())
    assert vertices.min() > 0.99
    assert vertices.max() < 4.01
