"""The sRGB transfer functions undo each other and meet the standard's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2m4.color import linear_to_srgb, srgb_to_linear


@given(st.floats(0, 1))
def test_there_and_back(value: float) -> None:
    assert linear_to_srgb(srgb_to_linear(np.array(value))) == pytest.approx(value, abs=1e-6)
    assert srgb_to_linear(linear_to_srgb(np.array(value))) == pytest.approx(value, abs=1e-6)


def test_known_values() -> None:
    assert srgb_to_linear(np.array([0, 0.5, 1])) == pytest.approx([0, 0.21404, 1], abs=1e-5)
    assert linear_to_srgb(np.array([0.002, 0.18])) == pytest.approx([0.02584, 0.46136], abs=1e-5)


def test_the_type_and_shape_stay() -> None:
    picture = np.random.default_rng(0).random((2, 3, 4), np.float32)
    assert srgb_to_linear(picture).dtype == linear_to_srgb(picture).dtype == np.float32
    assert srgb_to_linear(picture).shape == picture.shape
