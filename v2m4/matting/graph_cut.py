"""Binary labelling of a picture: per-pixel evidence plus a contour that prefers picture edges.

The energy is the graph cut's, sum_p u_p x_p + sum_p w_p |grad x|_p with x in {0,1} (Boykov and Jolly 2001). It is
minimised over x in [0,1] by the primal-dual method of Chambolle and Pock (2011); thresholding the minimiser of this
convex relaxation gives a global minimum of the binary problem (Chan, Esedoglu and Nikolova 2006). Unlike a max-flow
solver it starts from the last frame's answer and runs in constant memory.
"""

from __future__ import annotations

import cv2
import numpy as np

from v2m4.arrays import Bytes, Float32
from v2m4.matting.graph_cut_numba import primal_dual


def cut(evidence: Float32, weight: Float32, start: Float32 | None = None, iterations: int = 80) -> Float32:
    """Soft labels (H,W) in [0,1]; above 0.5 is foreground.

    evidence: (H,W), negative where the pixel looks like foreground, positive where like background (a log-likelihood
    ratio). weight: (H,W) positive price of a contour through the pixel. start: labels to start from. Solved at half the
    size first, so that far-reaching decisions are made cheaply.
    """
    height, width = evidence.shape
    if min(height, width) >= 96:
        half = (width // 2, height // 2)
        coarse_start = None if start is None else _resized(start, half, cv2.INTER_AREA)
        # Four pixels' evidence, and a contour twice as long.
        coarse = cut(
            _resized(evidence, half, cv2.INTER_AREA) * np.float32(4),
            _resized(weight, half, cv2.INTER_AREA) * np.float32(2),
            coarse_start,
            iterations,
        )
        start = _resized(coarse, (width, height), cv2.INTER_LINEAR)
        iterations = max(20, iterations // 3)
    if start is None:
        start = (evidence < 0).astype(np.float32)
    return primal_dual(
        np.ascontiguousarray(evidence, np.float32), np.ascontiguousarray(weight, np.float32), start.copy(), iterations
    )


def _resized(field: Float32, size: tuple[int, int], how: int) -> Float32:
    return np.asarray(cv2.resize(field, size, interpolation=how), np.float32)


def contour_weight(rgb: Bytes, strength: float, contrast: float | None = None) -> Float32:
    """(H,W) price of a contour: ``strength`` in flat areas, a tenth of it across strong edges of (H,W,3) ``rgb``.

    contrast: colour step that counts as an edge, in levels; by default twice the picture's mean step.
    """
    picture = rgb.astype(np.float32)
    dx = np.abs(np.diff(picture, axis=1, append=picture[:, -1:])).max(-1)
    dy = np.abs(np.diff(picture, axis=0, append=picture[-1:])).max(-1)
    edge = np.maximum(dx, dy)
    scale = contrast if contrast is not None else max(4.0, 2 * float(edge.mean()))
    return (strength * (0.1 + 0.9 * np.exp(-((edge / scale) ** 2)))).astype(np.float32)
