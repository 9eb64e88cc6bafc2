"""Following a mesh through a video whose true shapes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.geometry.test_deformation import bent, tube
from tests.stages.registration.test_correspondences import picture
from v2m4.clip import Clip
from v2m4.events import Progress, drain
from v2m4.geometry.mesh import Mesh
from v2m4.settings import FollowVideoSettings, changed
from v2m4.stages.registration.video import Follower, FollowState

Array = np.ndarray
SIDE = 128
SETTINGS = changed(FollowVideoSettings(), {"size": SIDE, "nodes": 40, "fit.size": SIDE, "fit.rounds": 1})


def truth(frames: int) -> tuple[Array, Array]:
    """(T,V,3) a tube of two bones that bends across the view."""
    vertices, faces = tube(24, 12, length=1.4, radius=0.13)
    return np.stack([bent(vertices, 0.18 * t) for t in range(frames)]), faces


def film(shapes: Array, faces: Array, folder: Path) -> Clip:
    """The clip of a patterned surface."""
    rest = shapes[0]
    painted = 150 + 60 * np.sin(18 * rest[:, 0]) + 30 * np.cos(40 * rest[:, 1])
    count = len(shapes)
    clip = Clip(folder, "tube", tuple(t / 10 for t in range(count)), count / 10, SIDE, (SIDE, SIDE), 1.0, (0, 0), True)
    for t, vertices in enumerate(shapes):
        Image.fromarray(picture(vertices, faces, painted, SIDE)).save(clip.path(t))
    return clip


def follower(shapes: Array, faces: Array, clip: Clip, anchor: int) -> Follower:
    return Follower(Mesh(torch.tensor(shapes[anchor]).float(), torch.tensor(faces)), clip, anchor, SETTINGS)


def error(found: Array, wanted: Array) -> float:
    return float(np.linalg.norm(found - wanted, axis=1).mean())


@pytest.mark.parametrize("anchor", [0, 5])
def test_a_bend_is_followed_forwards_and_backwards(tmp_path: Path, anchor: int) -> None:
    shapes, faces = truth(6)
    follow = follower(shapes, faces, film(shapes, faces, tmp_path), anchor)
    target = 5 - anchor
    state = drain(follow.follow(follow.start(), anchor, target))
    assert state.vertices.shape == shapes[0].shape
    assert error(state.vertices, shapes[target]) < 0.2 * error(shapes[anchor], shapes[target])


def test_at_the_anchor_the_mesh_stays(tmp_path: Path) -> None:
    shapes, faces = truth(1)
    state = follower(shapes, faces, film(shapes, faces, tmp_path), 0).start()
    assert error(state.vertices, shapes[0]) < 0.01


def test_the_state_survives_the_disk_and_another_follower_goes_on(tmp_path: Path) -> None:
    shapes, faces = truth(3)
    clip = film(shapes, faces, tmp_path)
    first = follower(shapes, faces, clip, 0)
    half = drain(first.follow(first.start(), 0, 1))
    np.savez(tmp_path / "state.npz", **vars(half))
    with np.load(tmp_path / "state.npz") as data:
        again = FollowState(**dict(data))
    straight = drain(first.follow(half, 1, 2))
    resumed = drain(follower(shapes, faces, clip, 0).follow(again, 1, 2))
    np.testing.assert_allclose(resumed.vertices, straight.vertices, atol=1e-9)


def test_an_empty_frame_does_not_ruin_the_rest(tmp_path: Path) -> None:
    shapes, faces = truth(5)
    clip = film(shapes, faces, tmp_path)
    Image.fromarray(np.zeros((SIDE, SIDE, 4), np.uint8)).save(clip.path(2))
    follow = follower(shapes, faces, clip, 0)
    state = drain(follow.follow(follow.start(), 0, 4))
    assert np.isfinite(state.vertices).all()
    assert error(state.vertices, shapes[4]) < 0.3 * error(shapes[0], shapes[4])


def test_following_tells_how_far_it_is(tmp_path: Path) -> None:
    shapes, faces = truth(3)
    follow = follower(shapes, faces, film(shapes, faces, tmp_path), 0)
    events = list(follow.follow(follow.start(), 0, 2))
    fractions = [e.fraction for e in events if isinstance(e, Progress)]
    assert len(fractions) == 2 * SETTINGS.rounds
    assert fractions == sorted(fractions) and fractions[0] > 0 and fractions[-1] < 1
