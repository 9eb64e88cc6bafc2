"""Sets of active voxels and everything that follows from their coordinates alone.

Features are plain tensors (N, channels) whose rows follow `Voxels.coords`. What convolutions, resampling and windowed
attention need to know about the coordinates (neighbours, parents, children, windows) is computed once per voxel set
and kept with it, so that the steps of a sampler and the two decoders share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

_AXES = torch.tensor([-1, 0, 1])
OFFSETS = torch.cartesian_prod(_AXES, _AXES, _AXES)
"""The 27 neighbour offsets (27, 3) in kernel order: x slowest, z fastest."""

CHILDREN = torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(2))
"""Positions (8, 3) of a voxel's children in the order of their rows: z fastest."""


@dataclass(frozen=True)
class Windows:
    """Rows of a voxel set gathered window by window, in groups padded to a common length.

    `index` (P,): row number of every place, N for padding; the places of a group follow each other, window by window.
    `groups`: number of windows, their length, and the mask (W, 1, 1, L) of the places that hold a row (None if all
    do). `position` (N,): place of each row. `label` (N,): window of each row.

    Without padding: `order` (N,): the rows window by window; `place` (N,): where each row is in it; `starts` (W + 1,)
    int32: where each window begins, and the end; `longest`: rows of the largest window.
    """

    index: Tensor
    groups: tuple[tuple[int, int, Tensor | None], ...]
    position: Tensor
    label: Tensor
    order: Tensor
    place: Tensor
    starts: Tensor
    longest: int


class _Neighbourhood:
    """Which voxels of an unsplit set are next to each other; computed when first asked for."""

    def __init__(self, coords: Tensor) -> None:
        self.coords = coords

    @cached_property
    def table(self) -> Tensor:
        """Row numbers (N, 27) int32 in the order of `OFFSETS`; N where there is none."""
        coords = self.coords.long()
        low = coords[:, 1:].amin(0) - 1
        size = coords[:, 1:].amax(0) - low + 2
        offsets = F.pad(OFFSETS.to(coords.device), (1, 0))
        stride = torch.stack([size[0] * size[1] * size[2], size[1] * size[2], size[2], torch.ones_like(size[0])])
        keys = ((coords - F.pad(low, (1, 0))) * stride).sum(1)
        ordered, order = keys.sort()
        wanted = keys[:, None] + (offsets * stride).sum(1)
        found = torch.searchsorted(ordered, wanted).clamp_(max=len(coords) - 1)
        return torch.where(ordered[found] == wanted, order[found], len(coords)).int()


class Voxels:
    """A batch of voxel sets: `coords` (N, 4) int32 rows of (item, x, y, z), the rows of an item contiguous.

    Splitting every voxel `level` times gives full cubes, the *blocks*, of 2^level voxels per side; see `fine`.
    """

    def __init__(
        self, coords: Tensor, counts: list[int] | None = None, blocks: _Neighbourhood | None = None, level: int = 0
    ) -> None:
        """`counts`: rows per item, if known; otherwise they are counted (which waits for the device).

        `blocks`: the voxels that were split `level` times to give these, 8^level consecutive rows each.
        """
        self.coords = coords
        self.level = level
        self.counts = torch.bincount(coords[:, 0]).tolist() if counts is None else counts
        self._blocks = blocks or _Neighbourhood(coords)
        self._windows: dict[tuple[int, int], Windows] = {}
        self._repeats: dict[int, Voxels] = {}

    def __len__(self) -> int:
        return self.coords.shape[0]

    @property
    def batch_size(self) -> int:
        return len(self.counts)

    @property
    def device(self) -> torch.device:
        return self.coords.device

    @cached_property
    def item(self) -> Tensor:
        """Batch item (N,) of each row, int64."""
        return self.coords[:, 0].long()

    @cached_property
    def neighbours(self) -> Tensor:
        """Row numbers (N, 27) int32 of the neighbours in the order of `OFFSETS`; N where there is none."""
        around = positions_in_block(self.level)[:, None] + 1 + OFFSETS
        side = 2**self.level + 2
        place = (around * torch.tensor([side * side, side, 1])).sum(-1)
        return self.halo[:, place.to(self.device)].flatten(0, 1)

    @cached_property
    def _halved(self) -> tuple[Voxels, Tensor]:
        coarse = self.coords.clone()
        coarse[:, 1:] = torch.div(coarse[:, 1:], 2, rounding_mode="floor")
        unique, parent = torch.unique(coarse, dim=0, return_inverse=True)
        return Voxels(unique), parent

    @property
    def coarse(self) -> Voxels:
        """The voxels of half the resolution that contain these, sorted by (item, x, y, z)."""
        return self._halved[0]

    @property
    def parent(self) -> Tensor:
        """Row (N,) in `coarse` of the voxel that contains each row, int64."""
        return self._halved[1]

    @cached_property
    def siblings(self) -> Tensor:
        """Number of rows (M,) that share each voxel of `coarse`, float32."""
        return torch.bincount(self.parent, minlength=len(self.coarse)).float()

    @cached_property
    def fine(self) -> Voxels:
        """The voxels of twice the resolution inside these: 8 consecutive rows per row, in the order of `CHILDREN`."""
        children = F.pad(CHILDREN, (1, 0)).to(self.coords)
        scale = self.coords.new_tensor([1, 2, 2, 2])
        coords = (self.coords * scale)[:, None] + children
        return Voxels(coords.flatten(0, 1), [8 * n for n in self.counts], self._blocks, self.level + 1)

    @cached_property
    def halo(self) -> Tensor:
        """Row numbers (blocks, (2^level + 2)^3) int32 of each block's voxels and those around it, z fastest.

        N where there is none.
        """
        side = 2**self.level
        axis = torch.arange(-1, side + 1)
        position = torch.cartesian_prod(axis, axis, axis)
        tap = ((torch.div(position, side, rounding_mode="floor") + 1) * torch.tensor([9, 3, 1])).sum(1)
        row = torch.empty(side, side, side, dtype=torch.int32)
        row[positions_in_block(self.level).unbind(1)] = torch.arange(side**3, dtype=torch.int32)
        row = row[(position % side).unbind(1)]
        table = self._blocks.table
        block = table[:, tap.to(self.device)]
        return torch.where(block < len(table), block * side**3 + row.to(self.device), len(self))

    def repeated(self, times: int) -> Voxels:
        """This batch `times` over, as further items; shares what is already known about the coordinates."""
        if times == 1:
            return self
        if times not in self._repeats:
            step = self.coords.new_tensor([self.batch_size, 0, 0, 0])
            copies = [self.coords + i * step for i in range(times)]
            self._repeats[times] = Voxels(torch.cat(copies), self.counts * times)
        return self._repeats[times]

    def windows(self, size: int, shift: int) -> Windows:
        """Cubic windows of `size` voxels; the window of a voxel is floor((coordinate + shift) / size) per axis."""
        if (size, shift) not in self._windows:
            self._windows[size, shift] = _windows(self.coords, size, shift)
        return self._windows[size, shift]

    @cached_property
    def padding(self) -> Windows | None:
        """Rows gathered item by item; None if all items have the same number of rows (a reshape does it then)."""
        if len(set(self.counts)) == 1:
            return None
        counts = torch.tensor(self.counts, device=self.device)
        longest = max(self.counts)
        return _padded_groups(torch.arange(len(self), device=self.device), counts, [longest], longest)


