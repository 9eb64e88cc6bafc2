"""How much the picture of an object is squeezed from one frame to others: nothing by what moves it as a whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2m4.foreshortening import squeezes
from v2m4.settings import SqueezeSettings

SIDE = 96
SETTINGS = SqueezeSettings()


def pictures_of(maps):
    """A speckled ellipse as each affine map (2,2) about the middle, with a shift, shows it; and its masks."""
    rng = np.random.default_rng(3)
    speckles = cv2.GaussianBlur(rng.uniform(0, 255, (SIDE, SIDE)), (0, 0), 2.5)
    speckles = (128 + 4 * (speckles - speckles.mean())).clip(0, 255)
    whole = cv2.ellipse(np.zeros((SIDE, SIDE), np.uint8), (SIDE // 2, SIDE // 2), (30, 22), 0, 0, 360, 255, -1)
    pictures, masks = [], []
    for turned, shift in maps:
        middle = np.full(2, SIDE / 2)
        matrix = np.column_stack([turned, middle - np.asarray(turned) @ middle + shift])
        mask = cv2.warpAffine(whole, matrix, (SIDE, SIDE)) > 127
        picture = cv2.warpAffine(speckles, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
        pictures.append(np.where(mask, picture, 255).astype(np.uint8))
        masks.append(mask)
    return pictures, masks


def turned(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


@given(angle=st.floats(-8, 8), x=st.floats(-4, 4), y=st.floats(-4, 4), nearer=st.floats(0.95, 1.05))
@settings(deadline=None, max_examples=15)
def test_what_moves_rigidly_or_comes_nearer_is_not_squeezed(angle, x, y, nearer):
    pictures, masks = pictures_of([(np.eye(2), (0, 0)), (nearer * turned(angle), (x, y))])
    assert squeezes(pictures, masks, [0, 1], SETTINGS).max() < 0.12
    narrower = pictures_of([(np.eye(2), (0, 0)), (turned(angle) @ np.diag([0.75, 1.0]), (x, y))])
    # Half of the logarithm of 0.75 along either axis, since their mean is taken for a change of distance.
    assert squeezes(*narrower, [0, 1], SETTINGS).min() > 0.12


def test_the_middle_of_a_turn_is_squeezed_least():
    pictures, masks = pictures_of([(np.diag([w, 1.0]), (0, 0)) for w in np.linspace(1.0, 0.55, 9)])
    found = squeezes(pictures, masks, range(9), SETTINGS)
    assert found.argmin() in (3, 4, 5)
    assert found[[0, 8]].min() > 1.4 * found.min()


def test_what_is_lost_counts_as_the_settings_say():
    pictures, masks = pictures_of([(np.eye(2), (0, 0))] * 2)
    masks[0][:] = False
    assert squeezes(pictures, masks, [0], SETTINGS) == pytest.approx(SETTINGS.lost)
    assert squeezes(pictures[:1], masks[:1], [0], SETTINGS) == 0
