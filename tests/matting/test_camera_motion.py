"""A camera that shakes and turns: where each frame lies, what the background is then, and when it cannot be told."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.matting.scenes import SIDE, clutter, film, panorama, pass_by, shaken, turned
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import drain
from v2m4.masks import mask_iou
from v2m4.matting.camera_motion import CameraMotion, canvas_of, lay, refine
from v2m4.matting.stage import cut_out
from v2m4.settings import CameraMotionSettings, MattingSettings, changed
from v2m4.video import write_png

MOTION = MattingSettings(method="motion")
CORNERS = np.array([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]], np.float32)


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return cv2.perspectiveTransform(points[None].astype(np.float64), matrix)[0]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """By how many pixels two homographies differ at the picture's corners."""
    return float(np.abs(moved(a, CORNERS) - moved(b, CORNERS)).max())


def overlaps(clip: Clip, masks) -> list[float]:
    return [mask_iou(clip.frame(i)[..., 3] > 127, mask) for i, mask in enumerate(masks)]


@given(yaw=st.floats(-0.05, 0.05), pitch=st.floats(-0.05, 0.05), roll=st.floats(-0.05, 0.05), seed=st.integers(0, 99))
def test_a_short_turn_is_found_although_every_fourth_corner_goes_its_own_way(yaw, pitch, roll, seed):
    rng = np.random.default_rng(seed)
    truth = turned(yaw, pitch, roll)
    points = rng.uniform(0, SIDE, (120, 2)).astype(np.float32)
    targets = moved(truth, points).astype(np.float32)
    targets[::4] += rng.uniform(8, 30, (30, 2)).astype(np.float32)
    step, _ = cv2.estimateAffinePartial2D(points, targets, method=cv2.RANSAC, ransacReprojThreshold=4.0)
    found = refine(np.vstack([step, [0, 0, 1]]), points, targets, SIDE, 0.8, CameraMotionSettings())
    assert apart(found, truth) < 0.1


def test_corners_in_one_strip_do_not_bend_the_rest_of_the_picture():
    rng = np.random.default_rng(0)
    truth = turned(0.03, -0.02, 0.01)
    points = (rng.uniform(0, 1, (40, 2)) * (SIDE, 0.2 * SIDE) + (0, 0.8 * SIDE)).astype(np.float32)
    targets = (moved(truth, points) + rng.normal(0, 0.15, points.shape)).astype(np.float32)
    free, _ = cv2.findHomography(points, targets)
    held = refine(np.eye(3), points, targets, SIDE, 0.8, CameraMotionSettings())
    assert apart(held, truth) < 1.0 < apart(free, truth)


def views(places: list[np.ndarray]) -> list[np.ndarray]:
    """What a camera at the ``places`` (3,3), from pictures to the world, sees of the panorama."""
    world = panorama()
    margin = np.array([[1, 0, (SIDE - world.shape[1]) / 2], [0, 1, (SIDE - world.shape[0]) / 2], [0, 0, 1]])
    return [
        cv2.warpPerspective(world, np.linalg.inv(place) @ margin, (SIDE, SIDE)).round().clip(0, 255).astype(np.uint8)
        for place in places
    ]


def test_frames_are_placed_to_a_fraction_of_a_pixel_the_ones_between_included():
    places = shaken(0.04, 9)
    middle = np.linalg.inv(places[4])
    frames = views(places)
    camera = CameraMotion(CameraMotionSettings())
    assert drain(camera.follow([0, 2, 4, 6, 8], frames[::2]))
    found = [camera.placed(i) if i % 2 == 0 else camera.place(i, frames[i]) for i in range(9)]
    assert max(apart(f, middle @ p) for f, p in zip(found, places, strict=True)) < 0.6
    assert camera.placed(3) is None and camera.nearest(9) is camera.placed(8)


