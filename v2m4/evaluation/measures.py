"""Numbers that compare pictures, and numbers that describe a moving mesh."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from v2m4.geometry.mesh import unique_edges
from v2m4.geometry.strain import FaceStrain

Picture = NDArray[np.uint8]
_SMALLEST_ERROR = 1e-3  # of 255 squared: caps the PSNR of equal pictures at 78 dB


def psnr(a: Picture, b: Picture, where: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio in dB of (H,W,3) uint8 pictures, within ``where`` (H,W); NaN if that is empty."""
    squared = (a.astype(np.float64) - b.astype(np.float64)) ** 2
    chosen = squared if where is None else squared[where]
    if not chosen.size:
        return float("nan")
    return float(10 * np.log10(255**2 / max(float(chosen.mean()), _SMALLEST_ERROR)))


def ssim(a: Picture, b: Picture) -> float:
    """Structural similarity of (H,W,3) uint8 pictures (Wang et al. 2004: Gaussian window 11, sigma 1.5), mean."""
    x, y = a.astype(np.float64), b.astype(np.float64)

    def window(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(image, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT), np.float64)

    mean_x, mean_y = window(x), window(y)
    var_x, var_y = window(x * x) - mean_x**2, window(y * y) - mean_y**2
    covariance = window(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def flipped_share(rest: Tensor, posed: Tensor, faces: Tensor) -> float:
    """Share of the faces that are folded over in some pose although they are not at rest.

    rest: (V,3). posed: (K,V,3). A face is folded over if its normal points against the surface around it (the
    area-weighted normals of its corners).
    """
    strain = FaceStrain(rest.double().numpy(), faces.numpy())
    return float(np.stack([strain.turned_over(pose) for pose in posed.double().numpy()]).any(axis=0).mean())


def edge_stretch(rest: Tensor, posed: Tensor, faces: Tensor) -> tuple[float, float]:
    """1st and 99th percentile of an edge's length over its length at rest, over all poses (K,V,3)."""
    a, b = unique_edges(faces).unbind(dim=1)
    at_rest = (rest[a] - rest[b]).norm(dim=-1)
    kept = at_rest > 1e-6 * at_rest.max()
    ratio = (posed[:, a] - posed[:, b]).norm(dim=-1)[:, kept] / at_rest[kept]
    low, high = np.percentile(ratio.numpy(), [1, 99])
    return float(low), float(high)


def jitter(tracks: Tensor) -> float:
    """Mean length of the second difference over time of points (T,V,3), relative to the box around the first pose.

    Zero for uniform motion; T must be at least 3, else 0.
    """
    if len(tracks) < 3:
        return 0.0
    diagonal = (tracks[0].amax(0) - tracks[0].amin(0)).norm()
    return float(torch.diff(tracks, n=2, dim=0).norm(dim=-1).mean() / diagonal)
