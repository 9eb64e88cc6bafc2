"""The GPU kernel that adds the slopes of `optimise.total_variation`; imported only where Triton is installed."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024  # elements of a program: enough for its threads


def add_variation_slopes(texture: Tensor, factor: Tensor, slopes: Tensor) -> None:
    """Add to ``slopes`` what the total variation of ``texture``, both (H,W,C) float32 and contiguous, times ``factor``
    (1,) has for slopes in it. Nothing waits for the device."""
    height, width, channels = texture.shape
    down, right = 1 / ((height - 1) * width * channels), 1 / (height * (width - 1) * channels)
    count = texture.numel()
    _add[(triton.cdiv(count, _BLOCK),)](
        texture, factor, slopes, count, width * channels, channels, down, right, BLOCK=_BLOCK
    )


@triton.jit
def _sign(x):  # type: ignore[no-untyped-def]
    return tl.where(x > 0, 1.0, 0.0) - tl.where(x < 0, 1.0, 0.0)


@triton.jit
def _add(texture, factor, slopes, count, row, channels, down, right, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    along = at % row
    here = tl.load(texture + at, mask=inside, other=0.0)
    # Neighbours; none beyond the border.
    above = tl.load(texture + at - row, mask=inside & (at >= row), other=0.0)
    below = tl.load(texture + at + row, mask=at + row < count, other=0.0)
    before = tl.load(texture + at - channels, mask=inside & (along >= channels), other=0.0)
    after = tl.load(texture + at + channels, mask=inside & (along < row - channels), other=0.0)
    upright = tl.where(at >= row, _sign(here - above), 0.0) + tl.where(at + row < count, _sign(here - below), 0.0)
    level = tl.where(along >= channels, _sign(here - before), 0.0)
    level += tl.where(along < row - channels, _sign(here - after), 0.0)
    slope = tl.load(slopes + at, mask=inside, other=0.0)
    tl.store(slopes + at, slope + tl.load(factor) * (down * upright + right * level), mask=inside)
