"""The GPU kernel that adds the slopes of `optimise.StackedObservations.difference`; imported only where Triton is
installed."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 256  # pixels of a program: each has twelve sums to make, which wait for memory


def add_difference_slopes(
    texture: Tensor, uv: Tensor, colors: Tensor, share: Tensor, pick: Tensor, slopes: Tensor
) -> None:
    """Add to ``slopes`` those that the observation number pick (1,) of uv (K,N,2), colors (K,N,3) and share (K,N,1) has
    for a ``texture``, both (H,W,3); all float32 and contiguous. Nothing waits for the device."""
    height, width, _ = texture.shape
    count = uv.shape[1]
    _add[(triton.cdiv(count, _BLOCK),)](texture, uv, colors, share, pick, slopes, count, height, width, BLOCK=_BLOCK)


@triton.jit
def _add(texture, uv, colors, share, pick, slopes, count, height, width, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    row = tl.load(pick) * count + at
    weight = tl.load(share + row, mask=inside, other=0.0)
    inside = weight != 0  # rows that only fill the length have none
    x = tl.load(uv + 2 * row, mask=inside, other=0.0) * width - 0.5
    y = tl.load(uv + 2 * row + 1, mask=inside, other=0.0) * height - 0.5
    # The four texels around, the texture repeating beyond its borders, and how much each counts.
    left, top = tl.floor(x), tl.floor(y)
    s, t = x - left, y - top
    x0, y0 = ((left.to(tl.int32) % width) + width) % width, ((top.to(tl.int32) % height) + height) % height
    x1, y1 = (x0 + 1) % width, (y0 + 1) % height
    a, b, c, d = 3 * (y0 * width + x0), 3 * (y0 * width + x1), 3 * (y1 * width + x0), 3 * (y1 * width + x1)
    for channel in tl.static_range(3):
        one, two = tl.load(texture + a + channel, mask=inside), tl.load(texture + b + channel, mask=inside)
        three, four = tl.load(texture + c + channel, mask=inside), tl.load(texture + d + channel, mask=inside)
        upper, lower = one + s * (two - one), three + s * (four - three)
        difference = upper + t * (lower - upper) - tl.load(colors + 3 * row + channel, mask=inside)
        slope = weight * (tl.where(difference > 0, 1.0, 0.0) - tl.where(difference < 0, 1.0, 0.0))
        tl.atomic_add(slopes + a + channel, slope * (1 - s) * (1 - t), mask=inside)
        tl.atomic_add(slopes + b + channel, slope * s * (1 - t), mask=inside)
        tl.atomic_add(slopes + c + channel, slope * (1 - s) * t, mask=inside)
        tl.atomic_add(slopes + d + channel, slope * s * t, mask=inside)
