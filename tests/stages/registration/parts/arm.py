"""An arm of two bones before the camera, and clips of it: what is true is known."""

from __future__ import annotations

import numpy as np

from tests.geometry.test_embedded_deformation import tube
from v2m4.settings import PartsSettings, changed
from v2m4.stages.registration.parts.clip_fit import ClipFit
from v2m4.stages.registration.parts.pose_fit import Body, PoseFit
from v2m4.stages.registration.parts.skeleton import Poses, Skeleton
from v2m4.stages.registration.parts.synthesis import Synthesis

Array = np.ndarray
SETTINGS = changed(PartsSettings(), {"side": 32, "bend": 1e-5, "sideways": 0.0, "acceleration": 1e-4})
LIGHT = np.array([[0.75, 0.2, -0.2, -0.2]] * 3)
CORNER, WIDTH = np.array([0.15, 0.15]), 0.7


def arm() -> tuple[Body, Array, Array]:
    """A bar along x, hinged at x = 0.1; its faces and colours."""
    vertices, inwards = tube(20, 12, length=1.2, radius=0.12)
    faces = inwards[:, ::-1].copy()
    share = 1 / (1 + np.exp(-(vertices[:, 0] - 0.1) / 0.03))
    skeleton = Skeleton(np.array([-1, 0]), np.array([[-0.3, 0.0, 3.0], [0.1, 0.0, 3.0]]))
    around = np.arctan2(vertices[:, 1], vertices[:, 2] - 3.0)
    waves = [12 * vertices[:, 0] + around, 3 * around, 17 * vertices[:, 0] - 2 * around]
    return Body(skeleton, vertices, np.stack([1 - share, share], axis=1)), faces, 0.5 + 0.35 * np.sin(waves).T


def bent(angles: Array, axis: Array) -> Poses:
    """The outer bone turned about ``axis`` by each of the angles (T,)."""
    steps = np.zeros((len(angles), 9))
    steps[:, 6:9] = angles[:, None] * axis
    return Poses.rest(arm()[0].skeleton, len(angles)).moved(steps)


def filmed(truth: Poses, side: int, seen: Array | None = None) -> PoseFit:
    """A clip of true poses."""
    body, faces, colours = arm()
    frames = len(truth.shifts)
    synthesis = Synthesis(faces, colours, LIGHT, WIDTH, side)
    corners = np.tile(CORNER, (frames, 1))
    targets = synthesis.pictures(body.posed(truth), corners)
    valid = np.ones((frames, side, side), np.float32)
    return PoseFit(body, synthesis, targets, corners, valid, np.ones(frames, bool) if seen is None else seen, SETTINGS)


def levels(truth: Poses, seen: Array | None = None) -> list[ClipFit]:
    """Small and large pictures of it."""
    joined = np.ones(len(truth.shifts), bool)
    return [ClipFit(filmed(truth, side, seen), 0, joined) for side in (16, 32)]


def error(found: Poses, truth: Poses, of: Body | None = None) -> float:
    """Mean distance of the vertices. of: the body that was found with the poses, if it is not the true one."""
    body = arm()[0]
    return float(np.linalg.norm((of or body).posed(found) - body.posed(truth), axis=-1).mean())
