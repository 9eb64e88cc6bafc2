"""How a learning rate falls."""

from __future__ import annotations

import math


def half_cosine(progress: float, start: float, end: float) -> float:
    """The rate at ``progress`` in [0,1]: half a cosine wave from ``start`` down to ``end`` (Loshchilov and Hutter
    2017, without restarts)."""
    return end + (start - end) * (0.5 * (1 + math.cos(math.pi * progress)))