def test_a_jump_too_far_for_following_corners_is_bridged_by_matched_features():
    places = [turned(0, 0, 0), turned(0.15, 0.05, 0.2), turned(0.0, 0.01, 0)]
    camera = CameraMotion(CameraMotionSettings())
    assert drain(camera.follow([0, 1, 2], views(places)))
    # Where the two pictures overlap; elsewhere nothing says how they go on.
    both = np.stack(np.meshgrid(*[np.arange(0, SIDE, 16.0)] * 2), axis=-1).reshape(-1, 2)
    truth = moved(np.linalg.inv(places[1]) @ places[0], both)
    inside = ((truth > 0) & (truth < SIDE)).all(1)
    assert inside.sum() > 20
    assert np.abs(moved(camera.placed(0), both) - truth)[inside].mean() < 0.8


def test_noise_and_an_object_that_moves_do_not_make_a_still_camera_move(tmp_path):
    clip, _ = film(tmp_path / "frames", clutter(), frames=8, travel=3.0, noise=4)
    frames = [clip.frame(i)[..., :3] for i in range(8)]
    assert not drain(CameraMotion(CameraMotionSettings()).follow(range(8), frames))


def test_a_mosaic_shows_each_place_once_and_knows_what_it_saw():
    places = [turned(0.1 * t, 0, 0) for t in (-1, 0, 1)]
    mosaic = lay(views(places), places)
    _, (width, height) = canvas_of(places, (SIDE, SIDE))
    assert mosaic.frames.shape == (3, height, width, 3) and width > 1.15 * SIDE
    both = mosaic.seen[0] & mosaic.seen[2]
    assert 0.5 * SIDE**2 < both.sum() < 0.9 * SIDE**2
    assert np.abs(mosaic.frames[0].astype(int) - mosaic.frames[2])[both].mean() < 4
    assert not mosaic.seen[0, :, -5:].any()


PATHS = {
    "shake 2 %": shaken(0.02, 16),
    "shake 4 %": shaken(0.04, 16),
    "pan 30 %": [turned(yaw, 0, 0) for yaw in np.linspace(-0.13, 0.13, 16)],
}


@pytest.mark.parametrize("places", PATHS.values(), ids=PATHS)
def test_a_moving_object_before_a_far_background_although_the_camera_moves(tmp_path, places):
    clip, masks = pass_by(tmp_path / "frames", places)
    matte = drain(cut_out(clip, tmp_path / "masked", MOTION))
    assert np.mean(overlaps(matte.clip, masks)) > 0.95 and min(overlaps(matte.clip, masks)) > 0.9


def refilm(clip: Clip, frames: list[np.ndarray]) -> Clip:
    for i, frame in enumerate(frames):
        write_png(clip.path(i), np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]))
    return clip


def test_a_still_life_that_only_the_camera_moves_past_is_refused_in_those_words(tmp_path):
    clip, _ = film(tmp_path / "frames", clutter(), frames=8)
    with pytest.raises(V2M4Error, match=r"Nothing moves in walker but the camera.*transparency.*rembg"):
        drain(cut_out(refilm(clip, views(shaken(0.03, 8))), tmp_path / "masked", MOTION))


def test_near_and_far_things_that_shift_against_each_other_are_refused_with_a_way_out(tmp_path):
    clip, _ = film(tmp_path / "frames", clutter(), frames=8)
    far, near = panorama().astype(np.uint8), panorama(7).astype(np.uint8)
    gaps = (np.indices(far.shape[:2]) // 24).sum(0) % 2 == 0
    frames = []
    for i in range(8):
        fast, slow = (np.s_[40 : 40 + SIDE, at : at + SIDE] for at in (4 + 9 * i, 30 + 3 * i))
        frames.append(np.where(gaps[fast][..., None], near[fast], far[slow]))
    with pytest.raises(V2M4Error, match=r"in walker.*(near|plain).*Film from one place.*transparency"):
        drain(cut_out(refilm(clip, frames), tmp_path / "masked", MOTION))


def test_a_camera_that_turns_too_far_is_refused_with_the_setting(tmp_path):
    clip, _ = pass_by(tmp_path / "frames", [turned(y, 0, 0) for y in np.linspace(-0.13, 0.13, 8)])
    tight = changed(MOTION, {"motion.camera.most_canvas": 1.1})
    with pytest.raises(V2M4Error, match=r"turns too far.*most-canvas"):
        drain(cut_out(replace(clip), tmp_path / "masked", tight))
