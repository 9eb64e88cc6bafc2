"""A gait that is alike on both sides shows every pose from two sides, which tells how the body sways in depth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.geometry.test_embedded_deformation import tube
from tests.stages.registration.parts.arm import LIGHT, SETTINGS
from v2m4.settings import GaitSettings
from v2m4.stages.registration.parts.clip_fit import ClipFit
from v2m4.stages.registration.parts.gait import GaitFit, Stride, StrideEquations, StrideSearch, Views, gait_of
from v2m4.stages.registration.parts.pose_fit import Body, PoseFit
from v2m4.stages.registration.parts.search import MotionSearch
from v2m4.stages.registration.parts.skeleton import Poses, Skeleton
from v2m4.stages.registration.parts.synthesis import Synthesis

Array = np.ndarray
ACROSS = np.array([np.sin(0.7), 0.0, np.cos(0.7)])  # of the walker's plane, 40 degrees from the view
ALONG = np.array([np.cos(0.7), 0.0, -np.sin(0.7)])
MIDDLE = np.array([0.0, 0.0, 3.0])
PERIOD, FRAMES = 10, 20


@cache
def walker() -> tuple[Body, Array, Array]:
    """A trunk with two legs side by side; its faces and colours."""
    trunk, inwards = tube(6, 10, length=0.7, radius=0.16)
    leg = tube(6, 10, length=0.5, radius=0.06)[0]
    axes = np.stack([ALONG, [0.0, 1.0, 0.0], ACROSS])  # rows: where x, y and z of a tube go
    upright = axes[[1, 0, 2]]
    parts = [(trunk - MIDDLE) @ axes + MIDDLE]
    parts += [(leg - MIDDLE) @ upright + MIDDLE + [0, 0.4, 0] + side * 0.12 * ACROSS for side in (1, -1)]
    vertices = np.concatenate(parts)
    faces = np.concatenate([inwards[:, ::-1] + k * len(trunk) for k in range(3)])
    weights = np.repeat(np.eye(3), len(trunk), axis=0)
    hips = np.array([MIDDLE, *(MIDDLE + [0, 0.15, 0] + side * 0.12 * ACROSS for side in (1, -1))])
    colours = 0.5 + 0.3 * np.sin(9 * ((vertices - MIDDLE) @ ALONG)[:, None] + 7 * vertices[:, 1:2] + np.arange(3))
    return Body(Skeleton(np.array([-1, 0, 0]), hips), vertices, weights), faces, colours


def walk(sway: float, same: bool = False) -> Poses:
    """Poses (T) whose legs swing by turns (or together) and whose trunk goes from side to side by ``sway``."""
    phase = 2 * np.pi * np.arange(FRAMES) / PERIOD
    steps = np.zeros((FRAMES, 12))
    steps[:, :3] = sway * (np.cos(phase) - 1)[:, None] * ACROSS
    steps[:, 6:9] = 0.5 * np.sin(phase)[:, None] * ACROSS
    steps[:, 9:] = steps[:, 6:9] * (1 if same else -1)
    return Poses.rest(walker()[0].skeleton, FRAMES).moved(steps)


def levels(truth: Poses) -> list[ClipFit]:
    """Clips of it in small and larger pictures."""
    body, faces, colours = walker()
    corners, out = np.tile([0.2, 0.25], (FRAMES, 1)), []
    for side in (24, 40):
        synthesis = Synthesis(faces, colours, LIGHT, 0.6, side)
        pictures = synthesis.pictures(body.posed(truth), corners)
        valid, seen = np.ones((FRAMES, side, side), np.float32), np.ones(FRAMES, bool)
        fit = PoseFit(body, synthesis, pictures, corners, valid, seen, SETTINGS)
        out.append(ClipFit(fit, 0, np.ones(FRAMES, bool), ACROSS))
    return out


def search(clip: ClipFit, shapes: Array) -> StrideSearch:
    return StrideSearch(clip.fit.colourless().flipped(), shapes, clip.joined, ACROSS, GaitSettings())


def sideways_error(found: Poses, truth: Poses) -> float:
    return float(np.abs((found.shifts - truth.shifts) @ ACROSS).mean())


def test_a_flipped_camera_sees_flipped_shapes_as_it_saw_the_others() -> None:
    clip = levels(walk(0.0))[1]
    shapes, frames = walker()[0].posed(walk(0.1)), np.arange(FRAMES)
    direct = clip.fit.vertex_energies(shapes, frames)
    mirrored = clip.fit.flipped()
    mirrored.synthesis.faces = mirrored.synthesis.faces[:, ::-1].copy()  # outsides stay outside
    np.testing.assert_allclose(mirrored.vertex_energies(shapes * [-1, 1, 1], frames), direct, rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("steps", [np.zeros(5), np.array([0.1, -0.2, 0.05, 0.1, -0.1])])
def test_poses_are_carried_as_their_shapes_are(steps: Array) -> None:
    body = walker()[0]
    stride = Stride(5.0, ACROSS, float(MIDDLE @ ACROSS), np.zeros(3), MIDDLE).moved(steps, 1.0)
    poses = walk(0.1)
    np.testing.assert_allclose(
        body.posed(stride.posed(body.skeleton, poses)), stride.seen(body.posed(poses)), atol=1e-9
    )


def test_later_and_back_again_is_where_it_was() -> None:
    points = np.random.default_rng(0).normal(size=(5, 3)) + MIDDLE
    stride = Stride(5.0, ACROSS, 1.7, 0.3 * ALONG, MIDDLE)
    unflipped = [1 - 2 * np.eye(3)[0]]
    there = stride.seen(points) * unflipped
    np.testing.assert_allclose(stride.back().seen(there) * unflipped, points, atol=1e-12)


@pytest.mark.parametrize(("lag", "shown"), [(2.0, [0, 1, 2]), (1.5, [0.5, 1.5, 2.5]), (-2.0, [2, 3, 4])])
def test_frames_show_the_poses_a_lag_before_them(lag: float, shown: list[float]) -> None:
    views = Views.of(lag, np.ones(5, bool), np.ones(5, bool))
    np.testing.assert_allclose(views.first + views.share, shown)
    np.testing.assert_allclose(views.frames, np.array(shown) + lag)


def test_a_stride_is_found_with_its_plane() -> None:
    truth = walk(0.1)
    clip = levels(truth)[0]
    stride = search(clip, clip.fit.body.posed(truth)).found()
    assert stride is not None
    assert stride.lag == PERIOD / 2
    assert abs(stride.normal @ ACROSS) > np.cos(np.radians(2))
    assert abs(stride.offset - (MIDDLE @ ACROSS - 0.1)) < 0.02  # amidst what the trunk sways


def test_the_other_side_tells_how_the_body_sways() -> None:
    truth, still = walk(0.1), walk(0.0)
    clips = levels(truth)
    start = clips[-1].together(still, 8)
    gait = gait_of(clips[0].fit, clips[1], start)
    assert isinstance(gait, GaitFit)
    found = gait.together(start, 20)
    assert sideways_error(found, truth) < 0.4 * sideways_error(start, truth)
    assert gait.sway(found) > 0.03


def test_the_anchor_stays_where_it_is_known_to_be_and_the_others_with_it() -> None:
    """A mesh that is a little too large would go away with all its frames."""
    truth, larger = walk(0.1), replace(walker()[0], vertices=1.01 * (walker()[0].vertices - MIDDLE) + MIDDLE)
    small, clip = (ClipFit(each.fit.with_parts(larger), 0, each.joined, ACROSS) for each in levels(truth))
    start = clip.together(walk(0.0), 8)
    gait = gait_of(small.fit, clip, start)
    assert gait is not None
    found = gait.together(start, 20)
    np.testing.assert_allclose(found.shifts[0], 0.0, atol=1e-3)
    assert sideways_error(found, truth) < 0.2 * sideways_error(start, truth)


@pytest.mark.parametrize(("sway", "together"), [(0.0, False), (0.1, True), (0.0, True)])
def test_a_gait_without_sway_or_stride_keeps_its_poses(sway: float, together: bool) -> None:
    truth = walk(sway, together)
    poses = MotionSearch(levels(truth)).in_stride(truth)
    np.testing.assert_array_equal(poses.turns, truth.turns)


def test_banded_equations_with_shared_numbers_are_solved_as_dense_ones() -> None:
    rng, count, size, shared, damping = np.random.default_rng(0), 5, 4, 2, 0.1
    total = count * size + shared
    dense = np.eye(total) * 30 + 0.3 * sum(np.outer(v, v) for v in rng.normal(size=(6, total)))
    blocks = dense[:-shared, :-shared].reshape(count, size, count, size)
    for i in range(count):
        for j in range(count):
            if abs(i - j) == 2:
                blocks[i, :, j] *= np.eye(size)
            elif abs(i - j) > 2:
                blocks[i, :, j] = 0
    dense[:-shared, :-shared] = blocks.reshape(count * size, -1)
    gradient = rng.normal(size=total)
    beside, two = np.zeros((count, size, size)), np.zeros((2 * size + 1, count, size))
    for frame in range(1, count):
        beside[frame] = blocks[frame - 1, :, frame]
    for frame in range(2, count):
        two[0, frame] = np.diag(blocks[frame - 2, :, frame])
    equations = StrideEquations(
        two.reshape(2 * size + 1, -1),
        np.stack([blocks[k, :, k] for k in range(count)]),
        beside,
        gradient[:-shared].reshape(count, size),
        dense[:-shared, -shared:].reshape(count, size, shared),
        dense[-shared:, -shared:],
        gradient[-shared:],
    )
    steps, common = equations.steps(damping)
    wanted = -np.linalg.solve(dense + damping * np.diag(np.diag(dense)), gradient)
    np.testing.assert_allclose(np.concatenate([steps.ravel(), common]), wanted, rtol=1e-4, atol=1e-6)
