"""Direct alignment: the compiled normal equations equal plain NumPy's, and steps lead to the true pose."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.stages.camera.known_cameras import orbit, painted_creature
from v2m4.geometry.rotations import rotation_from_axis_angle
from v2m4.settings import RigidAlignmentSettings
from v2m4.stages.camera.rigid_alignment import (
    Picture,
    Poses,
    Renderings,
    align,
    normal_equations,
    render_poses,
)

SETTINGS = RigidAlignmentSettings()
MIDDLE = np.array([0.0, 0.1, 0.05])
FOV = 40.0


def truth() -> Poses:
    return Poses.of(orbit(35, 20, 2.2).world_to_camera[None].double().numpy(), MIDDLE)


def picture(size: int = 48) -> Picture:
    image = render_poses(painted_creature(), MIDDLE, truth(), size, FOV, supersample=3).image[0]
    return Picture(np.ascontiguousarray(image), np.ones((size, size), np.float32), FOV)


def moved(turn: tuple[float, float, float], shift: tuple[float, float, float]) -> Poses:
    rotation = rotation_from_axis_angle(torch.tensor(turn, dtype=torch.float64)).numpy()
    start = truth()
    return Poses(rotation @ start.rotation, start.centre + np.array(shift))


def plain_normal_equations(views: Renderings, pose: Poses, target: Picture):
    """Energy, matrix and right-hand side of one view, unblurred, in NumPy."""
    image, depth = views.image[0].astype(np.float64), views.depth[0].astype(np.float64)
    goal = target.image.astype(np.float64)
    both = np.minimum(goal[..., 3:], image[..., 3:])
    gain = (both * goal[..., :3] * image[..., :3]).sum((0, 1)) / (both * image[..., :3] ** 2).sum((0, 1))
    image[..., :3] *= gain.clip(0.5, 2)
    size = len(image)
    focal = size * 0.5 / np.tan(np.radians(FOV) / 2)
    padded = np.pad(image + goal, ((1, 1), (1, 1), (0, 0)), mode="edge")
    ix, iy = 0.25 * (padded[1:-1, 2:] - padded[1:-1, :-2]), 0.25 * (padded[2:, 1:-1] - padded[:-2, 1:-1])
    y, x = (np.mgrid[:size, :size] + 0.5 - size / 2) / focal
    smooth = cv2.GaussianBlur(np.dstack([views.depth[0], (views.depth[0] > 0).astype(np.float32)]), (0, 0), 1.0)
    mean = depth.sum() / (depth > 0).sum()
    z = np.where(smooth[..., 1] > 0.02, smooth[..., 0] / np.maximum(smooth[..., 1], 1e-9), mean)
    point = np.stack([x * z, y * z, z], axis=-1) - pose.centre[0]
    per_point = np.stack([ix * (focal / z)[..., None], iy * (focal / z)[..., None]], axis=-2)
    along_z = -(per_point * np.stack([x, y], axis=-1)[..., None]).sum(-2, keepdims=True)
    per_point = np.concatenate([per_point, along_z], axis=-2)  # (S,S,3,4)
    turn = np.cross(point[..., :, None], per_point, axis=-2)
    g = np.concatenate([turn, per_point * pose.centre[0, 2]], axis=-2)
    r = goal - image
    seen = ((image[..., 3] >= 1e-4) | (goal[..., 3] >= 1e-4))[..., None]
    w = np.array([SETTINGS.color_weight] * 3 + [1.0]) * seen
    energy = (w * np.where(np.abs(r) > SETTINGS.huber, SETTINGS.huber * (2 * np.abs(r) - SETTINGS.huber), r * r)).sum()
    w = w * np.where(np.abs(r) > SETTINGS.huber, SETTINGS.huber / np.maximum(np.abs(r), 1e-12), 1)
    return energy, np.einsum("yxic,yxjc,yxc->ij", g, g, w), -np.einsum("yxic,yxc,yxc->i", g, r, w)


def test_compiled_and_plain_normal_equations_agree() -> None:
    target, pose = picture(), moved((0.05, -0.1, 0.04), (0.02, -0.01, 0.1))
    views = render_poses(painted_creature(), MIDDLE, pose, target.size, FOV)
    energy, a, b = normal_equations(views, pose, target.image, target, 0.0, SETTINGS)
    plain_energy, plain_a, plain_b = plain_normal_equations(views, pose, target)
    assert energy[0] == pytest.approx(plain_energy, rel=1e-4)
    assert np.abs(a[0] - plain_a).max() < 1e-3 * np.abs(plain_a).max()
    assert np.abs(b[0] - plain_b).max() < 1e-3 * np.abs(plain_b).max()


@pytest.mark.parametrize("turn", [(0.2, 0, 0), (0, 0.25, 0), (0, 0, 0.2), (0.1, -0.15, 0.1)])
def test_poses_move_to_the_truth(turn: tuple[float, float, float]) -> None:
    target = picture(64)
    pose, energy = align(
        painted_creature(), MIDDLE, moved(turn, (0.05, -0.04, 0.15)), target, SETTINGS, blur_px=1.5, iterations=12
    )
    angle = np.degrees(np.arccos(((pose.rotation[0] * truth().rotation[0]).sum() - 1) / 2))
    assert angle < 2.0  # from up to 14; the object is 30 pixels large
    assert np.abs(pose.centre - truth().centre).max() < 0.02
    assert energy[0] < 0.01


def test_extrinsics_and_poses_are_two_names_of_the_same() -> None:
    w2c = orbit(35, 20, 2.2, (0.1, 0, 0.2)).world_to_camera[None].double().numpy()
    assert np.allclose(Poses.of(w2c, MIDDLE).extrinsics(MIDDLE), w2c)