def positions_in_block(level: int) -> Tensor:
    """Position (8^level, 3) in its block of each row of a voxel set that was split `level` times."""
    position = torch.zeros(1, 3, dtype=torch.long)
    for _ in range(level):
        position = (2 * position[:, None] + CHILDREN).flatten(0, 1)
    return position


def _windows(coords: Tensor, size: int, shift: int) -> Windows:
    cell = coords.long()
    cell[:, 1:] = torch.div(cell[:, 1:] + shift, size, rounding_mode="floor")
    cell = cell - cell.amin(0)
    extent = cell.amax(0) + 1
    key = ((cell[:, 0] * extent[1] + cell[:, 1]) * extent[2] + cell[:, 2]) * extent[3] + cell[:, 3]
    ordered, order = key.sort(stable=True)
    _, counts = torch.unique_consecutive(ordered, return_counts=True)
    known = counts.tolist()
    return _padded_groups(order, counts, sorted({_padded_length(n) for n in known}), max(known))


def _padded_length(count: int) -> int:
    """Smallest of 16, 24, 32, 48, 64, 96, ... that holds `count` rows; at most a third of it is padding above 16."""
    length = 16
    while length < count:
        length = length * 3 // 2 if length & (length - 1) == 0 else length * 4 // 3
    return length


def _padded_groups(order: Tensor, counts: Tensor, lengths: list[int], longest: int) -> Windows:
    """Windows of `counts` consecutive entries of `order`, each padded to the smallest of `lengths` that holds it.

    `longest`: the largest of `counts`.
    """
    start = counts.cumsum(0) - counts
    target = torch.tensor(lengths, device=order.device)
    which = torch.searchsorted(target, counts)
    base = torch.zeros_like(start)
    groups: list[tuple[int, int, Tensor | None]] = []
    indices = []
    filled = 0
    for i, length in enumerate(lengths):
        members = (which == i).nonzero()[:, 0]
        slot = torch.arange(length, device=order.device)
        inside = slot < counts[members, None]
        index = order[(start[members, None] + slot).clamp_(max=len(order) - 1)]
        full = bool(inside.all())
        indices.append(torch.where(inside, index, len(order)).flatten())
        groups.append((len(members), length, None if full else inside[:, None, None]))
        base[members] = filled + torch.arange(len(members), device=order.device) * length
        filled += len(members) * length
    window = torch.repeat_interleave(counts, output_size=len(order))
    position = torch.empty_like(order)
    position[order] = (base - start)[window] + torch.arange(len(order), device=order.device)
    label = torch.empty_like(order)
    label[order] = window
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    starts = F.pad(counts.cumsum(0), (1, 0)).int()
    return Windows(torch.cat(indices), tuple(groups), position, label, order, place, starts, longest)
