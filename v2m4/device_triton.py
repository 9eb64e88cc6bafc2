"""The smallest kernel there is: whether it runs tells whether others will."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_COUNT = 4


def ones_plus_one(device: torch.device) -> Tensor:
    """(4,) float32 twos, added up by a kernel on ``device``."""
    values = torch.ones(_COUNT, device=device)
    with torch.cuda.device(device):
        _add_one[(1,)](values, _COUNT)
    return values


@triton.jit
def _add_one(values, count: tl.constexpr):  # type: ignore[no-untyped-def]
    at = values + tl.arange(0, count)
    tl.store(at, tl.load(at) + 1.0)
