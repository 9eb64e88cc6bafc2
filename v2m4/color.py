"""The sRGB transfer functions (IEC 61966-2-1): textures and videos hold sRGB, glTF's vertex colours light.

And which alpha counts as opaque.
"""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Real

OPAQUE = 250  # alpha of 255 from here on: compression and resampling leave no more


def srgb_to_linear(srgb: Real) -> Real:
    """Linear light of sRGB values, both in [0,1], of any shape and floating-point type."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Real) -> Real:
    """sRGB values of linear light, both in [0,1], of any shape and floating-point type."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def tinted(srgb: Real, factor: Real) -> Real:
    """An sRGB picture (H,W,3) times a linear colour (3,); the same array where that is white."""
    if np.allclose(factor, 1):
        return srgb
    return linear_to_srgb((srgb_to_linear(srgb) * factor).clip(0, 1)).astype(np.float32)
