"""The sRGB transfer functions (IEC 61966-2-1): textures and videos hold sRGB, glTF's vertex colours light."""

from __future__ import annotations

import numpy as np

from v2m4.arrays import Real


def srgb_to_linear(srgb: Real) -> Real:
    """Linear light of sRGB values, both in [0,1], of any shape and floating-point type."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Real) -> Real:
    """sRGB values of linear light, both in [0,1], of any shape and floating-point type."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)
