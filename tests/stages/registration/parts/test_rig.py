"""A body whose skeleton and skin came with the mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.stages.registration.parts.arm import arm, bent
from tests.stages.registration.test_video import film
from v2m4.events import drain
from v2m4.geometry.mesh import Mesh
from v2m4.geometry.rig import Rig
from v2m4.settings import PartsSettings, changed
from v2m4.stages.registration.parts.follower import PartsFollower
from v2m4.stages.registration.parts.rig import brought


def arms_rig() -> Rig:
    """The arm's own bones, a third that carries nothing between them."""
    body = arm()[0]
    joints = np.insert(body.skeleton.joints, 1, [0.0, 0.0, 3.0], axis=0)
    return Rig(np.array([-1, 0, 1]), joints, body.vertices, np.insert(body.weights, 1, 0.0, axis=1))


def test_the_bones_are_those_of_the_rig() -> None:
    truth = arm()[0]
    found = brought(arms_rig().carrying(40), truth.vertices)
    hinge = found.skeleton.joints[1]
    np.testing.assert_allclose(hinge, truth.skeleton.joints[1])
    outer = 1 if found.weights[truth.vertices[:, 0] > 0.4, 1].mean() > 0.5 else 0
    np.testing.assert_allclose(found.weights[:, outer], truth.weights[:, 1], atol=1e-3)


def test_a_mesh_with_a_rig_bends_at_its_hinge(tmp_path: Path) -> None:
    truth, faces, colours = arm()
    poses = bent(0.2 * np.arange(4), np.array([0.0, 0.0, 1.0]))
    shapes = truth.posed(poses)
    mesh = Mesh(torch.tensor(truth.vertices).float(), torch.tensor(faces), colors=torch.tensor(colours).float())
    every = np.ones(4, bool)
    errors = []
    for rig in (None, arms_rig()):
        settings = changed(PartsSettings(), {"side": 32, "chunks.chunks": 3, "rig.rounds": 0})
        follower = PartsFollower(mesh, film(shapes, faces, tmp_path), 0, every, every, settings, rig=rig)
        errors.append(np.abs(drain(follower.follow()) - shapes)[..., :2].mean())
    assert errors[1] < 0.7 * errors[0]
    assert errors[1] < 0.5 * np.abs(shapes - shapes[:1])[..., :2].mean()


def test_a_rig_of_one_bone_leaves_the_mesh_to_be_cut_up(tmp_path: Path) -> None:
    truth, faces, _ = arm()
    mesh, every = Mesh(torch.tensor(truth.vertices).float(), torch.tensor(faces)), np.ones(2, bool)
    rig = Rig(np.array([-1, 0]), np.zeros((2, 3)), truth.vertices, np.eye(2)[np.zeros(len(truth.vertices), int)])
    clip = film(np.repeat(truth.vertices[None], 2, axis=0), faces, tmp_path)
    settings = changed(PartsSettings(), {"side": 32, "chunks.chunks": 3})
    assert len(PartsFollower(mesh, clip, 0, every, every, settings, rig=rig).body.skeleton) == 3
