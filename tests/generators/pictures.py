"""Small pictures of simple objects for the generators' tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Capsule = tuple[float, float, float, float, float]  # x0, y0, x1, y1 of the axis and the radius, in pixels


def distance_to(capsule: Capsule, side: int) -> NDArray[np.float64]:
    """(side,side) signed distance of the pixel centres to a capsule's outline, negative inside."""
    x0, y0, x1, y1, radius = capsule
    y, x = np.mgrid[:side, :side] + 0.5
    dx, dy = x1 - x0, y1 - y0
    t = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
    return np.hypot(x - x0 - t * dx, y - y0 - t * dy) - radius


def picture(
    capsules: list[Capsule],
    side: int = 200,
    holes: tuple[Capsule, ...] = (),
    color: tuple[float, float, float] = (0.8, 0.5, 0.2),
) -> NDArray[np.uint8]:
    """(side,side,4) RGBA of the union of capsules without the holes, with edges one pixel soft."""
    distance = np.min([distance_to(c, side) for c in capsules], axis=0)
    for hole in holes:
        distance = np.maximum(distance, -distance_to(hole, side))
    alpha = np.clip(0.5 - distance, 0, 1)
    out = np.zeros((side, side, 4), np.uint8)
    out[..., :3] = np.round(np.array(color) * 255)
    out[..., 3] = np.round(alpha * 255)
    return out


def animal(side: int = 200) -> NDArray[np.uint8]:
    """A trunk with four legs, a tail and a head with two black eyes, orange above and white below."""
    s = side / 200
    body: list[Capsule] = [(60, 90, 130, 90, 28), (150, 60, 152, 60, 22), (70, 110, 60, 160, 8), (85, 110, 90, 160, 8)]
    body += [(115, 110, 110, 160, 8), (130, 110, 140, 160, 8), (40, 80, 15, 50, 6)]
    out = picture([tuple(v * s for v in c) for c in body], side)  # type: ignore[misc]
    out[int(100 * s) :, :, :3] = 240
    for x in (145, 160):
        out[distance_to((x * s, 55 * s, x * s, 55 * s, 5 * s), side) < 0, :3] = 0
    return out
