"""Any object before any background, by BiRefNet (Zheng et al. 2024) through the `rembg` package, an optional extra."""

from __future__ import annotations

import importlib.util


def is_ready() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("rembg") is not None
