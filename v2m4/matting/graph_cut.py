"""Binary labelling of a picture: per-pixel evidence plus a contour that prefers picture edges.

The energy is the graph cut's, sum_p u_p x_p + sum_p w_p |grad x|_p with x in {0,1} (Boykov and Jolly 2001). It is
minimised over x in [0,1] by the primal-dual method of Chambolle and Pock (2011); thresholding the minimiser of this
convex relaxation gives a global minimum of the binary problem (Chan, Esedoglu and Nikolova 2006). Unlike a max-flow
solver it starts from the last frame's answer and runs in constant memory.
"""

from __future__ import annotations

import cv2
import numpy as np

from v2m4.arrays import Bytes, Float32, max_last
from v2m4.matting.graph_cut_numba import primal_dual
from v2m4.settings import GraphCutSettings


def cut(evidence: Float32, weight: Float32, settings: GraphCutSettings) -> Float32:
    """Soft labels (H,W) in [0,1]; above 0.5 is foreground.

    evidence: (H,W), negative where the pixel looks like foreground, positive where like background (a log-likelihood
    ratio). weight: (H,W) positive price of a contour through the pixel. Solved at half the size first, so that
    far-reaching decisions are made cheaply.
    """
    height, width = evidence.shape
    start, iterations = (evidence < 0).astype(np.float32), settings.iterations
    if min(height, width) >= settings.halved_from:
        half = (width // 2, height // 2)
        # Four pixels' evidence, and a contour twice as long.
        coarse = cut(
            _resized(evidence, half, cv2.INTER_AREA) * np.float32(4),
            _resized(weight, half, cv2.INTER_AREA) * np.float32(2),
            settings,
        )
        start = _resized(coarse, (width, height), cv2.INTER_LINEAR)
        iterations = max(settings.least_iterations, int(settings.refinement * settings.iterations))
    return primal_dual(
        np.ascontiguousarray(evidence, np.float32), np.ascontiguousarray(weight, np.float32), start, iterations
    )


def _resized(field: Float32, size: tuple[int, int], how: int) -> Float32:
    return np.asarray(cv2.resize(field, size, interpolation=how), np.float32)


def contour_weight(rgb: Bytes, strength: float, contrast: float, settings: GraphCutSettings) -> Float32:
    """(H,W) price of a contour: ``strength`` in flat areas, little of it across strong edges of (H,W,3) ``rgb``.

    contrast: colour step that counts as an edge, in levels.
    """
    picture = rgb.astype(np.float32)
    dx = max_last(np.abs(np.diff(picture, axis=1, append=picture[:, -1:])))
    dy = max_last(np.abs(np.diff(picture, axis=0, append=picture[-1:])))
    edge = np.maximum(dx, dy)
    least = settings.edge_price
    return (strength * (least + (1 - least) * np.exp(-((edge / contrast) ** 2)))).astype(np.float32)
