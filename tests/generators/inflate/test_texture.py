import cv2
import numpy as np
import torch

from v2m4.generators.inflate.generator import Inflate
from v2m4.generators.inflate.texture import thickness

SIDE = 160
BLUE, WHITE, ORANGE = (30, 60, 200), (240, 240, 240), (230, 120, 20)


def test_a_disc_is_as_thick_as_its_radius_everywhere_and_a_handle_as_its_own():
    picture = np.zeros((80, 120), np.uint8)
    cv2.circle(picture, (40, 40), 30, 1, -1)
    picture[37:44, 60:110] = 1  # a handle, seven high
    away = cv2.distanceTransform(picture, cv2.DIST_L2, 5)
    thick = thickness(away)
    disc = np.hypot(*(np.indices(picture.shape) - 40)) < 28
    assert np.abs(thick[disc] - 30).max() <= 2
    assert thick[40, 85:105].max() <= 5
    assert (thick[picture == 0] == 0).all()
    assert (thick >= away).all()


def test_a_belly_that_the_outline_cuts_is_not_on_the_back():
    """A round body turned to the right: its white front reaches the outline there, and orange feet stand below."""
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    cv2.circle(picture, (80, 70), 50, (*BLUE, 255), -1)
    inside = picture[..., 3] > 0
    front = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(front, (112, 70), (30, 34), 0, 0, 360, 1, -1)
    picture[(front > 0) & inside] = (*WHITE, 255)
    for x in (64, 96):
        cv2.circle(picture, (x, 122), 9, (*ORANGE, 255), -1)
    made = Inflate()(picture, torch.Generator())
    assert made.mesh.texture is not None
    texture = made.mesh.texture.numpy()
    back = texture[:, texture.shape[1] // 2 :]
    trunk = back[40:90, 40:-40].reshape(-1, 3)
    assert (trunk[:, 2] > trunk[:, 0] + 0.3).mean() > 0.95
    # The feet stay what they are.
    orange = (back[..., 0] > 0.7) & (back[..., 2] < 0.4)
    assert orange.sum() > 100
