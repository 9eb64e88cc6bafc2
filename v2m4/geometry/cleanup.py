"""From what an isosurface extraction leaves to a mesh that the other stages can use: fewer faces, no debris."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from v2m4.arrays import Float64, Int64, Mask, Real
from v2m4.errors import NoSurfaceError, V2M4Error
from v2m4.geometry import cleanup_torch
from v2m4.geometry.collapse_torch import collapse_torch
from v2m4.geometry.mesh import Mesh
from v2m4.settings import CleanupSettings


def clean(mesh: Mesh, max_faces: int, settings: CleanupSettings) -> Mesh:
    """The same object with at most ``max_faces`` faces: welded, without floaters, cavities and small holes, simplified.

    Vertex colours are carried over; a texture is not: see `v2m4.render.vertex_colors`. Raises V2M4Error if nothing is
    left.
    """
    if max_faces < 4:
        raise V2M4Error(f"A mesh cannot have only {max_faces} faces; allow at least 4.")
    if not bool(mesh.vertices.isfinite().all()):
        raise NoSurfaceError("The mesh has vertices that are not finite numbers. Generate it again with another seed.")
    vertices, faces, kept, has_holes = (_surface_on_gpu if mesh.vertices.is_cuda else _surface)(mesh, settings)
    colors = None if mesh.colors is None else mesh.colors.detach().cpu().double().numpy()[kept]
    if len(faces) == 0:
        raise NoSurfaceError("The mesh has no surface left after clean-up. Generate it again with another seed.")
    device = mesh.vertices.device
    with ThreadPoolExecutor(1) as beside:
        tree = None if colors is None else beside.submit(search_tree, vertices)
        if has_holes:
            vertices, faces, _ = fill_holes(vertices, faces, settings.hole_edges, settings.hole_size)
        many = round(settings.many.end * max_faces)
        if device.type == "cuda" and len(faces) > many:
            where = (torch.from_numpy(vertices).to(device), torch.from_numpy(faces).to(device))
            vertices, faces = (t.cpu().numpy() for t in collapse_torch(*where, many, settings.many))
        vertices, faces = simplify(vertices, faces, max_faces, settings.aggressiveness)
        used, faces = compact(faces)
        vertices = vertices[used]
        if colors is not None and tree is not None:
            colors = transfer(tree.result(), colors, vertices)
    return Mesh(
        torch.from_numpy(vertices).to(device, mesh.vertices.dtype),
        torch.from_numpy(faces).to(device),
        colors=None if colors is None else torch.from_numpy(colors).to(device, torch.float32),
    )


def _surface(mesh: Mesh, settings: CleanupSettings) -> tuple[Float64, Int64, Int64, bool]:
    """The mesh welded and without debris; which of its vertices those are; and whether there may be holes."""
    vertices = mesh.vertices.detach().cpu().double().numpy()
    vertices, faces, kept = weld(vertices, mesh.faces.detach().cpu().long().numpy())
    faces = remove_small_pieces(remove_bad_faces(faces), settings.floater_faces)
    return vertices, remove_cavities(vertices, remove_floaters(vertices, faces, settings.floater_area)), kept, True


def _surface_on_gpu(mesh: Mesh, settings: CleanupSettings) -> tuple[Float64, Int64, Int64, bool]:
    """The same where the mesh is: half a million faces take NumPy a second."""
    vertices, faces, kept = cleanup_torch.weld_torch(mesh.vertices.detach().double(), mesh.faces.detach().long())
    faces = cleanup_torch.remove_bad_faces_torch(faces)
    if len(faces):
        piece = cleanup_torch.pieces_torch(len(vertices), faces)
        count = torch.bincount(piece)
        least = settings.floater_faces
        stays = (count >= least * count.max())[piece] if least > 0 else torch.ones_like(piece, dtype=torch.bool)
        area, volume = cleanup_torch.areas_and_volumes(vertices, faces, piece)
        area = torch.zeros_like(area).index_copy_(0, piece[stays], area[piece[stays]])  # of pieces that stay
        stays &= (area >= settings.floater_area * area.max())[piece]
        faces, piece = faces[stays], piece[stays]
        volume = torch.zeros_like(volume).index_copy_(0, piece, volume[piece])
        if bool((volume < 0).any()):
            is_open, low, high = cleanup_torch.borders_and_boxes(vertices, faces, piece, volume < 0)
            inner = inner_walls(*(t.cpu().numpy() for t in (volume, is_open, low, high)))
            faces = faces[~torch.from_numpy(inner).to(piece.device)[piece]]
    holes = bool(len(faces)) and cleanup_torch.has_border(faces)
    return vertices.cpu().numpy(), faces.cpu().numpy(), kept.cpu().numpy(), holes


def same_place(points: Real) -> tuple[Int64, Int64]:
    """Which of (N,D) points is the first at each place, (M,), and the number of the place where each is, (N,).

    Places are in lexicographic order. Float64 that should count as equal are rounded before.
    """
    order = np.lexsort(points.T[::-1])
    ordered = points[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(1)
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(is_new) - 1
    return order[is_new], place


def weld(vertices: Float64, faces: Int64) -> tuple[Float64, Int64, Int64]:
    """Unite vertices at exactly the same place; also which of the old vertices the new ones are."""
    kept, place = same_place(vertices)
    return vertices[kept], place[faces], kept


def remove_bad_faces(faces: Int64) -> Int64:
    """Without faces that use a vertex twice, without repetitions, and without pairs of opposite faces."""
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    if len(faces) == 0:
        return faces
    # 1. Each face from its lowest vertex on: it then turns one way or the other.
    first = faces.argmin(1)
    rolled = faces[np.arange(len(faces))[:, None], (first[:, None] + np.arange(3)) % 3]  # (F,3)
    sign = np.where(rolled[:, 1] < rolled[:, 2], 1, -1)  # (F,)
    # 2. Of the faces on the same three vertices one stays, if more of them turn its way than the other.
    same = _numbered(np.sort(faces, axis=1))  # (F,) one of G groups
    net = np.sign(np.bincount(same, weights=sign))  # (G,)
    wanted = np.flatnonzero(net[same] == sign)
    return faces[wanted[np.sort(np.unique(same[wanted], return_index=True)[1])]]


def remove_small_pieces(faces: Int64, least: float) -> Int64:
    """Without connected pieces that have fewer faces than ``least`` times those of the piece that has most."""
    if least <= 0 or len(faces) == 0:
        return faces
    piece = _pieces(int(faces.max()) + 1, faces)  # (F,) one of P pieces
    count = np.bincount(piece)  # (P,)
    return faces[(count >= least * count.max())[piece]]


def remove_floaters(vertices: Float64, faces: Int64, least: float) -> Int64:
    """Without connected pieces whose area is below ``least`` times the largest piece's."""
    if len(faces) == 0:
        return faces
    piece = _pieces(len(vertices), faces)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = np.bincount(piece, weights=np.linalg.norm(np.cross(b - a, c - a), axis=1))  # (P,), doubled
    return faces[(area >= least * area.max())[piece]]


