"""Following a mesh through a video whose true shapes are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from tests.geometry.test_embedded_deformation import bent, tube
from tests.stages.registration.test_correspondences import picture
from tests.thread_counts import on_one_and_more
from v2m4.clip import Clip
from v2m4.events import Progress, ShapeFollowed, StageRun, drain
from v2m4.geometry.camera import Camera
from v2m4.geometry.embedded_deformation import Pose
from v2m4.geometry.mesh import Mesh
from v2m4.settings import FollowVideoSettings, RigidMotionSettings, changed
from v2m4.stages.registration.video import TrackerState, VideoTracker, constant_velocity, robust_rigid_motion

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


def tracker(shapes: Array, faces: Array, clip: Clip, anchor: int, seed: int = 0) -> VideoTracker:
    mesh = Mesh(torch.tensor(shapes[anchor]).float(), torch.tensor(faces))
    return VideoTracker(mesh, clip, anchor, SETTINGS, seed=seed)


def error(found: Array, wanted: Array) -> float:
    return float(np.linalg.norm(found - wanted, axis=1).mean())


@pytest.mark.parametrize("anchor", [0, 5])
def test_a_bend_is_followed_forwards_and_backwards(tmp_path: Path, anchor: int) -> None:
    shapes, faces = truth(6)
    track = tracker(shapes, faces, film(shapes, faces, tmp_path), anchor)
    target = 5 - anchor
    state = drain(track.follow(track.start(), anchor, target))
    assert state.vertices.shape == shapes[0].shape
    assert error(state.vertices, shapes[target]) < 0.2 * error(shapes[anchor], shapes[target])


def test_the_points_drawn_from_the_surface_decide_nothing(tmp_path: Path) -> None:
    """A round rod's plane of symmetry, in particular, is any plane through its axis."""
    shapes, faces = truth(4)
    clip = film(shapes, faces, tmp_path)
    trackers = (tracker(shapes, faces, clip, 0, seed) for seed in range(3))
    first, *others = (drain(each.follow(each.start(), 0, 3)).vertices for each in trackers)
    for other in others:
        assert error(other, first) < 0.05 * error(shapes[0], shapes[3])


def turned(vertices: Array, angle: float) -> Array:
    """The half with x > 0 swings towards the camera."""
    share, middle = 1 / (1 + np.exp(-vertices[:, 0] / 0.05)), np.array([0.0, 0.0, 3.0])
    return Rotation.from_rotvec(np.outer(share * angle, [0, 1, 0])).apply(vertices - middle) + middle


def test_all_frames_together_tell_a_turn_out_of_the_picture(tmp_path: Path) -> None:
    vertices, faces = tube(24, 12, length=1.4, radius=0.13)
    shapes = np.stack([turned(vertices, 0.12 * t) for t in range(8)])
    clip = film(shapes, faces, tmp_path)
    alone = changed(SETTINGS, {"parts.rounds": 0})
    mesh = Mesh(torch.tensor(vertices).float(), torch.tensor(faces))
    found = [drain(VideoTracker(mesh, clip, 0, numbers).follow_clip()) for numbers in (alone, SETTINGS)]
    assert found[0].shape == shapes.shape
    frame_by_frame, together = (error(each[7], shapes[7]) for each in found)
    assert together < 0.7 * frame_by_frame


@pytest.mark.parametrize("rounds", [0, 2])
def test_shapes_are_told_as_they_are_found_and_the_share_done_is_true(tmp_path: Path, rounds: int) -> None:
    shapes, faces = truth(5)
    settings = changed(SETTINGS, {"parts.rounds": rounds, "parts.side": 16})
    mesh = Mesh(torch.tensor(shapes[2]).float(), torch.tensor(faces))
    steps = VideoTracker(mesh, film(shapes, faces, tmp_path), 2, settings).follow_clip(shown=(0, 2, 4))
    events = list(steps)
    told = [e for e in events if isinstance(e, ShapeFollowed)]
    shares = [e.fraction for e in events if isinstance(e, Progress)]
    assert [e.frame for e in told[:3]] == [2, 4, 0]
    assert all(e.vertices.shape == shapes[0].shape for e in told)
    assert error(told[1].vertices, shapes[4]) < 0.3 * error(shapes[2], shapes[4])
    # Nothing is left when the last frame begins but that frame, or the share of the second way.
    assert shares == sorted(shares) and shares[-1] >= (1.0 if rounds else 0.75)
    assert len(told) > 3 if rounds else len(told) == 3


