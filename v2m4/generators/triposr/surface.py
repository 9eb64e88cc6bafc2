"""From a triplane to a mesh: densities on a regular grid, only where they matter, then marching cubes.

The first layer of the decoder is linear in the features of three planes. On a regular grid these are three maps, so
that layer is applied to the maps once and a node costs three look-ups and two additions (exact). Nodes far from the
surface are never asked: a coarse grid finds the blocks that the surface enters, and from these it is followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from v2m4.errors import V2M4Error
from v2m4.generators.triposr.network import FieldDecoder, FieldValues
from v2m4.geometry.marching_cubes import marching_cubes
from v2m4.geometry.mesh import Mesh

PLANE_AXES = ((0, 1), (0, 2), (1, 2))
"""Which two coordinates look each plane up; the first runs along its columns, the second along its rows."""
_POINTS_AT_ONCE = 32768  # enough for two threads to share, and their activations fit a cache
_FARTHEST = -80.0  # exponent below which a density counts as zero


def plane_features(planes: Tensor, positions: Tensor, radius: float) -> Tensor:
    """(N, 3c) features of points (N, 3) read from planes (3, c, h, w), zero beyond their borders."""
    at = torch.stack([positions[:, list(axes)] for axes in PLANE_AXES]) / radius  # (3, N, 2) as (column, row)
    found = F.grid_sample(planes, at[:, None], mode="bilinear", padding_mode="zeros", align_corners=False)
    return found[:, :, 0].permute(2, 0, 1).flatten(1)  # (3, c, 1, N) -> (N, 3c)


def query(decoder: FieldDecoder, planes: Tensor, positions: Tensor) -> FieldValues:
    """Density and colour at points (N, 3)."""
    parts = [decoder(plane_features(planes, part, decoder.config.radius)) for part in positions.split(_POINTS_AT_ONCE)]
    return FieldValues(*(torch.cat(each) for each in zip(*parts, strict=True)))


@dataclass(frozen=True)
class GridField:
    """The field at the nodes of a regular grid: ``side`` samples per axis from -radius to radius, both included.

    maps: (3, side, side, n), what each plane contributes to the decoder's first layer, by the plane's two coordinates.
    """

    decoder: FieldDecoder
    maps: Tensor
    side: int

    @staticmethod
    def of(decoder: FieldDecoder, planes: Tensor, side: int) -> GridField:
        """The maps of planes (3, c, h, w)."""
        axis = torch.linspace(-1, 1, side, device=planes.device)
        columns, rows = torch.meshgrid(axis, axis, indexing="ij")
        at = torch.stack([columns, rows], dim=-1).expand(3, -1, -1, -1)
        features = F.grid_sample(planes, at, mode="bilinear", padding_mode="zeros", align_corners=False)
        first = decoder.linears[0]
        weights = first.weight.unflatten(1, (3, -1)).transpose(0, 1)  # (3, n, c)
        maps = torch.einsum("pcij,pnc->pijn", features, weights)
        maps[0] += first.bias
        return GridField(decoder, maps.contiguous(), side)

    def exponents(self, nodes: Tensor) -> Tensor:
        """(N,) logarithm of the density at nodes (N,) int64, numbered with z running fastest."""
        *hidden, last = self.decoder.linears[1:]
        out = torch.empty(len(nodes), device=self.maps.device)
        for start in range(0, len(nodes), _POINTS_AT_ONCE):
            part = nodes[start : start + _POINTS_AT_ONCE]
            x, y, z = part // self.side**2, part // self.side % self.side, part % self.side
            h = self.maps[0, x, y] + self.maps[1, x, z] + self.maps[2, y, z]  # (n, neurons)
            for layer in hidden:
                h = layer(F.silu(h, inplace=True))
            # Of the four outputs, the surface asks for the density alone.
            out[start : start + _POINTS_AT_ONCE] = F.silu(h, inplace=True) @ last.weight[0] + last.bias[0]
        return out + self.decoder.config.density_bias


@dataclass(frozen=True)
class Refined:
    """The field where the surface is. exponents: (R, R, R), -inf where nobody asked; cells: (R-1, R-1, R-1) bool, the
    cubes all of whose corners are known; asked: how many nodes were evaluated."""

    exponents: Tensor
    cells: Tensor
    asked: int


def refine(field: GridField, level: float, stride: int) -> Iterator[Refined]:
    """Evaluate the grid near the surface exponent = level; yields the state after every round, the last one complete.

    Blocks of ``stride`` cells whose corners lie on both sides of the level are evaluated, and their neighbours; then
    every block into which the surface is seen to run on, until none is left. A piece of surface smaller than a block
    that touches no node of the coarse grid stays unseen. With ``stride`` 1 every node is evaluated.
    """
    side, device = field.side, field.maps.device
    coarse = torch.tensor([*range(0, side - 1, stride), side - 1], device=device)
    number = len(coarse)
    values = torch.full((side, side, side), -torch.inf, device=device)
    known = torch.zeros(side, side, side, dtype=torch.bool, device=device)
    block_of = torch.bucketize(torch.arange(side - 1, device=device), coarse[1:], right=True)  # of each cell

    def ask(nodes: Tensor) -> None:
        values.view(-1)[nodes] = field.exponents(nodes).clamp_min(_FARTHEST)
        known.view(-1)[nodes] = True

    ask((torch.cartesian_prod(coarse, coarse, coarse) * torch.tensor([side**2, side, 1], device=device)).sum(1))
    wanted = _grown(_mixed(_subgrid(values, coarse) > level))
    active = torch.zeros(number - 1, number - 1, number - 1, dtype=torch.bool, device=device)
    while bool((wanted & ~active).any()):
        active |= wanted
        cells = _subgrid(active, block_of)
        ask((_touched(cells) & ~known).flatten().nonzero()[:, 0])
        yield Refined(values, cells, int(known.sum()))
        # Cells outside that share with an active one a side across which the surface runs lie in the next blocks.
        wanted = torch.zeros_like(active)
        leaving = _leaving(values > level, cells).nonzero()
        wanted[tuple(block_of[leaving].T)] = True
    if not bool(active.any()):
        yield Refined(values, _subgrid(active, block_of), int(known.sum()))


def _subgrid(grid: Tensor, chosen: Tensor) -> Tensor:
    """The (N, N, N) entries of a cube-shaped grid at the N chosen indices of each axis."""
    return grid[chosen][:, chosen][:, :, chosen]


def _mixed(inside: Tensor) -> Tensor:
    """(X-1, Y-1, Z-1) cells of (X, Y, Z) nodes whose corners are not all alike."""
    number = sum(_corners(inside.to(torch.uint8)))
    assert isinstance(number, Tensor)
    return (number > 0) & (number < 8)


def _corners(nodes: Tensor) -> Iterator[Tensor]:
    x, y, z = (n - 1 for n in nodes.shape)
    for i in (0, 1):
        for j in (0, 1):
            for k in (0, 1):
                yield nodes[i : x + i, j : y + j, k : z + k]


def _touched(cells: Tensor) -> Tensor:
    """(X, Y, Z) nodes that are corners of the given cells (X-1, Y-1, Z-1)."""
    nodes = torch.zeros([n + 1 for n in cells.shape], dtype=torch.bool, device=cells.device)
    for view in _corners(nodes):
        view |= cells
    return nodes


def _grown(cells: Tensor) -> Tensor:
    """The cells and their 26 neighbours."""
    return F.max_pool3d(cells[None].float(), 3, stride=1, padding=1)[0] > 0


def _leaving(inside: Tensor, cells: Tensor) -> Tensor:
    """Cells outside ``cells`` that share with one of them a side whose corners are not all alike."""
    out = torch.zeros_like(cells)
    for axis in range(3):
        ours, nodes, result = (t.movedim(axis, 0) for t in (cells, inside, out))
        side = nodes[1:-1].to(torch.uint8)  # the sides between cells, each with four corners
        number = side[:, :-1, :-1] + side[:, 1:, :-1] + side[:, :-1, 1:] + side[:, 1:, 1:]
        crossed = (number > 0) & (number < 4)
        result[1:] |= crossed & ours[:-1] & ~ours[1:]
        result[:-1] |= crossed & ours[1:] & ~ours[:-1]
    return out


def surface(decoder: FieldDecoder, planes: Tensor, side: int, threshold: float, stride: int) -> Mesh:
    """The mesh where the density of planes (3, c, h, w) is ``threshold``, with the field's colours at its vertices.

    Coordinates are the network's: z up, the object's front towards +x, its cube from -radius to radius. Raises
    V2M4Error if the density nowhere reaches the threshold.
    """
    field, level = GridField.of(decoder, planes, side), float(torch.tensor(threshold).log())
    *_, found = refine(field, level, stride)
    # The original interpolates densities, not their logarithms.
    vertices, faces = marching_cubes(found.exponents.exp(), threshold, found.cells)
    if len(faces) == 0:
        raise V2M4Error(
            "TripoSR saw no object in the picture: its density stays below the surface's everywhere. Check the cut-out "
            "of this frame, or choose another generator."
        )
    radius = decoder.config.radius
    vertices = vertices * (2 * radius / (side - 1)) - radius
    return Mesh(vertices, faces, colors=query(decoder, planes, vertices).color)