def remove_cavities(vertices: Float64, faces: Int64) -> Int64:
    """Without closed inner walls: pieces that face inwards and lie within the box of a piece that faces outwards."""
    if len(faces) == 0:
        return faces
    # 1. The pieces' volumes, below zero where a piece faces inwards.
    piece = _pieces(len(vertices), faces)  # (F,) one of P pieces
    volume = _volumes(vertices, faces, piece)
    if not (volume < 0).any():
        return faces
    # 2. Whether a wall has a boundary, (P,): edges join faces of one piece only. The pieces' boxes, (P,3) each.
    wall_faces = (volume < 0)[piece]
    is_open = np.bincount(np.tile(piece[wall_faces], 3), _directed_edges(faces[wall_faces])[1], len(volume)) > 0
    of_vertex = np.full(len(vertices), len(volume))
    of_vertex[faces] = piece[:, None]
    order = np.argsort(of_vertex, kind="stable")
    begins = np.searchsorted(of_vertex[order], np.arange(len(volume)))
    order = order[: np.count_nonzero(of_vertex < len(volume))]
    low, high = (extreme.reduceat(vertices[order], begins) for extreme in (np.minimum, np.maximum))
    return faces[~inner_walls(volume, is_open, low, high)[piece]]


def inner_walls(volume: Float64, is_open: Mask, low: Float64, high: Float64) -> Mask:
    """(P,) which pieces are closed, face inwards, and lie within the box of a larger one that faces outwards; of pieces
    with volumes (P,) and boxes from ``low`` to ``high``, both (P,3)."""
    inner = np.zeros(len(volume), dtype=bool)
    for wall in np.flatnonzero((volume < 0) & ~is_open):
        around = (volume > -volume[wall]) & (low <= low[wall]).all(1) & (high >= high[wall]).all(1)
        inner[wall] = around.any()
    return inner


