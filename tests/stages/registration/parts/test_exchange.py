"""Two legs that were taken for one another between two meetings are exchanged; what is right stays."""

from __future__ import annotations

import numpy as np
import pytest

from tests.geometry.test_embedded_deformation import tube
from tests.stages.registration.parts.arm import LIGHT, SETTINGS, WIDTH
from v2m4.settings import changed
from v2m4.stages.registration.parts.clip_fit import ClipFit
from v2m4.stages.registration.parts.exchange import Exchange, Pair, limbs_of
from v2m4.stages.registration.parts.pose_fit import Body, PoseFit
from v2m4.stages.registration.parts.search import MotionSearch
from v2m4.stages.registration.parts.skeleton import Poses, Skeleton
from v2m4.stages.registration.parts.synthesis import Synthesis

Array = np.ndarray
FRAMES = 20
SWINGS = 0.6 * np.sin(2 * np.pi * np.arange(FRAMES) / (FRAMES - 1))  # at rest in the anchor; they meet half way
CORNER = np.array([0.15, 0.3])


def walker(cuts: tuple[int, int] = (1, 2)) -> tuple[Body, Array, Array]:
    """A trunk along x with two legs that hang down (y), the second one further away and darker; its faces and colours.
    cuts: parts that each leg is made of, one below the other."""
    bar, inwards = tube(10, 12, length=0.7, radius=0.1)
    leg, _ = tube(12, 8, length=0.6, radius=0.05)
    leg = np.stack([leg[:, 1], leg[:, 0] + 0.3, leg[:, 2]], axis=1)  # from y = 0 down
    faces = [inwards[:, ::-1]]
    vertices, weights = [bar], [np.zeros(len(bar), np.int64)]
    parents, joints = [-1], [np.array([0.0, 0.0, 3.0])]
    shades = [np.full(len(bar), 0.6)]
    for cut, depth, tone in zip(cuts, (-0.09, 0.09), (0.8, 0.4), strict=True):
        hip, first = np.array([0.0, 0.02, 3.0 + depth]), len(parents)
        for k in range(cut):
            parents.append(0 if k == 0 else len(parents) - 1)
            joints.append(hip + np.array([0, 0.6 * k / cut, 0]))
        faces.append(tube(12, 8, length=0.6, radius=0.05)[1] + sum(map(len, vertices)))
        weights.append(first + np.minimum(leg[:, 1] / 0.6 * cut, cut - 1).astype(np.int64))
        vertices.append(leg + np.array([0, 0.02, depth]))
        shades.append(np.full(len(leg), tone))
    placed, shade = np.concatenate(vertices), np.concatenate(shades)
    skeleton = Skeleton(np.array(parents), np.array(joints))
    body = Body(skeleton, placed, np.eye(len(parents))[np.concatenate(weights)])
    return body, np.concatenate(faces), np.repeat(shade[:, None], 3, axis=1)


def swung(body: Body, first: Array, second: Array) -> Poses:
    """Both legs turned in the view by angles (T,)."""
    skeleton = body.skeleton
    steps = np.zeros((len(first), 3 + 3 * len(skeleton)))
    for leg, angles in zip(np.flatnonzero(skeleton.parents == 0), (first, second), strict=True):
        steps[:, 3 + 3 * leg + 2] = angles
    return Poses.rest(skeleton, len(first)).moved(steps)


def clips(truth: Poses) -> tuple[ClipFit, ClipFit]:
    """The frames that show it, in small pictures and in larger ones."""
    body, faces, colours = walker()
    out = []
    for side in (16, 32):
        synthesis, corners = Synthesis(faces, colours, LIGHT, WIDTH, side), np.tile(CORNER, (FRAMES, 1))
        targets, valid = synthesis.pictures(body.posed(truth), corners), np.ones((FRAMES, side, side), np.float32)
        fit = PoseFit(body, synthesis, targets, corners, valid, np.ones(FRAMES, bool), SETTINGS)
        out.append(ClipFit(fit, 0, np.ones(FRAMES, bool)))
    return out[0], out[1]


