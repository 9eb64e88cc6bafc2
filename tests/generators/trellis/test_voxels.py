"""What follows from voxel coordinates alone, against brute force."""

from __future__ import annotations

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from v2m4.generators.trellis.voxels import OFFSETS, Voxels


def random_voxels(seed: int, items: int = 2, side: int = 7, share: float = 0.3) -> Voxels:
    """A batch of random voxel sets of different sizes, the rows of each item shuffled."""
    rng = torch.Generator().manual_seed(seed)
    parts = []
    for item in range(items):
        occupied = torch.rand(side, side, side, generator=rng) < share
        occupied[item, 0, 0] = True
        rows = occupied.nonzero()
        rows = rows[torch.randperm(len(rows), generator=rng)]
        parts.append(torch.nn.functional.pad(rows, (1, 0), value=item))
    return Voxels(torch.cat(parts).int())


def neighbours_by_search(voxels: Voxels) -> Tensor:
    """The neighbour table from a dictionary of coordinates."""
    row_of = {tuple(c): i for i, c in enumerate(voxels.coords.tolist())}
    table = [
        [row_of.get((b, x + dx, y + dy, z + dz), len(voxels)) for dx, dy, dz in OFFSETS.tolist()]
        for b, x, y, z in voxels.coords.tolist()
    ]
    return torch.tensor(table, dtype=torch.int32)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), items=st.integers(1, 3), share=st.floats(0.0, 1.0))
def test_neighbours_are_those_a_search_finds(seed: int, items: int, share: float) -> None:
    voxels = random_voxels(seed, items, side=4, share=share)
    assert torch.equal(voxels.neighbours, neighbours_by_search(voxels))


def test_neighbour_table_is_its_own_mirror() -> None:
    voxels = random_voxels(0)
    table = voxels.neighbours.long()
    rows, taps = (table < len(voxels)).nonzero().T
    assert torch.equal(table[table[rows, taps], 26 - taps], rows)


def test_neighbours_of_children_follow_from_their_parents() -> None:
    fine = random_voxels(1, side=4).fine
    assert torch.equal(fine.neighbours, neighbours_by_search(fine))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_halo_of_a_block_is_what_a_search_finds(level: int) -> None:
    voxels = random_voxels(1, side=3)
    for _ in range(level):
        voxels = voxels.fine
    row_of = {tuple(c): i for i, c in enumerate(voxels.coords.tolist())}
    side = 2**level
    around = torch.cartesian_prod(*[torch.arange(-1, side + 1)] * 3).tolist()
    first = voxels.coords[:: side**3].tolist()
    want = [[row_of.get((b, x + i, y + j, z + k), len(voxels)) for i, j, k in around] for b, x, y, z in first]
    assert torch.equal(voxels.halo, torch.tensor(want, dtype=torch.int32))


def test_children_lie_inside_their_parent_z_fastest() -> None:
    fine = Voxels(torch.tensor([[0, 3, 5, 7]], dtype=torch.int32)).fine
    assert fine.coords.tolist() == [[0, 6 + i, 10 + j, 14 + k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    assert fine.counts == [8]


def test_coarse_voxels_are_sorted_and_contain_their_children() -> None:
    voxels = random_voxels(2)
    coarse = voxels.coarse
    assert coarse.coords.tolist() == sorted(coarse.coords.tolist())
    assert torch.equal(coarse.coords[voxels.parent][:, 1:], voxels.coords[:, 1:] // 2)
    assert torch.equal(coarse.coords[voxels.parent][:, 0], voxels.coords[:, 0])
    assert torch.equal(voxels.siblings, torch.bincount(voxels.parent).float())
    assert sum(coarse.counts) == len(coarse)


@pytest.mark.parametrize(("size", "shift"), [(4, 0), (4, 2), (3, 1), (64, 0)])
def test_windows_hold_every_row_once_with_its_neighbours_in_space(size: int, shift: int) -> None:
    voxels = random_voxels(3)
    windows = voxels.windows(size, shift)
    cell = voxels.coords.clone()
    cell[:, 1:] = torch.div(cell[:, 1:] + shift, size, rounding_mode="floor")
    same_cell = (cell[:, None] == cell[None]).all(-1)
    assert torch.equal(windows.label[:, None] == windows.label[None], same_cell)
    assert torch.equal(windows.index[windows.position], torch.arange(len(voxels)))
    sizes = [count * length for count, length, _ in windows.groups]
    for (count, length, mask), index in zip(windows.groups, windows.index.split(sizes), strict=True):
        exists = (index < len(voxels)).view(count, length)
        assert bool(exists.all()) if mask is None else torch.equal(mask[:, 0, 0], exists)
        for row in index.view(count, length):
            assert len(windows.label[row[row < len(voxels)]].unique()) == 1


def test_windows_are_computed_once() -> None:
    voxels = random_voxels(4)
    assert voxels.windows(4, 2) is voxels.windows(4, 2)
    assert voxels.coarse is voxels.coarse
    assert voxels.repeated(2) is voxels.repeated(2)


def test_repeating_appends_further_items() -> None:
    voxels = random_voxels(5)
    twice = voxels.repeated(2)
    assert twice.counts == voxels.counts * 2
    assert torch.equal(twice.coords[len(voxels) :, 1:], voxels.coords[:, 1:])
    assert torch.equal(twice.item, torch.cat([voxels.item, voxels.item + 2]))
    assert voxels.repeated(1) is voxels


def test_nothing_refers_back_so_that_memory_is_freed_at_once() -> None:
    voxels = random_voxels(6)
    fine = voxels.fine
    assert fine.neighbours.shape == (8 * len(voxels), 27)
    gone = weakref.ref(voxels)
    del voxels
    assert gone() is None
    assert fine.fine.halo.shape[1] == 6**3
