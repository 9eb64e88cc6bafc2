"""The GPU kernel of visibility: which triangle owns a pixel, by two rounds of atomic minima over a depth buffer.

Sizes are not specialised on, else a mesh whose size changes would have the kernels compiled anew now and then.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_SIDE = 4  # pixels per side of the blocks into which a face's box is cut
_LANES = tl.constexpr(_SIDE)
_GROUP = 64  # blocks per program
_FACES = 16  # faces per program where each draws its faces whole
_SET_UP_TOGETHER = 1 << 22  # faces, counted once per view: bounds the memory of their edge functions
_NOTHING = 0x7FFFFFFFFFFFFFFF  # further away than any depth, as ordered integers


@torch.no_grad()
def visible_triangles_triton(clip: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """(B,H,W) int32 index of the nearest face at each pixel centre, -1 where there is none; as
    `visibility.visible_triangles_torch`, which is its oracle.

    Depths are compared as float64; where two faces are equally deep the lower index wins.
    """
    return visible_triangles_with_depth(clip, faces, height, width)[0]


@torch.no_grad()
def visible_triangles_with_depth(
    clip: Tensor, faces: Tensor, height: int, width: int, recordable: bool = False
) -> tuple[Tensor, Tensor]:
    """The same, and (B,H,W) float32 z/w of the face at each pixel centre, zero where there is none.

    recordable: nothing waits for the device; slower where single faces fill the image.
    """
    faces, views = faces.contiguous(), max(1, _SET_UP_TOGETHER // max(1, len(faces)))
    parts = [_own_views(part, faces, height, width, recordable) for part in clip.float().contiguous().split(views)]
    if not parts:
        empty = torch.empty(0, height, width, device=clip.device)
        return empty.int(), empty
    owners, depths = zip(*parts, strict=True)
    return torch.cat(owners), torch.cat(depths)


def _own_views(clip: Tensor, faces: Tensor, height: int, width: int, recordable: bool) -> tuple[Tensor, Tensor]:
    views, vertices, _ = clip.shape
    count = nothing = len(faces)
    each = views * count
    owner = torch.full((views, height, width), nothing, dtype=torch.int32, device=clip.device)
    functions = torch.empty(each, 12, dtype=torch.float64, device=clip.device)
    box = torch.empty(each, 3, dtype=torch.int32, device=clip.device)
    number = torch.empty(each, dtype=torch.int64, device=clip.device)
    if each:
        grid = (triton.cdiv(each, 128),)
        _set_up[grid](clip, faces, functions, box, number, each, count, vertices, width, height, 128)
    depth = torch.full((views * height * width,), _NOTHING, dtype=torch.int64, device=clip.device)
    if recordable and each:
        # A face that has the image for itself would take long: the fewer faces, the more programs share each.
        blocks = views * height * width // _SIDE**2
        shares = min(1024, max(1, 4 * blocks // each))
        for closing in (False, True):
            _draw_whole[triton.cdiv(each, _FACES), shares](
                functions, box, number, depth, owner, each, count, width, height, closing, _FACES
            )
    elif each:
        ends = number.cumsum(0)
        drawn = torch.repeat_interleave(number)
        blocks = len(drawn)
        grid = (triton.cdiv(blocks, _GROUP),)
        for closing in (False, True) if blocks else ():
            _draw[grid](
                functions, box, number, ends, drawn, depth, owner, blocks, count, width, height, closing, _GROUP
            )
    absent = owner == nothing
    reached = torch.where(depth < 0, depth ^ _NOTHING, depth).view(torch.float64).float()
    return owner.masked_fill_(absent, -1), reached.view_as(owner).masked_fill_(absent, 0.0)


@triton.jit
def _corner(clip, vertex, valid):  # type: ignore[no-untyped-def]
    """x, y, z, w of vertices as float64."""
    at = clip + vertex * 4
    x = tl.load(at, mask=valid, other=0.0).to(tl.float64)
    y = tl.load(at + 1, mask=valid, other=0.0).to(tl.float64)
    z = tl.load(at + 2, mask=valid, other=0.0).to(tl.float64)
    w = tl.load(at + 3, mask=valid, other=0.0).to(tl.float64)
    return x, y, z, w


@triton.jit
def _span(low, high, side):  # type: ignore[no-untyped-def]
    """First and last pixel whose centre lies within normalised coordinates; a thousandth of a pixel of slack."""
    half = side.to(tl.float64) * 0.5
    first = tl.ceil(tl.maximum((low + 1.0) * half - 0.501, 0.0))
    last = tl.floor(tl.minimum((high + 1.0) * half - 0.499, side.to(tl.float64) - 1.0))
    return first, last


@triton.jit(do_not_specialize=["each", "count", "vertices", "width", "height"])
def _set_up(  # type: ignore[no-untyped-def]
    clip,
    faces,
    functions,
    box,
    number,
    each,
    count,
    vertices,
    width,
    height,
    group: tl.constexpr,
):
    """The edge functions and depth plane (B*F,12) of `visibility.edge_functions`, the first pixel of each face's box
    and how many blocks it is wide (B*F,3), and how many blocks it has (B*F,), 0 for a face that is not drawn."""
    # 1. The corners of a group of faces, (group,) each.
    face = tl.program_id(0) * group + tl.arange(0, group)
    valid = face < each
    corners = faces + 3 * (face % count)
    clip += (face // count).to(tl.int64) * vertices * 4
    x0, y0, z0, w0 = _corner(clip, tl.load(corners, mask=valid, other=0), valid)
    x1, y1, z1, w1 = _corner(clip, tl.load(corners + 1, mask=valid, other=0), valid)
    x2, y2, z2, w2 = _corner(clip, tl.load(corners + 2, mask=valid, other=0), valid)
    # 2. Edge functions, positive inside, and the plane of z / w.
    a0, b0, c0 = y1 * w2 - w1 * y2, w1 * x2 - x1 * w2, x1 * y2 - y1 * x2
    a1, b1, c1 = y2 * w0 - w2 * y0, w2 * x0 - x2 * w0, x2 * y0 - y2 * x0
    a2, b2, c2 = y0 * w1 - w0 * y1, w0 * x1 - x0 * w1, x0 * y1 - y0 * x1
    determinant = a0 * x0 + b0 * y0 + c0 * w0
    sound = (determinant != 0.0) & (determinant - determinant == 0.0)
    safe = tl.where(sound, determinant, 1.0)
    sign = tl.where(determinant < 0.0, -1.0, 1.0).to(tl.float64)
    to = functions + face * 12
    tl.store(to, sign * a0, mask=valid)
    tl.store(to + 1, sign * b0, mask=valid)
    tl.store(to + 2, sign * c0, mask=valid)
    tl.store(to + 3, sign * a1, mask=valid)
    tl.store(to + 4, sign * b1, mask=valid)
    tl.store(to + 5, sign * c1, mask=valid)
    tl.store(to + 6, sign * a2, mask=valid)
    tl.store(to + 7, sign * b2, mask=valid)
    tl.store(to + 8, sign * c2, mask=valid)
    tl.store(to + 9, (a0 * z0 + a1 * z1 + a2 * z2) / safe, mask=valid)
    tl.store(to + 10, (b0 * z0 + b1 * z1 + b2 * z2) / safe, mask=valid)
    tl.store(to + 11, (c0 * z0 + c1 * z1 + c2 * z2) / safe, mask=valid)

    nearest, farthest = tl.minimum(tl.minimum(w0, w1), w2), tl.maximum(tl.maximum(w0, w1), w2)
    in_front = nearest > 1e-9
    # A face that crosses the camera's plane may be anywhere in the picture.
    d0, d1, d2 = tl.where(in_front, w0, 1.0), tl.where(in_front, w1, 1.0), tl.where(in_front, w2, 1.0)
    u0, u1, u2 = x0 / d0, x1 / d1, x2 / d2
    v0, v1, v2 = y0 / d0, y1 / d1, y2 / d2
    left, right = _span(tl.minimum(tl.minimum(u0, u1), u2), tl.maximum(tl.maximum(u0, u1), u2), width)
    top, bottom = _span(tl.minimum(tl.minimum(v0, v1), v2), tl.maximum(tl.maximum(v0, v1), v2), height)
    left, top = tl.where(in_front, left, 0.0), tl.where(in_front, top, 0.0)
    right = tl.where(in_front, right, width.to(tl.float64) - 1.0)
    bottom = tl.where(in_front, bottom, height.to(tl.float64) - 1.0)
    drawn = valid & sound & (farthest > 1e-9) & (right >= left) & (bottom >= top)
    first_x, first_y = tl.where(drawn, left, 0.0).to(tl.int32), tl.where(drawn, top, 0.0).to(tl.int32)
    across = (tl.where(drawn, right, 0.0).to(tl.int32) - first_x + _LANES) // _LANES
    down = (tl.where(drawn, bottom, 0.0).to(tl.int32) - first_y + _LANES) // _LANES
    tl.store(box + 3 * face, first_x, mask=valid)
    tl.store(box + 3 * face + 1, first_y, mask=valid)
    tl.store(box + 3 * face + 2, across, mask=valid)
    tl.store(number + face, tl.where(drawn, across * down, 0).to(tl.int64), mask=valid)


@triton.jit
def _cover(  # type: ignore[no-untyped-def]
    functions, box, face, within, valid, depth, owner, count, width, height, closing: tl.constexpr
):
    """One block of each face, the ``within``-th of its box: lower the depth buffer to the face's depth; or,
    ``closing``, enter the faces that ended up nearest.

    functions, box: from `_set_up`. depth: (B*H*W,) float64 mapped to integers of the same order.
    """
    across = tl.load(box + 3 * face + 2, mask=valid, other=1)
    left = tl.load(box + 3 * face, mask=valid, other=0) + within % across * _LANES
    top = tl.load(box + 3 * face + 1, mask=valid, other=0) + within // across * _LANES
    lane = tl.arange(0, _LANES * _LANES)
    x = left[:, None] + (lane % _LANES)[None, :]
    y = top[:, None] + (lane // _LANES)[None, :]
    fx = (x.to(tl.float64) + 0.5) * (2.0 / width.to(tl.float64)) - 1.0
    fy = (y.to(tl.float64) + 0.5) * (2.0 / height.to(tl.float64)) - 1.0
    inside = valid[:, None] & (x < width) & (y < height)
    base = functions + face * 12
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
    pixel = (face // count * height)[:, None] * width + y * width + x
    nearest = tl.load(depth + pixel, mask=inside, other=0)
    if closing:
        index = tl.broadcast_to((face % count).to(tl.int32)[:, None], pixel.shape)
        tl.atomic_min(owner + pixel, index, mask=inside & (bits == nearest))
    else:
        tl.atomic_min(depth + pixel, bits, mask=inside & (bits < nearest))


@triton.jit(do_not_specialize=["blocks", "count", "width", "height"])
def _draw(  # type: ignore[no-untyped-def]
    functions,
    box,
    number,
    ends,
    owner_of_block,
    depth,
    owner,
    blocks,
    count,
    width,
    height,
    closing: tl.constexpr,
    group: tl.constexpr,
):
    """`_cover` for all blocks. number: from `_set_up`. ends: (B*F,) running sum of number. owner_of_block: (N,) each
    block's row in them."""
    block = tl.program_id(0) * group + tl.arange(0, group)
    valid = block < blocks
    face = tl.load(owner_of_block + block, mask=valid, other=0)
    begin = tl.load(ends + face, mask=valid, other=0) - tl.load(number + face, mask=valid, other=0)
    within = (block - begin).to(tl.int32)
    _cover(functions, box, face, within, valid, depth, owner, count, width, height, closing)


@triton.jit(do_not_specialize=["each", "count", "width", "height"])
def _draw_whole(  # type: ignore[no-untyped-def]
    functions,
    box,
    number,
    depth,
    owner,
    each,
    count,
    width,
    height,
    closing: tl.constexpr,
    group: tl.constexpr,
):
    """`_cover` for all blocks of so many faces, shared between the programs along the grid's second axis, each one's
    after the other: the host need not know how many there are."""
    face = (tl.program_id(0) * group + tl.arange(0, group)).to(tl.int64)
    blocks = tl.load(number + face, mask=face < each, other=0).to(tl.int32)
    most = tl.max(blocks)
    turn = tl.program_id(1)
    while turn < most:
        within = tl.zeros([group], tl.int32) + turn
        _cover(functions, box, face, within, within < blocks, depth, owner, count, width, height, closing)
        turn += tl.num_programs(1)
