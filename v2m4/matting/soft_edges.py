"""Soft edges: how much of each edge pixel is object, and the object's own colour there.

A pixel on the outline mixes foreground F and background B: I = alpha F + (1 - alpha) B. With B known (a flat or a
static background) and F taken from just inside the outline, alpha follows by projection, and the background's share
of the colour can be removed, so that no halo is baked into the texture.
"""

from __future__ import annotations

import cv2
import numpy as np

from v2m4.arrays import Bytes, Float32, Mask, sum_last
from v2m4.settings import MattingSettings


def weighted_blur(colour: Float32, weight: Float32, sigma: float) -> tuple[Float32, Float32]:
    """Average of (H,W,3) ``colour`` around each pixel, weighted by (H,W) ``weight`` and a Gaussian; and its total."""
    total = np.asarray(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32)
    mean = cv2.GaussianBlur(colour * weight[..., None], (0, 0), sigma) / np.maximum(total, 1e-6)[..., None]
    return mean.astype(np.float32), total


def soften(
    rgb: Bytes, mask: Mask, background: Float32 | None, settings: MattingSettings, noise: float | None = None
) -> Bytes:
    """(H,W,4) RGBA, straight alpha, of the object in (H,W,3) ``rgb``.

    mask: (H,W) which pixels are mostly object. background: (H,W,3) levels behind the object, NaN where unknown (the
    colours outside nearby are taken). noise: levels, by default the settings'; where F and B differ by little more,
    alpha comes from the outline alone. ``soft_edge_px`` is half the width of the band in which alpha may be partial.
    """
    edges, soft_edge_px = settings.edges, settings.soft_edge_px
    noise = edges.noise if noise is None else noise
    out = np.zeros((*mask.shape, 4), np.uint8)
    if not mask.any():
        return out
    reach = max(1, round(soft_edge_px + 1))
    top, bottom, left, right = _box(mask, 4 * reach + 4)
    view = (slice(top, bottom), slice(left, right))
    colour = rgb[view].astype(np.float32)
    inside: Mask = mask[view]
    behind = None if background is None else background[view]
    solid = inside.astype(np.float32)
    alpha = cv2.GaussianBlur(solid, (0, 0), max(0.3, 0.5 * soft_edge_px)) if soft_edge_px > 0 else solid
    # 1. Three zones: the core, which is object; the band around the outline, which may be mixed; and the outside.
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    core = np.asarray(cv2.erode(inside.astype(np.uint8), kernel), np.float32)
    outer = np.asarray(cv2.dilate(inside.astype(np.uint8), kernel), np.float32)
    band: Mask = (outer > 0) & (core == 0)
    # 2. F and B of every pixel of the band, from the core and the outside around it (or the background that is known).
    # Thin parts have no core: their own pixels stand in for it, with little weight.
    front, _ = weighted_blur(colour, core + edges.thin_weight * solid, edges.front_blur * reach)
    back, _ = weighted_blur(colour, 1.0 - outer + 1e-4 * (1 - solid), edges.back_blur * reach)
    if behind is not None:
        known: Mask = np.isfinite(behind)
        back = np.where(known, behind, back).astype(np.float32)
    # 3. Alpha by projection of I onto the line from B to F, trusted as far as F and B differ by more than noise.
    if soft_edge_px > 0:
        gap = front - back
        contrast = sum_last(gap**2)
        mixed = np.clip(sum_last((colour - back) * gap) / np.maximum(contrast, 1e-3), 0, 1)
        trust = contrast / (contrast + (edges.noise_factor * noise) ** 2)
        alpha = np.where(band, trust * mixed + (1 - trust) * alpha, solid).astype(np.float32)
        alpha[alpha < edges.faintest] = 0
    # 4. The object's own colour: unmixed where alpha is large enough to divide by, else F.
    safe = np.maximum(alpha, edges.divisor)[..., None]
    unmixed = (colour - (1 - alpha[..., None]) * back) / safe
    partial = np.clip((alpha - edges.unmixed_from) / (1 - edges.unmixed_from), 0, 1)[..., None]
    own = np.where(band[..., None], partial * np.clip(unmixed, 0, 255) + (1 - partial) * front, colour)
    out[view][..., :3] = np.clip(own, 0, 255).round() * (alpha > 0)[..., None]
    out[view][..., 3] = (alpha * 255).round()
    return out


def _box(mask: Mask, margin: int) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    return (
        max(0, int(rows[0]) - margin),
        min(height, int(rows[-1]) + 1 + margin),
        max(0, int(columns[0]) - margin),
        min(width, int(columns[-1]) + 1 + margin),
    )
