"""The searches of `cleanup` for meshes of many faces on a GPU; their oracle is the NumPy of that file.

What they return is the same, down to the order of vertices and faces.
"""

from __future__ import annotations

import torch
from torch import Tensor


def weld_torch(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unite vertices (V,3) at exactly the same place; also which of the old vertices the new ones are: see
    `cleanup.weld`."""
    order = torch.arange(len(vertices), device=vertices.device)
    for axis in (2, 1, 0):  # stable sorts, the first axis last
        order = order[vertices[order, axis].sort(stable=True).indices]
    ordered = vertices[order]
    is_new = torch.ones(len(order), dtype=torch.bool, device=vertices.device)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(1)
    place = torch.empty_like(order)
    place[order] = is_new.cumsum(0) - 1
    kept = order[is_new]
    return vertices[kept], place[faces], kept


def remove_bad_faces_torch(faces: Tensor) -> Tensor:
    """See `cleanup.remove_bad_faces`."""
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    if len(faces) == 0:
        return faces
    turn = (faces.argmin(1)[:, None] + torch.arange(3, device=faces.device)) % 3
    rolled = faces.gather(1, turn)
    sign = torch.where(rolled[:, 1] < rolled[:, 2], 1, -1)
    same = _numbered(faces.sort(1).values)
    net = torch.zeros(int(same.max()) + 1, dtype=torch.long, device=faces.device).index_add_(0, same, sign).sign()
    wanted = (net[same] == sign).nonzero()[:, 0]
    # Of each group the first face.
    first = torch.full_like(net, len(faces)).scatter_reduce_(0, same[wanted], wanted, "amin")
    return faces[first[first < len(faces)].sort().values]


def pieces_torch(vertices: int, faces: Tensor) -> Tensor:
    """(F,) connected piece of each face, pieces by their lowest vertex: see `cleanup._pieces`."""
    label = torch.arange(vertices, device=faces.device)
    while True:
        low = label[faces].amin(1)
        fresh = label.scatter_reduce(0, faces.flatten(), low.repeat_interleave(3), "amin")
        for _ in range(3):  # labels are vertices of the same piece, so their labels hold as well
            fresh = fresh[fresh]
        if torch.equal(fresh, label):
            break
        label = fresh
    return torch.unique(label[faces[:, 0]], return_inverse=True)[1]


def has_border(faces: Tensor) -> bool:
    """Whether some edge has one face only."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    return bool((torch.bincount(_numbered(edges)) == 1).any())


def areas_and_volumes(vertices: Tensor, faces: Tensor, piece: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) twice the areas and six times the volumes of pieces, given as each face's (F,)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = torch.linalg.cross(b - a, c - a).norm(dim=1)
    volume = (a * torch.linalg.cross(b, c)).sum(1)
    total = torch.zeros(2, int(piece.max()) + 1, dtype=vertices.dtype, device=vertices.device)
    total.index_add_(1, piece, torch.stack([area, volume]))
    return total[0], total[1]


def borders_and_boxes(vertices: Tensor, faces: Tensor, piece: Tensor, asked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of pieces, given as each face's (F,): (P,) whether those that are ``asked`` (P,) have an edge of one face only,
    and their lowest and highest corners, (P,3) each, from infinite to minus infinite where a piece has no face."""
    ours = asked[piece]
    edges = torch.cat([faces[ours][:, pair] for pair in ([0, 1], [1, 2], [2, 0])]).sort(1).values
    same = _numbered(edges)
    lonely = piece[ours].repeat(3)[(torch.bincount(same) == 1)[same]]
    is_open = torch.zeros_like(asked).index_fill_(0, lonely, True)
    places = vertices[faces].reshape(-1, 3)  # (3F,3)
    at = piece.repeat_interleave(3)[:, None].expand(-1, 3)
    limits = vertices.new_full((len(asked), 3), torch.inf)
    return is_open, limits.scatter_reduce(0, at, places, "amin"), (-limits).scatter_reduce(0, at, places, "amax")


def _numbered(rows: Tensor) -> Tensor:
    """(N,) a number for each of (N,K) rows of vertices, the same for equal rows."""
    count = int(rows.max()) + 1
    if count ** rows.shape[1] <= torch.iinfo(torch.int64).max:
        keys = rows[:, 0]
        for column in rows.unbind(1)[1:]:
            keys = keys * count + column
        return torch.unique(keys, return_inverse=True)[1]
    return torch.unique(rows, dim=0, return_inverse=True)[1]
