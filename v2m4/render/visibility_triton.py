"""The GPU kernel of visibility: which triangle owns a pixel, by two rounds of atomic minima over a depth buffer."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from v2m4.render.visibility import edge_functions

_SIDE = 4  # pixels per side of the blocks into which a face's box is cut
_LANES = tl.constexpr(_SIDE)
_GROUP = 64  # blocks per program
_NOTHING = 0x7FFFFFFFFFFFFFFF


@torch.no_grad()
def visible_triangles_triton(clip: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """(B,H,W) int32 index of the nearest face at each pixel centre, -1 where there is none; as
    `visibility.visible_triangles_torch`, which is its oracle.

    Depths are compared as float64; where two faces are equally deep the lower index wins.
    """
    owner = torch.empty(len(clip), height * width, dtype=torch.int32, device=clip.device)
    for view, row in zip(clip.double(), owner, strict=True):
        _own_view(view, faces, height, width, row)
    return owner.view(len(clip), height, width)


def _own_view(clip: Tensor, faces: Tensor, height: int, width: int, owner: Tensor) -> None:
    setup = edge_functions(clip, faces, height, width)
    nothing = len(faces)
    owner.fill_(nothing)
    extent = -(-setup.extent // _SIDE)
    number = extent.prod(1)
    face = torch.repeat_interleave(torch.arange(len(number), device=clip.device), number)
    blocks = len(face)
    if blocks:
        within = torch.arange(blocks, device=clip.device) - (number.cumsum(0) - number)[face]
        across = extent[face, 0]
        x = setup.first[face, 0] + within % across * _SIDE
        y = setup.first[face, 1] + within // across * _SIDE
        corner = torch.stack([x, y], dim=1).int()
        kept = setup.kept[face].int()
        depth = torch.full((height * width,), _NOTHING, dtype=torch.int64, device=clip.device)
        functions = torch.cat([setup.edges.flatten(1), setup.plane], dim=1).contiguous()
        grid = (triton.cdiv(blocks, _GROUP),)
        for closing in (False, True):
            _draw[grid](functions, kept, corner, depth, owner, blocks, width, height, closing, _GROUP)
    owner[owner == nothing] = -1


@triton.jit
def _draw(  # type: ignore[no-untyped-def]
    functions, kept, corner, depth, owner, blocks, width, height, closing: tl.constexpr, group: tl.constexpr
):
    """Lower the depth buffer to every face's depth; or, ``closing``, enter the faces that ended up nearest.

    functions: (F,12) float64, three edge functions and the depth plane as (x, y, 1) coefficients. kept, corner:
    (N,) face and (N,2) first pixel of each block. depth: (H*W,) float64 mapped to integers of the same order.
    """
    block = tl.program_id(0) * group + tl.arange(0, group)
    valid = block < blocks
    face = tl.load(kept + block, mask=valid, other=0)
    lane = tl.arange(0, _LANES * _LANES)
    x = tl.load(corner + 2 * block, mask=valid, other=0)[:, None] + (lane % _LANES)[None, :]
    y = tl.load(corner + 2 * block + 1, mask=valid, other=0)[:, None] + (lane // _LANES)[None, :]
    fx = (x.to(tl.float64) + 0.5) * (2.0 / width.to(tl.float64)) - 1.0
    fy = (y.to(tl.float64) + 0.5) * (2.0 / height.to(tl.float64)) - 1.0
    inside = valid[:, None] & (x < width) & (y < height)
    base = functions + face.to(tl.int64) * 12
    for edge in tl.static_range(3):
        a = tl.load(base + 3 * edge, mask=valid, other=0.0)[:, None]
        b = tl.load(base + 3 * edge + 1, mask=valid, other=0.0)[:, None]
        c = tl.load(base + 3 * edge + 2, mask=valid, other=0.0)[:, None]
        inside = inside & ((c + b * fy) + a * fx >= 0)
    a = tl.load(base + 9, mask=valid, other=0.0)[:, None]
    b = tl.load(base + 10, mask=valid, other=0.0)[:, None]
    c = tl.load(base + 11, mask=valid, other=0.0)[:, None]
    z = (c + b * fy) + a * fx
    inside = inside & (z >= -1) & (z <= 1)
    bits = (z + 0.0).to(tl.int64, bitcast=True)
    bits = tl.where(bits < 0, bits ^ 0x7FFFFFFFFFFFFFFF, bits)
    pixel = y * width + x
    nearest = tl.load(depth + pixel, mask=inside, other=0)
    if closing:
        index = tl.broadcast_to(face[:, None], pixel.shape)
        tl.atomic_min(owner + pixel, index, mask=inside & (bits == nearest))
    else:
        tl.atomic_min(depth + pixel, bits, mask=inside & (bits < nearest))
