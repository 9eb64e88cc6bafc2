"""What is doubtful about a mask before a background that is known: shadows with a hard edge, and things left out."""

from __future__ import annotations

import cv2
import numpy as np

from v2m4.arrays import Float32, Mask
from v2m4.matting import Doubts
from v2m4.matting.mask_cleanup import largest_piece

# Rows: luma, and two chroma differences (ITU-R BT.601), which compression treats differently.
_TO_LUMA_CHROMA = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], dtype=np.float32)


def luma_chroma(rgb: Float32) -> Float32:
    """(H,W,3) luma and two chroma differences of colours, or of differences of colours, in levels."""
    return np.asarray(cv2.transform(rgb, _TO_LUMA_CHROMA), np.float32)


def darkened(behind: Float32, difference: Float32, chroma_tolerance: Float32, darkest: float) -> tuple[Float32, Mask]:
    """(H,W) the share of the background's luma that is left, and where chroma is scaled with it, as in a shadow.

    behind, difference: (H,W,3) luma and chroma of the background, and of the picture's difference from it.
    chroma_tolerance: levels, broadcast to (H,W,2). darkest: a shadow leaves at least this share.
    """
    keep = 1 + difference[..., 0] / np.maximum(behind[..., 0], 1.0)
    tinted = np.abs(difference[..., 1:] - (keep - 1)[..., None] * behind[..., 1:])
    grey = tinted < chroma_tolerance
    shaded = (keep < 1) & (keep > darkest) & grey[..., 0] & grey[..., 1]
    return np.asarray(keep, np.float32), np.asarray(shaded)


def even_piece(shaded: Mask, keep: Float32, evenness: float) -> int:
    """Area of the largest piece of (H,W) ``shaded`` that keeps one share of the background's light, as a shadow does.

    evenness: by how much the share may differ from its median.
    """
    if not shaded.any():
        return 0
    return largest_piece(shaded & (np.abs(keep - np.median(keep[shaded])) < evenness))


def doubts_of(mask: Mask, left_out: int = 0, shadow: int = 0) -> Doubts:
    """Areas in pixels as shares of that of the (H,W) ``mask``."""
    area = max(1, int(mask.sum()))
    return Doubts(left_out=left_out / area, hard_shadow=shadow / area)