def test_where_its_own_bones_do_not_fit_the_mesh_is_parted_by_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the share done only grows."""

    class Follower:
        def __init__(self, *given: Any) -> None:
            self.moved = np.full((3, 4, 3), 1.0 if given[-1] is None else 2.0)

        def follow(self, shown: Any) -> StageRun[np.ndarray]:
            yield Progress("motion", 0.5)
            yield Progress("motion", 1.0)
            return self.moved

        def prefers(self, found: np.ndarray, first: np.ndarray) -> bool:
            unlike = {0.0: 1.0, 1.0: 0.3, 2.0: 0.99}  # as before, by shape, by bones
            return unlike[float(found.mean())] <= 0.5 * unlike[float(first.mean())]

    monkeypatch.setattr("v2m4.stages.registration.parts.follower.PartsFollower", Follower)
    tracker: Any = SimpleNamespace(
        mesh=Mesh(torch.zeros(4, 3), torch.tensor([[0, 1, 2]])),
        start_vertices=np.zeros((4, 3)),
        clip=None,
        anchor=0,
        rig="bones",
        _mirror=(np.ones(3), 1.0),
        plane_stands=lambda shapes: 1.0,
        settings=FollowVideoSettings(),
        sightings=SimpleNamespace(of=lambda index: SimpleNamespace(seen=True)),
        _goes_on=lambda index: True,
    )
    found = list[np.ndarray]()

    def whole() -> Iterator[Any]:
        found.append((yield from VideoTracker._of_parts(tracker, np.zeros((3, 4, 3)), ())))

    shares = [event.fraction for event in whole()]
    assert found[0].mean() == 1.0
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_an_empty_frame_is_gone_over_by_all_frames_together(tmp_path: Path) -> None:
    shapes, faces = truth(5)
    clip = film(shapes, faces, tmp_path)
    Image.fromarray(np.zeros((SIDE, SIDE, 4), np.uint8)).save(clip.path(2))
    followed = drain(tracker(shapes, faces, clip, 4).follow_clip())
    assert np.isfinite(followed).all()
    assert error(followed[0], shapes[0]) < 0.35 * error(shapes[4], shapes[0])


def test_at_the_anchor_the_mesh_stays(tmp_path: Path) -> None:
    shapes, faces = truth(1)
    state = tracker(shapes, faces, film(shapes, faces, tmp_path), 0).start()
    assert error(state.vertices, shapes[0]) < 0.01


def test_the_state_survives_the_disk_and_another_tracker_goes_on(tmp_path: Path) -> None:
    shapes, faces = truth(3)
    clip = film(shapes, faces, tmp_path)
    first = tracker(shapes, faces, clip, 0)
    half = drain(first.follow(first.start(), 0, 1))
    np.savez(tmp_path / "state.npz", **vars(half))
    with np.load(tmp_path / "state.npz") as data:
        again = TrackerState(**dict(data))
    straight = drain(first.follow(half, 1, 2))
    resumed = drain(tracker(shapes, faces, clip, 0).follow(again, 1, 2))
    np.testing.assert_allclose(resumed.vertices, straight.vertices, atol=1e-9)


def test_an_empty_frame_does_not_ruin_the_rest(tmp_path: Path) -> None:
    shapes, faces = truth(5)
    clip = film(shapes, faces, tmp_path)
    Image.fromarray(np.zeros((SIDE, SIDE, 4), np.uint8)).save(clip.path(2))
    track = tracker(shapes, faces, clip, 0)
    state = drain(track.follow(track.start(), 0, 4))
    assert np.isfinite(state.vertices).all()
    assert error(state.vertices, shapes[4]) < 0.3 * error(shapes[0], shapes[4])


def test_following_tells_how_far_it_is(tmp_path: Path) -> None:
    shapes, faces = truth(3)
    track = tracker(shapes, faces, film(shapes, faces, tmp_path), 0)
    events = list(track.follow(track.start(), 0, 2))
    fractions = [e.fraction for e in events if isinstance(e, Progress)]
    assert len(fractions) == 2 * SETTINGS.rounds
    assert fractions == sorted(fractions) and fractions[0] > 0 and fractions[-1] < 1


def test_the_motion_of_the_whole_is_found_although_a_limb_swings() -> None:
    rng = np.random.default_rng(0)
    before = rng.standard_normal((60, 3))
    turn, shift = Rotation.from_rotvec([0.0, 0.6, 0.0]), np.array([0.3, -0.2, 0.5])
    now = turn.apply(before) + shift
    now[:12] += [0.0, 0.8, 0.0]  # the limb
    believed = RigidMotionSettings(small_turn=0.0)
    rotation, moved = robust_rigid_motion(before, now, 4.0, believed, 0.0)
    np.testing.assert_allclose(rotation, turn.as_matrix(), atol=0.01)
    np.testing.assert_allclose(moved, shift, atol=0.02)
    rotation, moved = robust_rigid_motion(before, now, 4.0, RigidMotionSettings(small_turn=1.0), 1.0)
    np.testing.assert_allclose(rotation, np.eye(3), atol=1e-12)  # a turn this small is not believed
    assert moved[2] == 0  # nor is any shift in depth


def test_a_motion_goes_on_at_the_share_that_is_asked() -> None:
    first, second = Rotation.from_rotvec([[0.1, 0.0, 0.2]]), Rotation.from_rotvec([[0.3, 0.1, 0.0]])
    start = Pose(first.as_matrix(), np.array([[1.0, 2.0, 3.0]]))
    last = Pose((second * first).as_matrix(), np.array([[1.5, 2.0, 2.0]]))
    onward = constant_velocity(start, last, 1.0)
    np.testing.assert_allclose(onward.rotations, (second * second * first).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(onward.positions, [[2.0, 2.0, 1.0]])
    still = constant_velocity(start, last, 0.0)
    np.testing.assert_allclose(still.rotations, last.rotations, atol=1e-12)
    np.testing.assert_allclose(still.positions, last.positions)


def test_an_object_that_left_the_picture_is_found_anew(tmp_path: Path) -> None:
    shapes, faces = truth(3)
    # Out to the right, and back from the left: shifts in widths of the picture at the object's depth.
    shifts = [0, 0.3, 0.6, 5, 5, -0.6, -0.3, 0]
    wide = float(shapes[0][:, 2].mean()) / Camera.identity().focal
    path = np.stack([shapes[int(i > 4)] + [shift * wide, 0, 0] for i, shift in enumerate(shifts)])
    clip = film(path, faces, tmp_path)
    assert [bool(clip.frame(i)[..., 3].any()) for i in (2, 3, 4, 5)] == [True, False, False, True]
    follow = tracker(path, faces, clip, 0)
    gone = drain(follow.follow(follow.start(), 0, 2))
    state = drain(follow.follow(gone, 2, 7))
    assert error(state.vertices, path[7]) < 0.1 * wide


def about_axis(axis: Array, angles: list[float]) -> Array:
    """Rotations (T,3,3) about an axis (3,)."""
    return Rotation.from_rotvec(np.outer(angles, axis)).as_matrix()


def test_a_plane_of_symmetry_stands_still_unless_the_body_turns_it(tmp_path: Path) -> None:
    shapes, faces = truth(3)
    follower = tracker(shapes, faces, film(shapes, faces, tmp_path), 0)
    sideways, middle = np.array([0.0, 0.0, 1.0]), shapes[0].mean(axis=0)
    follower.__dict__["_mirror"] = (sideways, 1.0)
    ways = {"pitches": sideways, "yaws": np.array([0.0, 1.0, 0.0])}
    rounds = {
        way: np.stack([(shapes[0] - middle) @ turn.T + middle for turn in about_axis(axis, [0.0, 0.4, 0.8])])
        for way, axis in ways.items()
    }
    assert follower.plane_stands(rounds["pitches"]) > 0.9 and follower.plane_stands(rounds["yaws"]) == 0.0


def test_the_surface_is_fitted_to_each_frame_without_shaking(tmp_path: Path) -> None:
    shapes, faces = truth(5)
    follower = tracker(shapes, faces, film(shapes, faces, tmp_path), 2)
    fitted = drain(follower.settled(shapes, range(5)))
    assert max(error(found, wanted) for found, wanted in zip(fitted, shapes, strict=True)) < 0.02
    bent = [np.linalg.norm(np.diff(poses, n=2, axis=0), axis=2).mean() for poses in (shapes, fitted)]
    assert bent[1] <= 1.2 * bent[0]


def test_any_number_of_threads_follows_and_fits_alike(tmp_path: Path) -> None:
    shapes, faces = truth(3)
    clip = film(shapes, faces, tmp_path)
    beside = shapes + 0.01 * np.ptp(shapes[0], axis=0)
    without_parts = changed(SETTINGS, {"parts.rounds": 0})

    def found() -> tuple[Array, Array]:
        mesh = Mesh(torch.tensor(shapes[1]).float(), torch.tensor(faces))
        follower = VideoTracker(mesh, clip, 1, without_parts)
        return drain(follower.follow_clip()), drain(follower.settled(beside, range(3)))

    alone, several = on_one_and_more(found)
    assert all((one == other).all() for each in several for one, other in zip(alone, each, strict=True))
