"""FlexiCubes over a sparse set of voxels: the mesh decoder's 101 channels become a coloured mesh.

The method is that of "Flexible Isosurface Extraction for Gradient-Based Mesh Optimization" (Shen et al. 2023): dual
marching cubes (Nielson 2004) whose crossings, dual vertices and quad splits are weighted by learned numbers. Nothing
of the size of the grid is ever made: only the active voxels, the corners they touch and the empty cubes beside a
negative corner exist, as sorted keys. All topology follows from three rules (`case_rules`), so there are no tables to
copy.

A cube's corner number has x in bit 0, y in bit 1, z in bit 2. "Inside" is a negative distance.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from v2m4.device import triton_works
from v2m4.geometry.mesh import face_normals

CHANNELS = 101
"""Per voxel: 8 distances, 8x3 deformations, 12 beta + 8 alpha + 1 gamma, 8x6 colours."""
CORNERS = torch.tensor([(c & 1, c >> 1 & 1, c >> 2 & 1) for c in range(8)])
EDGES = torch.tensor([(0, 1), (1, 5), (4, 5), (0, 4), (2, 3), (3, 7), (6, 7), (2, 6), (2, 0), (3, 1), (7, 5), (6, 4)])
"""Edges in the order of beta, as ordered corner pairs; those along y point towards smaller y."""
_SPARE_ROWS = 1024


class MeshResult(NamedTuple):
    """vertices (V,3) in [-0.5,0.5]^3, faces (F,3) int64 wound outwards, attributes (V,6) in (0,1): colour and predicted
    normal map, face_normals (F,3) of unit length. ``success`` is False where there is no surface: all are empty then.
    """

    vertices: Tensor
    faces: Tensor
    attributes: Tensor
    face_normals: Tensor
    success: bool


class CaseRules(NamedTuple):
    """What a cube's signs (bit c set: corner c inside) imply.

    group: (256,12) which dual vertex an edge belongs to, -1 where it is not crossed. vertices: (256,) their number.
    partner: (256,3) step to the cube that must agree on an ambiguous face, zero where there is none.
    """

    group: Tensor
    vertices: Tensor
    partner: Tensor


class _Cubes(NamedTuple):
    """Surface cubes, sorted by key: xyz (S,3), key (S,), corner (S,8) rows of corner values, active (S,) or -1."""

    xyz: Tensor
    key: Tensor
    corner: Tensor
    active: Tensor


class TouchedCorners(NamedTuple):
    """keys: (C,) the corners that voxels (N,3) touch, sorted. inverse: (N,8) row of each voxel's corners in them.
    touching: (C,8) the voxel that has the corner as its number c, or -1."""

    keys: Tensor
    inverse: Tensor
    touching: Tensor


def extract(
    coords: Tensor, feats: Tensor, resolution: int, corners: TouchedCorners | None = None, normals: bool = True
) -> MeshResult:
    """The surface of ``coords`` (N,3) integer voxels of a ``resolution``^3 grid over [-0.5,0.5]^3.

    ``feats``: (N,101) as the decoder emits them (the distances' bias of -1/resolution is applied here); the result is
    differentiable with respect to them. Corners no voxel touches count as outside, so empty cubes beside an inside
    corner carry surface too. Vertices are ordered by number of dual vertices in their cube, then by cube. ``corners``:
    `touched_corners` of the same voxels, where it is known already. ``normals``: whether those of faces are wanted.
    """
    # 1. What voxels say of their 8 corners, averaged over the voxels that share one: C corners in all; the S cubes
    #    that the surface passes through; and their interpolation weights, (S,21).
    corners = corners or touched_corners(coords, resolution)
    fused = feats.is_cuda and triton_works(feats.device)
    cubes, means, own = (_corners_fused if fused else _corners)(coords, feats, resolution, corners)
    if cubes.key.numel() == 0:
        return _no_surface(feats)
    # 2. Values at corners, (C+spare,9): deformation within half a cube, then colours. Corners without a voxel read
    #    one of many equal rows, so that their gradients do not queue at a single address.
    sdf, deform, colour = means[:, 0], means[:, 1:4], means[:, 4:]
    sdf = torch.cat([sdf, sdf.new_ones(_SPARE_ROWS)])
    carried = torch.cat([deform.tanh() * ((1 - 1e-8) / (2 * resolution)), colour.sigmoid()], dim=1)
    carried = torch.cat([carried, _spare_on(carried.device)])
    # 3. Dual vertices (V,3) and faces (F,3), moved from cubes to the grid's box and by the deformation.
    vertices, faces, carried = _dual_surface(cubes, sdf, own, carried, resolution)
    vertices = vertices / resolution - 0.5 + carried[:, :3]
    of_faces = face_normals(vertices, faces) if normals else vertices.new_zeros(0, 3)
    return MeshResult(vertices, faces, carried[:, 3:], of_faces, True)


def _corners(coords: Tensor, feats: Tensor, resolution: int, corners: TouchedCorners) -> tuple[_Cubes, Tensor, Tensor]:
    """The surface cubes, distance, deformation and colours at corners (C,10), and the cubes' weights (S,21), those of
    cubes without a voxel zero."""
    sdf_raw, deform_raw, weights, colour_raw = feats.split([8, 24, 21, 48], dim=1)
    keys, inverse, touching = corners
    sdf = _CornerMean.apply(sdf_raw.reshape(-1, 8, 1) - 1 / resolution, touching, inverse)
    cubes = _surface_cubes(coords, sdf[:, 0].detach(), keys, inverse, touching, resolution)
    deform = _CornerMean.apply(deform_raw.reshape(-1, 8, 3), touching, inverse)
    colour = _CornerMean.apply(colour_raw.reshape(-1, 8, 6), touching, inverse)
    padded = torch.cat([weights, weights.new_zeros(_SPARE_ROWS, 21)])
    spare = len(weights) + torch.arange(len(cubes.key), device=weights.device) % _SPARE_ROWS
    own = padded.index_select(0, torch.where(cubes.active < 0, spare, cubes.active))
    return cubes, torch.cat([sdf, deform, colour], dim=1), own


def _corners_fused(
    coords: Tensor, feats: Tensor, resolution: int, corners: TouchedCorners
) -> tuple[_Cubes, Tensor, Tensor]:
    """The same by Triton's kernels."""
    from v2m4.generators.trellis.corners_triton import corner_means, with_slopes

    keys, inverse, touching = corners
    means = corner_means(feats.detach(), touching, -1 / resolution)
    cubes = _surface_cubes(coords, means[:, 0], keys, inverse, touching, resolution)
    return cubes, *with_slopes(feats, means, touching, inverse, cubes.active)


@cache
def _spare_on(device: torch.device) -> Tensor:
    """What corners without a voxel carry, (spare,9): no deformation, and grey."""
    return torch.tensor([[0.0] * 3 + [0.5] * 6]).repeat(_SPARE_ROWS, 1).to(device)


def _no_surface(like: Tensor, attributes: int = 6) -> MeshResult:
    none = like.new_zeros(0, 3)
    return MeshResult(none, none.long(), like.new_zeros(0, attributes), none, False)


def _dual_surface(
    cubes: _Cubes, sdf: Tensor, own: Tensor, carried: Tensor, resolution: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Dual vertices (V,3) in units of cubes without deformation, faces (F,3), and ``carried`` interpolated: (V,A).

    ``own``: (S,21) raw beta, alpha, gamma of the surface cubes. ``carried``: values at the rows of ``cubes.corner``.
    """
    # 1. Every cube's case: which corners are inside, one bit each. It says how many dual vertices the cube has.
    rules = _rules_on(sdf.device)
    corner_sdf = sdf.detach()[cubes.corner]  # (S,8)
    case = ((corner_sdf < 0) << torch.arange(8, device=sdf.device)).sum(1)
    case = _agree_on_ambiguous_faces(cubes, case, rules.partner, resolution)
    first, vertex_cube, vertex_group = _number_vertices(rules.vertices[case])

    # 2. A dual vertex is a mix of its cube's corners, (V,8), and so is what they carry.
    groups = rules.group[case]
    if sdf.is_cuda and carried.shape[1] == 9 and triton_works(sdf.device):
        from v2m4.generators.trellis.dual_triton import dual_vertices_triton as mix

        place, values = mix(sdf, carried, own, cubes.corner, groups, vertex_cube, vertex_group, _edges_on(sdf.device))
    else:
        place, values = _mix(sdf, carried, own, cubes.corner, groups, vertex_cube, vertex_group)
    vertices = cubes.xyz[vertex_cube] + place

    # 3. Four dual vertices around every crossed edge make two triangles, cut along the diagonal that gamma prefers.
    gamma = 0.005 + 0.99 * own[:, 20].detach().sigmoid()
    faces = _quads(cubes, corner_sdf >= 0, first, groups, gamma, resolution)
    return vertices, faces, values


def _mix(
    sdf: Tensor,
    carried: Tensor,
    own: Tensor,
    corner: Tensor,
    groups: Tensor,
    vertex_cube: Tensor,
    vertex_group: Tensor,
) -> tuple[Tensor, Tensor]:
    """Where each dual vertex lies in its cube (V,3), in units of cubes, and what it carries (V,A).

    sdf (C,), carried (C,A): at corners. own (S,21): raw beta, alpha, gamma of cubes. corner (S,8): rows of a cube's
    corners. groups (S,12): the dual vertex of each edge. vertex_cube, vertex_group (V,): whose vertex it is.
    """
    corner_sdf = sdf.index_select(0, corner.flatten()).reshape(-1, 8)  # (S,8)
    beta, alpha = 1 + 0.99 * own[:, :12].tanh(), 1 + 0.99 * own[:, 12:20].tanh()
    mine = groups[vertex_cube] == vertex_group[:, None]
    scaled, beta = ((x.index_select(0, vertex_cube)) for x in (alpha * corner_sdf, beta))
    share = _corner_shares(scaled, beta, mine)
    corners = CORNERS.to(share)
    place = torch.zeros_like(share[:, :3])
    for c in range(1, 8):
        place = place + share[:, c, None] * corners[c]
    at_corners = carried.index_select(0, corner[vertex_cube].flatten()).reshape(len(share), 8, -1)
    return place, (share[:, :, None] * at_corners).sum(1)


@cache
def _edges_on(device: torch.device) -> Tensor:
    """`EDGES` as (16,2) int32, filled up with -1."""
    return torch.cat([EDGES, EDGES.new_full((4, 2), -1)]).int().to(device)


def _corner_shares(scaled: Tensor, beta: Tensor, mine: Tensor) -> Tensor:
    """(V,8) weights of the corners of a vertex's cube; each row sums to one.

    ``scaled``: (V,8) alpha times distance. ``beta``, ``mine``: (V,12) weight of each edge, and whether it counts.
    A crossing is (p_a s_b - p_b s_a)/(s_b - s_a), a dual vertex the beta-weighted mean of its crossings.
    """
    edges = EDGES.to(scaled.device)
    a, b = scaled.index_select(1, edges[:, 0]), scaled.index_select(1, edges[:, 1])
    weight = torch.where(mine, beta, 0)
    weight = weight / weight.sum(1, keepdim=True)
    towards_a = weight * b / torch.where(mine, b - a, 1)
    share = torch.zeros_like(scaled)
    share = share.index_add(1, edges[:, 0], towards_a)
    return share.index_add(1, edges[:, 1], weight - towards_a)


def _number_vertices(count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First vertex of each cube (S,), and cube and group of each vertex (V,): cubes with few vertices come first."""
    first = torch.zeros_like(count)
    cubes, groups, start = [], [], 0
    for n in range(1, 5):
        own = (count == n).nonzero()[:, 0]
        first[own] = start + n * torch.arange(len(own), device=count.device)
        cubes.append(own.repeat_interleave(n))
        groups.append(torch.arange(n, device=count.device).repeat(len(own)))
        start += n * len(own)
    return first, torch.cat(cubes), torch.cat(groups)


def _agree_on_ambiguous_faces(cubes: _Cubes, case: Tensor, partner: Tensor, resolution: int) -> Tensor:
    """The cases (S,) to group edges by: complemented where two flagged cubes share their ambiguous face."""
    step = partner[case]
    flagged = step.any(1).nonzero()[:, 0]
    beside = cubes.xyz[flagged] + step[flagged]
    row, found = _find(cubes.key, _cube_keys(beside, resolution))
    both = found & ((beside >= 0) & (beside < resolution)).all(1) & step[row].any(1)
    flip = flagged[both]
    return case.index_put((flip,), 255 - case[flip])


def _quads(cubes: _Cubes, outside: Tensor, first: Tensor, groups: Tensor, gamma: Tensor, resolution: int) -> Tensor:
    """(F,3) two triangles around every crossed grid edge that has four cubes.

    ``outside``: (S,8) corner signs. The edge belongs to the last of its four cubes, whose corner 0 it touches.
    """
    # 1. Crossed edges, axis by axis: the four cubes around each, (E,4), and the edge's number in each of them.
    steps, side = (1, resolution, resolution * resolution), resolution + 1
    rows, edges, keys, flips = [], [], [], []
    # Edge of the last cube, its axis, and the same grid edge as numbered by the other three, by falling distance.
    # With first ends equal, edges come in the order y (towards smaller y), z, x.
    for own, axis, rank, others in ((0, 0, 2, (6, 4, 2)), (8, 1, 0, (10, 9, 11)), (3, 2, 1, (5, 1, 7))):
        a, b = EDGES[own].tolist()
        u, v = (k for k in range(3) if k != axis)
        last = (outside[:, a] != outside[:, b]) & (cubes.xyz[:, u] > 0) & (cubes.xyz[:, v] > 0)
        last = last.nonzero()[:, 0]
        du, dv = steps[2 - u], steps[2 - v]
        back = [du + dv, du, dv]
        near = [_find(cubes.key, cubes.key[last] - d)[0] for d in back]
        rows.append(torch.stack([*near, last], dim=1))
        edges.append(torch.tensor([*others, own], device=last.device).expand(len(last), 4))
        x, y, z = (cubes.xyz[last] + CORNERS[a].to(last.device)).unbind(1)
        keys.append(((x * side + y) * side + z) * 3 + rank)
        flips.append(~outside[last, a])
    # 2. In one order for all axes, those that face the other way at the end.
    row, edge, key, flip = (torch.cat(part) for part in (rows, edges, keys, flips))
    order = torch.argsort(key + flip * (3 * side**3))
    row, edge, flip = row[order], edge[order], flip[order]
    # 3. The ring of dual vertices, (E,4), so turned that faces look outwards, and its cut into two triangles.
    forward, backward = (torch.tensor(ring, device=row.device) for ring in ((0, 1, 3, 2), (2, 3, 1, 0)))
    ring = torch.where(flip[:, None], backward, forward)
    corner = (first[row] + groups[row, edge]).gather(1, ring)
    g = gamma[row].gather(1, ring)
    even = g[:, 0] * g[:, 2] > g[:, 1] * g[:, 3]
    splits = torch.tensor([[0, 1, 3, 3, 1, 2], [0, 1, 2, 0, 2, 3]], device=row.device)
    return corner.gather(1, splits[even.long()]).reshape(-1, 3)


def _surface_cubes(
    coords: Tensor, sdf: Tensor, corner_keys: Tensor, inverse: Tensor, touching: Tensor, resolution: int
) -> _Cubes:
    """Every cube of the grid with corners on both sides; ``corner`` of one no voxel touches points past ``sdf``."""
    negative = sdf < 0
    inside = negative[inverse].sum(1)
    active = ((inside > 0) & (inside < 8)).nonzero()[:, 0]
    # Empty cubes can hold surface only where an inside corner of a neighbouring voxel is theirs.
    at, slot = (negative[:, None] & (touching < 0)).nonzero(as_tuple=True)
    empty = _unravel(corner_keys[at], resolution + 1) - CORNERS.to(coords.device)[slot]
    empty = empty[((empty >= 0) & (empty < resolution)).all(1)]
    empty = _unravel(torch.unique(_cube_keys(empty, resolution)), resolution)
    row, found = _find(corner_keys, _corner_keys(empty, resolution))
    kept = ~(found & negative[row]).all(1)
    empty, row, found = empty[kept], row[kept], found[kept]
    row = torch.where(found, row, len(sdf) + torch.arange(row.numel(), device=row.device).view_as(row) % _SPARE_ROWS)

    xyz = torch.cat([coords[active].long(), empty])
    key, order = _cube_keys(xyz, resolution).sort()
    corner = torch.cat([inverse[active], row])[order]
    source = torch.cat([active, active.new_full((len(empty),), -1)])[order]
    return _Cubes(xyz[order], key, corner, source)


def touched_corners(coords: Tensor, resolution: int) -> TouchedCorners:
    """The corners of voxels (N,3) of a ``resolution``^3 grid."""
    keys, inverse = torch.unique(_corner_keys(coords.long(), resolution), return_inverse=True)
    touching = inverse.new_full((len(keys), 8), -1)
    slots = torch.arange(8, device=coords.device).expand_as(inverse)
    rows = torch.arange(len(coords), device=coords.device)[:, None].expand_as(inverse)
    touching[inverse, slots] = rows
    return TouchedCorners(keys, inverse, touching)


class _CornerMean(torch.autograd.Function):
    """Mean over the voxels that share a corner: (N,8,K), (C,8), (N,8) -> (C,K).

    Written as gathers in both directions: sums have a fixed order, and nothing is scattered.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, touching: Tensor, inverse: Tensor) -> Tensor:
        total = values.new_zeros(len(touching), values.shape[2])
        for slot in range(8):
            row = touching[:, slot]
            total += torch.where(row[:, None] >= 0, values[row.clamp_min(0), slot], 0)
        count = (touching >= 0).sum(1, keepdim=True).to(values.dtype)
        ctx.save_for_backward(inverse, count)
        return total / count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        inverse, count = ctx.saved_tensors
        return (grads[0] / count)[inverse], None, None


def _cube_keys(xyz: Tensor, resolution: int) -> Tensor:
    """Row-major index of (…,3) integer points in a grid of ``resolution`` points per side."""
    return (xyz[..., 0] * resolution + xyz[..., 1]) * resolution + xyz[..., 2]


def _corner_keys(xyz: Tensor, resolution: int) -> Tensor:
    """(N,8) keys of the corners of (N,3) cubes."""
    return _cube_keys(xyz[:, None] + CORNERS.to(xyz.device), resolution + 1)


def _unravel(keys: Tensor, side: int) -> Tensor:
    return torch.stack([keys // (side * side), keys // side % side, keys % side], dim=-1)


def _find(keys: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Row of each of ``wanted`` in the sorted ``keys``, and whether it is there at all (else the row is arbitrary)."""
    row = torch.searchsorted(keys, wanted).clamp_max(max(len(keys) - 1, 0))
    if len(keys) == 0:
        return row, torch.zeros_like(row, dtype=torch.bool)
    return row, keys[row] == wanted


@cache
def case_rules() -> CaseRules:
    """The topology of all 256 sign patterns, from rules.

    Crossed edges are linked face by face: a face with two crossings links them; on an ambiguous face (four crossings)
    each inside corner is cut off. Linked edges share a dual vertex. Dual vertices are numbered by the connected sets
    of inside, then of outside corners that they separate. A case with exactly one ambiguous face and more than four
    inside corners needs the agreement of the cube across that face, or the surface would cross itself there.
    """
    group = torch.full((256, 12), -1)
    count = torch.zeros(256, dtype=torch.long)
    partner = torch.zeros(256, 3, dtype=torch.long)
    for case in range(256):
        sets, ambiguous = _linked_edges(case)
        for i, edges in enumerate(sets):
            group[case, edges] = i
        count[case] = len(sets)
        if len(ambiguous) == 1 and case.bit_count() > 4:
            axis, side = ambiguous[0]
            partner[case, axis] = 2 * side - 1
    return CaseRules(group, count, partner)


@cache
def _rules_on(device: torch.device) -> CaseRules:
    return CaseRules(*(table.to(device) for table in case_rules()))


def _linked_edges(case: int) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Sets of linked edges of a sign pattern in the order of their vertices, and its ambiguous faces (axis, side)."""
    pairs: list[tuple[int, int]] = [(int(a), int(b)) for a, b in EDGES.tolist()]
    inside = [bool(case >> c & 1) for c in range(8)]
    crossed = [e for e, (a, b) in enumerate(pairs) if inside[a] != inside[b]]
    links: list[tuple[int, int]] = []
    ambiguous = []
    for axis in range(3):
        for side in range(2):
            face = [c for c in range(8) if (c >> axis & 1) == side]
            on_face = [e for e in crossed if pairs[e][0] in face and pairs[e][1] in face]
            if len(on_face) == 2:
                links.append((on_face[0], on_face[1]))
            elif len(on_face) == 4:
                ambiguous.append((axis, side))
                for c in face:
                    if inside[c]:
                        cut = [e for e in on_face if c in pairs[e]]
                        links.append((cut[0], cut[1]))
    label = _components(12, links)
    region = _components(8, [(a, b) for a, b in pairs if inside[a] == inside[b]])
    sets = [[e for e in crossed if label[e] == first] for first in sorted({label[e] for e in crossed})]

    def separated(edges: list[int]) -> tuple[int, int]:
        ends = [c for e in edges for c in pairs[e]]
        return min(region[c] for c in ends if inside[c]), min(region[c] for c in ends if not inside[c])

    return sorted(sets, key=separated), ambiguous


def _components(n: int, links: list[tuple[int, int]]) -> list[int]:
    """Smallest member of the connected set that each of n items belongs to."""
    label = list(range(n))
    for _ in range(n):
        for a, b in links:
            label[a] = label[b] = min(label[a], label[b])
    return label
