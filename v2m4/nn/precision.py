"""In which number format a learned plug computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

Precision = Literal["auto", "float32", "tf32", "bfloat16", "float16"]


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """What "auto" means on `device`: bfloat16 where the GPU computes it, float16 on older ones, float32 on a CPU."""
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def store_linears(module: nn.Module, precision: Precision) -> None:
    """Keep the weights of the linear layers in the half-precision type they are multiplied in; the rest stays."""
    if precision in ("bfloat16", "float16"):
        for part in module.modules():
            if isinstance(part, nn.Linear):
                part.to(getattr(torch, precision))


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run matrix products in `precision` inside the block; settings found are restored afterwards.

    "tf32" allows ten-bit mantissas in float32 products, as the original DUSt3R does on a GPU.
    """
    before = torch.get_float32_matmul_precision()
    half = precision in ("bfloat16", "float16")
    try:
        if precision == "tf32":
            torch.set_float32_matmul_precision("high")
        with torch.autocast(device.type, getattr(torch, precision) if half else None, enabled=half):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