def misses(body: Body, found: Poses, truth: Poses) -> Array:
    """(T,) mean distances of the vertices."""
    return np.linalg.norm(body.posed(found) - body.posed(truth), axis=-1).mean(axis=1)


def test_legs_that_turned_back_where_they_met_pass_each_other_and_the_other_frames_stay() -> None:
    body = walker()[0]
    truth, wrong = swung(body, SWINGS, -SWINGS), swung(body, np.abs(SWINGS), -np.abs(SWINGS))

    found, doubtful = Exchange(*clips(truth)).improved(wrong)

    exchanged = np.flatnonzero(SWINGS < -0.2)
    assert (misses(body, found, truth)[exchanged] < 0.3 * misses(body, wrong, truth)[exchanged]).all()
    assert doubtful is None
    stays = SWINGS > 0.2
    assert (found.turns[stays] == wrong.turns[stays]).all() and (found.shifts[stays] == wrong.shifts[stays]).all()


def test_the_search_exchanges_them_and_leaves_a_right_clip_to_the_last_bit() -> None:
    body = walker()[0]
    truth, wrong = swung(body, SWINGS, -SWINGS), swung(body, np.abs(SWINGS), -np.abs(SWINGS))
    errors = []
    for start in (wrong, truth):
        search = MotionSearch(clips(truth))
        search.poses = start
        search._exchange()
        errors.append(np.linalg.norm(search.body.posed(search.poses) - body.posed(truth), axis=-1).mean())
    assert errors[0] < 0.3 * misses(body, wrong, truth).mean() and errors[1] == 0


@pytest.mark.parametrize("legs", [(SWINGS, -SWINGS), (np.abs(SWINGS), -np.abs(SWINGS)), (SWINGS, SWINGS)])
def test_legs_that_are_right_stay_whether_they_pass_or_turn_back(legs: tuple[Array, Array]) -> None:
    truth = swung(walker()[0], *legs)
    found, doubtful = Exchange(*clips(truth)).improved(truth)
    assert found is truth and doubtful is None


def test_no_exchange_reaches_over_a_frame_where_the_motion_does_not_go_on() -> None:
    body = walker()[0]
    truth, wrong = swung(body, SWINGS, -SWINGS), swung(body, np.abs(SWINGS), -np.abs(SWINGS))
    small, large = clips(truth)
    for clip in (small, large):
        clip.joined[13] = False
    exchange = Exchange(small, large)
    stretches = exchange._stretches(exchange.pairs[0].angles(wrong))
    assert stretches and not any({12, 13} <= set(frames.tolist()) for frames in stretches)


def test_nothing_is_tried_where_no_limbs_are_long_enough() -> None:
    body = walker()[0]
    truth, wrong = swung(body, SWINGS, -SWINGS), swung(body, np.abs(SWINGS), -np.abs(SWINGS))
    small, large = clips(truth)
    for clip in (small, large):
        clip.settings = changed(SETTINGS, {"exchange.least_reach": 2.0})
    assert Exchange(small, large).improved(wrong) == (wrong, None)


@pytest.mark.parametrize("cuts", [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_a_limb_is_the_same_however_it_is_cut(cuts: tuple[int, int]) -> None:
    body = walker(cuts)[0]
    legs = [limb for limb in limbs_of(body, 0.3) if limb.reach > 0.7]  # not what of the trunk lies beside them
    assert len(legs) == 2
    assert sorted(np.concatenate([limb.parts for limb in legs]).tolist()) == list(range(1, 1 + sum(cuts)))
    poses, settings = swung(body, SWINGS, -SWINGS), SETTINGS.exchange
    angles = Pair(body, legs[0], legs[1], settings).angles(poses)
    assert np.abs(np.abs(angles) - 2 * np.abs(SWINGS)).max() < 0.1
    assert np.abs(Pair(body, legs[1], legs[0], settings).angles(poses) + angles).max() < 1e-9