def encloses(vertices: Float64, faces: Int64, amiss: float = 0.0) -> bool:
    """Whether faces (F,3) show only their fronts outside: no border, neighbours wound alike, each piece outwards.

    amiss: length of the edges that may be otherwise, all together, in longest sides of the mesh's box, and share of the
    pieces' volumes; third faces at an edge are let pass then.
    """
    if len(faces) == 0:
        return False
    edges = _directed_edges(faces)[0]
    number = _numbered(np.concatenate([edges, edges[:, ::-1]]))
    there, both = np.bincount(number[: len(edges)], minlength=int(number.max()) + 1), np.bincount(number)
    odd = 2 * there != both
    if amiss:  # a fin inside, a third face at an edge, is no hole
        odd &= both < 3
    ends = vertices[edges[odd[number[: len(edges)]]]]  # (E,2,3)
    if np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum() > amiss * np.ptp(vertices, axis=0).max():
        return False
    volumes = _volumes(vertices, faces, _pieces(len(vertices), faces))
    return bool(np.abs(volumes[volumes <= 0]).sum() <= amiss * np.abs(volumes).sum() and (amiss or (volumes > 0).all()))


def fill_holes(vertices: Float64, faces: Int64, max_edges: int, max_size: float) -> tuple[Float64, Int64, int]:
    """Close boundary loops of at most ``max_edges`` edges and ``max_size`` of the diagonal; also how many were closed.

    A triangle is closed by a face, a longer loop by a fan about its centre.
    """
    diagonal = float(np.linalg.norm(np.ptp(vertices[np.unique(faces)], axis=0)))
    centres: list[Float64] = []
    patches: list[Int64] = []
    filled = 0
    for loop in boundary_loops(faces):
        corners = vertices[loop]  # (L,3)
        width = float(np.linalg.norm(np.ptp(corners, axis=0)))
        if len(loop) > max_edges or width > max_size * diagonal:
            continue
        filled += 1
        # The loop runs along the faces beside it, so the patch runs against it.
        if len(loop) == 3:
            patches.append(np.array([loop[::-1]]))
            continue
        centre = len(vertices) + len(centres)
        centres.append(corners.mean(0))
        following = np.roll(loop, -1)
        patches.append(np.stack([following, loop, np.full(len(loop), centre)], axis=1))  # (L,3)
    if not filled:
        return vertices, faces, 0
    return np.concatenate([vertices, *(c[None] for c in centres)]), np.concatenate([faces, *patches]), filled


def boundary_loops(faces: Int64) -> list[Int64]:
    """Closed chains of edges that only one face has, in that face's direction; where chains touch, none is returned."""
    # 1. Open edges (E,2), by the vertex they start at, where only one does.
    edges, is_open = _directed_edges(faces)
    open_edges = edges[is_open]
    starts, number = np.unique(open_edges[:, 0], return_counts=True)
    clear = set(starts[number == 1].tolist())
    following = {a: b for a, b in open_edges.tolist() if a in clear}
    # 2. Chains of them; those that come back to their start are loops.
    loops = []
    while following:
        start, at = following.popitem()
        chain = [start]
        while at in following:
            chain.append(at)
            at = following.pop(at)
        if at == start and len(chain) >= 3:
            loops.append(np.array(chain))
    return loops


_MOST_AGGRESSIVE = 10.0  # of fast_simplification


def simplify(vertices: Real, faces: Int64, max_faces: int, aggressiveness: float) -> tuple[Float64, Int64]:
    """At most ``max_faces`` faces by quadric edge collapses (Garland and Heckbert 1997).

    aggressiveness: how soon costly collapses are tried, 1 to 10; lower is slower and better.
    """
    import fast_simplification

    while len(faces) > max_faces:
        before = len(faces)
        points, triangles = fast_simplification.simplify(
            vertices, faces.astype(np.int32), target_count=max_faces, agg=aggressiveness
        )[:2]
        vertices, faces = np.asarray(points, np.float64), remove_bad_faces(np.asarray(triangles, np.int64))
        if len(faces) == before:
            if aggressiveness >= _MOST_AGGRESSIVE:
                break
            aggressiveness = _MOST_AGGRESSIVE
    return np.asarray(vertices, np.float64), faces


_PARTED = 0.05  # of the way from a pinched edge to its faces' corners: any small number keeps the walls apart


