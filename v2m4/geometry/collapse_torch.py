"""Edge collapses by quadric error (Garland and Heckbert 1997), many at a time, for meshes of many faces on a GPU.

In every round each edge that is cheaper than all edges near it collapses: no two of these change the same face, so that
they do not know of each other. Several such sets are found (as Luby 1986 finds independent sets) before the edges are
weighed anew. The quadrics are sums of whole numbers, so that the order in which a GPU adds makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from v2m4.settings import ManyCollapsesSettings

_UNIT = 2.0**40  # whole numbers per mean face's quadric, in boxes of size 1: half a million faces fit in an int64
_HEAVIEST = 2.0**10  # weight of a face, in means: for the same reason
_NEVER = 2**62  # a turn that no edge has
_STRIDE = 2654435761  # odd, and near the golden section of 2^32: multiples scatter (Knuth 1973)
_ROUNDS = 100  # a guard: a fourteenth of the faces goes in each


def collapse_torch(
    vertices: Tensor, faces: Tensor, least: int, settings: ManyCollapsesSettings
) -> tuple[Tensor, Tensor]:
    """Vertices (V',3) float64 and faces of (V,3), (F,3), collapsed towards ``least`` faces, never to fewer.

    Stays as it is: what lies at a border, at an edge of more than two faces, or where neighbours are wound differently.
    No collapse joins what was apart, opens a hole or turns a face over. May end early, with more faces.
    """
    if len(faces) <= least:
        return vertices, faces
    low = vertices.amin(0)
    size = (vertices.amax(0) - low).max().clamp_min(1e-30)
    places = (vertices.double() - low) / size - 0.5
    fixed = _fixed(len(places), faces)
    quadrics = _quadrics(places, faces)
    for _ in range(_ROUNDS):
        if len(faces) <= least:
            break
        edges = _Edges.weighed(places, faces, quadrics, fixed, settings)
        chosen = _chosen(edges, places, faces, settings)[: (len(faces) - least) // 2]
        if len(chosen) == 0:
            break
        stays, goes = edges.ends[chosen].unbind(1)
        places = places.index_copy(0, stays, edges.place[chosen])
        quadrics = quadrics.index_add(0, stays, quadrics[goes])
        target = torch.arange(len(places), device=faces.device).index_copy_(0, goes, stays)
        faces = target[faces]
        faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    used, inverse = torch.unique(faces, return_inverse=True)
    return ((places[used] + 0.5) * size + low), inverse


@dataclass(frozen=True)
class _Edges:
    """ends (E,2); place (E,3) of the vertex that each would become; turn (E,): whose turn it is, from 1 on, each its
    own, `_NEVER` for those that may not collapse."""

    ends: Tensor
    place: Tensor
    turn: Tensor

    @staticmethod
    def weighed(
        places: Tensor, faces: Tensor, quadrics: Tensor, fixed: Tensor, settings: ManyCollapsesSettings
    ) -> _Edges:
        # 1. Each edge of two faces once: in one of them it runs from the lower vertex to the higher.
        runs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        ends = runs[runs[:, 0] < runs[:, 1]]  # (E,2)
        a, b = ends.unbind(1)
        # 2. The place x that makes x A x + 2 b x + c + pull |x - middle|^2 least, and that value.
        xx, xy, xz, yy, yz, zz, bx, by, bz, c = ((quadrics[a] + quadrics[b]).double() / _UNIT).unbind(1)  # (E,) each
        middle, along = (places[a] + places[b]) / 2, places[b] - places[a]
        weight = xx + yy + zz
        pull = settings.to_middle * weight + 1e-12
        mx, my, mz = middle.unbind(1)
        # The slope of the quadric at the middle, half of it; the step from there solves (A + pull) step = -slope.
        gx = xx * mx + xy * my + xz * mz + bx
        gy = xy * mx + yy * my + yz * mz + by
        gz = xz * mx + yz * my + zz * mz + bz
        value = mx * (gx + bx) + my * (gy + by) + mz * (gz + bz) + c
        xx, yy, zz = xx + pull, yy + pull, zz + pull
        cxx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
        cyy, cyz, czz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
        scale = -1 / (xx * cxx + xy * cxy + xz * cxz)
        sx = scale * (cxx * gx + cxy * gy + cxz * gz)
        sy = scale * (cxy * gx + cyy * gy + cyz * gz)
        sz = scale * (cxz * gx + cyz * gy + czz * gz)
        cost = (value + gx * sx + gy * sy + gz * sz).clamp_min(0) + settings.short_first * weight * along.square().sum(
            1
        )
        # 3. The order of costs.
        may = ~(fixed[a] | fixed[b])
        order = torch.where(may, cost, torch.inf).argsort(stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        most = settings.cheap * may.sum()
        kind = (settings.classes * rank / most).long()
        numbers = 2 ** len(order).bit_length()  # an odd stride visits each of them once
        turn = kind * numbers + rank * _STRIDE % numbers + 1
        return _Edges(ends, middle + torch.stack([sx, sy, sz], 1), torch.where(may & (rank < most), turn, _NEVER))


def _chosen(edges: _Edges, places: Tensor, faces: Tensor, settings: ManyCollapsesSettings) -> Tensor:
    """Edges that may collapse at the same time, (K,), those first whose turn it is."""
    turn = edges.turn.clone()
    for _ in range(settings.sets):
        # What was chosen comes before all others (turns below 0), so that it stays, and nothing near it is chosen.
        best = torch.full((len(places),), _NEVER, device=faces.device)
        best.scatter_reduce_(0, edges.ends.flatten(), turn[:, None].expand(-1, 2).flatten(), "amin")
        near = best[faces].amin(1)  # (F,) of all edges at a face's corners
        around = torch.full_like(best, _NEVER)
        around.scatter_reduce_(0, faces.flatten(), near[:, None].expand(-1, 3).flatten(), "amin")
        first = (turn > 0) & (turn < _NEVER) & (around[edges.ends] == turn[:, None]).all(1)
        fresh = first.nonzero()[:, 0]
        if len(fresh) == 0:
            break
        good = _harmless(edges, fresh, places, faces, settings)
        turn[fresh] = torch.where(good, turn[fresh] - _NEVER, _NEVER)
    taken = (turn < 0).nonzero()[:, 0]
    return taken[turn[taken].argsort()]


def _harmless(edges: _Edges, fresh: Tensor, places: Tensor, faces: Tensor, settings: ManyCollapsesSettings) -> Tensor:
    """(K,) whether the collapse of each of the edges ``fresh`` (K,), no two of which share a face, changes neither how
    the surface hangs together nor where its faces look."""
    number = torch.arange(len(fresh), device=faces.device)
    owner = torch.full((len(places),), -1, device=faces.device)
    owner[edges.ends[fresh]] = number[:, None]
    # 1. The faces that change, (S,), and whose they are. The edge's own two vanish. Nothing here waits for the GPU to
    # tell how many of them are what: what is not meant falls into a place behind all others.
    corner = owner[faces]  # (F,3)
    touched = (corner >= 0).any(1).nonzero()[:, 0]
    star, corner = faces[touched], corner[touched]
    mine, whose, nobody = corner >= 0, corner.amax(1), len(fresh)
    stays = mine.sum(1) == 1
    # 2. The ends share two neighbours only (the link condition): the faces that stay then run once around the edge, and
    # no two of their outer sides begin at the same vertex.
    begin = star.gather(1, (mine.int().argmax(1, keepdim=True) + 1) % 3)[:, 0]
    alone = -1 - torch.arange(len(star), device=star.device)
    key = torch.where(stays, whose * len(places) + begin, alone).sort().values
    twice = torch.where(key[1:] == key[:-1], key[1:] // len(places), nobody)
    # 3. Faces that stay turn but little, and do not become slivers.
    before = places[star]  # (S,3,3)
    after = torch.where(mine[..., None], edges.place[fresh][whose][:, None], before)
    old, new = _normals(before), _normals(after)
    turns = (old * new).sum(1) < settings.turn * old.norm(dim=1) * new.norm(dim=1)
    shape = _roundness(after, new)
    bad = turns | ((shape < settings.roundness) & (shape < _roundness(before, old)))
    harmed = torch.zeros(nobody + 1, dtype=torch.bool, device=star.device)
    harmed[twice] = True
    harmed[torch.where(bad & stays, whose, nobody)] = True
    return ~harmed[:nobody]


def _roundness(corners: Tensor, normals: Tensor) -> Tensor:
    """(S,) twice the areas of triangles (S,3,3) over the squares of their sides: 0.29 where these are alike."""
    return normals.norm(dim=1) / (corners - corners.roll(1, 1)).square().sum((1, 2)).clamp_min(1e-30)


def _fixed(count: int, faces: Tensor) -> Tensor:
    """(V,) whether a vertex belongs to an edge that does not run once in either direction."""
    runs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ahead = runs[:, 0] < runs[:, 1]
    keys, number = torch.unique(runs.amin(1) * count + runs.amax(1), return_inverse=True)
    odd = torch.bincount(number[ahead], minlength=len(keys)) != 1
    odd |= torch.bincount(number[~ahead], minlength=len(keys)) != 1
    fixed = torch.zeros(count, dtype=torch.bool, device=faces.device)
    fixed[runs[odd[number]]] = True
    return fixed


def _quadrics(places: Tensor, faces: Tensor) -> Tensor:
    """(V,10) whole numbers: the summed squared distances from the planes of a vertex's faces, weighted by their areas,
    as the upper half of A, then b, then c."""
    normal = _normals(places[faces])
    area = normal.norm(dim=1, keepdim=True)
    normal = normal / area.clamp_min(1e-30)
    offset = -(normal * places[faces[:, 0]]).sum(1, keepdim=True)
    plane = torch.cat([normal, offset], 1)  # (F,4)
    i, j = torch.tensor([(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (0, 3), (1, 3), (2, 3), (3, 3)]).T
    weight = (area / area.mean().clamp_min(1e-30)).clamp_max(_HEAVIEST)
    whole = (_UNIT * weight * plane[:, i] * plane[:, j]).round().long()  # (F,10)
    total = whole.new_zeros(len(places), whole.shape[1])
    for k in range(3):
        total.index_add_(0, faces[:, k], whole)
    return total


def _normals(corners: Tensor) -> Tensor:
    """(...,3) normals of triangles (...,3,3), as long as twice their areas."""
    a, b, c = corners.unbind(-2)
    return torch.linalg.cross(b - a, c - a)