def part_pinched_edges(vertices: Float64, faces: Int64) -> tuple[Float64, Int64]:
    """The same surface without edges of four faces, which an edge collapse leaves where two walls meet.

    Each such edge becomes two, with middles of their own a little apart, so that either wall of the solid closes by
    itself: around the edge, a face and the next one on the side of the solid belong together.
    """
    for _ in range(len(faces)):
        # 1. The first edge (a, b) that four faces have; those faces (4,), and their third corners (4,).
        edges, count = np.unique(np.sort(_directed_edges(faces)[0], axis=1), axis=0, return_counts=True)
        pinched = edges[count == 4]
        if len(pinched) == 0:
            break
        a, b = pinched[0]
        around = np.flatnonzero((faces == a).any(1) & (faces == b).any(1))
        apex = faces[around].sum(1) - a - b
        # 2. Two of a solid's faces run along the edge, two against it.
        follows = (faces[around] == a).argmax(1) + 1  # where b stands if the face runs from a to b
        runs = faces[around, follows % 3] == b
        if runs.sum() != 2:  # not a solid's walls
            break
        # 3. Each that runs along it belongs with the next one that runs against it, as the angles go.
        axis = vertices[b] - vertices[a]
        angle = _angles(vertices[apex] - vertices[a], axis)
        ahead, against = np.flatnonzero(runs), np.flatnonzero(~runs)
        gap = (angle[ahead][:, None] - angle[against]) % (2 * np.pi)  # (2,2)
        partner = against if gap[0, 0] + gap[1, 1] < gap[0, 1] + gap[1, 0] else against[::-1]
        # 4. Each pair gets a middle of its own, drawn a little into its wall, and its faces are cut in two there.
        new = []
        for pair in zip(ahead, partner, strict=True):
            middle = (vertices[a] + vertices[b]) / 2
            inner = vertices[apex[list(pair)]].mean(0)
            vertices = np.concatenate([vertices, (middle + _PARTED * (inner - middle))[None]])
            for corner in pair:
                face = faces[around[corner]]
                new += [np.where(face == end, len(vertices) - 1, face) for end in (a, b)]
        faces = np.concatenate([np.delete(faces, around, axis=0), np.stack(new)])
    return vertices, faces


def _angles(arms: Float64, axis: Float64) -> Float64:
    """(N,) angles of arms (N,3) about an axis (3,), counter-clockwise against its direction, from the first."""
    axis = axis / np.linalg.norm(axis)
    flat = arms - (arms @ axis)[:, None] * axis
    side = np.cross(axis, flat[0])
    y = flat @ side / np.maximum(np.linalg.norm(side), 1e-30)
    x = flat @ flat[0] / np.maximum(np.linalg.norm(flat[0]), 1e-30)
    turn: Float64 = np.arctan2(y, x)
    return turn


def search_tree(points: Float64) -> cKDTree:
    """Tree of points (N,3) that is built in half the time, and asked seldom."""
    return cKDTree(points, balanced_tree=False)


def transfer(source: cKDTree, values: Float64, target: Float64, neighbours: int = 4) -> Float64:
    """``values`` (N,C) at the N points of ``source``, at ``target`` (M,3): mean of the nearest by inverse squared
    distance."""
    distance, index = source.query(target, k=min(neighbours, len(values)))
    distance, index = distance.reshape(len(target), -1), index.reshape(len(target), -1)
    weight = 1 / np.maximum(distance, 1e-12) ** 2
    weight /= weight.sum(1, keepdims=True)
    mean: Float64 = (weight[..., None] * values[index]).sum(1)
    return mean


def _volumes(vertices: Float64, faces: Int64, piece: Int64) -> Float64:
    """(P,) six times the volumes of pieces, given as each face's (F,)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    weights: Float64 = (a * np.cross(b, c)).sum(1)
    return np.bincount(piece, weights=weights).astype(np.float64)


def _directed_edges(faces: Int64) -> tuple[Int64, Mask]:
    """(3F,2) first, second and third edges of all faces, and whether no other face has the edge."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    same = _numbered(np.sort(edges, axis=1))
    return edges, np.bincount(same)[same] == 1


def _numbered(rows: Int64) -> Int64:
    """(N,) a number for each of (N,K) rows of vertices, the same for equal rows."""
    count = int(rows.max()) + 1 if rows.size else 1
    if count ** rows.shape[1] < 2**63:  # one sort of integers instead of one of rows
        keys = rows[:, 0]
        for column in rows.T[1:]:
            keys = keys * count + column
        return np.unique(keys, return_inverse=True)[1].reshape(-1)
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def _pieces(vertices: int, faces: Int64) -> Int64:
    """(F,) connected piece of each face; faces that share a vertex are connected."""
    a = np.concatenate([faces[:, 0], faces[:, 1]])
    b = np.concatenate([faces[:, 1], faces[:, 2]])
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(vertices, vertices))  # two edges join three corners
    label = connected_components(graph, directed=False)[1]
    label = label[faces[:, 0]].astype(np.int64)
    used = np.bincount(label) > 0  # vertices without faces have labels too
    return (np.cumsum(used) - 1)[label]


def compact(faces: Int64) -> tuple[Int64, Int64]:
    """The vertices that ``faces`` (F,3) use, ascending, and the faces renumbered to those."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return used, renumbered.reshape(faces.shape).astype(np.int64)
