"""Mending a mask by clicks: what a click claims, how far it reaches, where it travels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.events import drain
from v2m4.matting import Click, parse_clicks
from v2m4.matting.clicks import geodesic_distance
from v2m4.matting.stage import cut_out
from v2m4.settings import MattingSettings
from v2m4.video import write_png

SIDE, FRAMES, STEP = 96, 6, 4
GROUND, BODY, TAIL = (200, 205, 210), (60, 120, 70), (180, 60, 50)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A green block with a red one beside it, which both move right before a plain ground with a lamp in it."""
    folder = tmp_path_factory.mktemp("clip")
    rng = np.random.default_rng(0)
    grain = rng.integers(-6, 7, (SIDE, SIDE, 3))
    texture = rng.integers(-12, 13, (SIDE, SIDE, 3))
    for i in range(FRAMES):
        picture = np.full((SIDE, SIDE, 3), GROUND, np.int64) + grain // 3
        left = 16 + STEP * i
        picture[36:70, left : left + 26] = np.array(BODY) + texture[:34, :26] // 2
        picture[42:62, left + 26 : left + 40] = np.array(TAIL) + texture[:20, :14] // 2
        rgba = np.dstack([picture.clip(0, 255), np.full((SIDE, SIDE), 255)]).astype(np.uint8)
        write_png(folder / f"{i:05d}.png", rgba)
    times = tuple(i / 10 for i in range(FRAMES))
    return Clip(folder, "blocks", times, FRAMES / 10, SIDE, (SIDE, SIDE), 1.0, (0.0, 0.0), False)


def masks(clip: Clip, tmp_path: Path, points: str) -> list[np.ndarray]:
    tmp_path.mkdir(exist_ok=True)
    matte = drain(cut_out(clip, tmp_path, MattingSettings(method="flat", points=points)))
    return [matte.clip.frame(i)[..., 3] > 127 for i in range(len(clip))]


def part(i: int, name: str) -> tuple[slice, slice]:
    left = 16 + STEP * i
    return {
        "body": (slice(40, 66), slice(left + 4, left + 22)),
        "tail": (slice(46, 58), slice(left + 31, left + 37)),
    }[name]


def at(i: int, name: str, sign: str) -> str:
    rows, columns = part(i, name)
    return f"{i} {(columns.start + columns.stop) / 2 / SIDE:.3f} {(rows.start + rows.stop) / 2 / SIDE:.3f} {sign}"


def test_a_click_on_what_does_not_belong_takes_it_out_of_every_frame(clip: Clip, tmp_path: Path) -> None:
    before = masks(clip, tmp_path / "before", "")
    after = masks(clip, tmp_path / "after", at(2, "tail", "-"))
    for i in range(FRAMES):
        assert before[i][part(i, "tail")].all() and before[i][part(i, "body")].all()
        assert not after[i][part(i, "tail")].any() and after[i][part(i, "body")].mean() > 0.99


def test_a_click_on_what_belongs_brings_it_back(clip: Clip, tmp_path: Path) -> None:
    both = masks(clip, tmp_path, f"{at(2, 'tail', '-')}; {at(2, 'tail', '+')}; {at(4, 'tail', '+')}")
    assert both[4][part(4, "tail")].mean() > 0.9


def test_a_click_on_the_ground_beside_the_object_changes_nothing(clip: Clip, tmp_path: Path) -> None:
    before, after = masks(clip, tmp_path / "before", ""), masks(clip, tmp_path / "after", "0 0.9 0.1 -")
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_distances_are_those_of_the_plain_plane_where_every_step_costs_the_same() -> None:
    seed = np.zeros((21, 21), bool)
    seed[10, 10] = True
    distance = geodesic_distance(seed, np.ones((21, 21), np.float32), 3)
    rows, columns = np.abs(np.mgrid[:21, :21] - 10)
    eight = np.maximum(rows, columns) + (2**0.5 - 1) * np.minimum(rows, columns)
    np.testing.assert_allclose(distance, eight, rtol=1e-5)


def test_a_wall_is_gone_around() -> None:
    price = np.ones((9, 9), np.float32)
    price[4, :8] = 1000
    seed = np.zeros((9, 9), bool)
    seed[0, 0] = True
    distance = geodesic_distance(seed, price, 3)
    assert 15 < distance[8, 0] < 30


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 1000), st.integers(0, 1000), st.booleans()), max_size=5))
def test_what_is_written_is_read(clicks: list[tuple[int, int, int, bool]]) -> None:
    text = "; ".join(f"{f} {x / 1000} {y / 1000} {'+' if sign else '-'}" for f, x, y, sign in clicks)
    assert parse_clicks(text) == tuple(Click(f, x / 1000, y / 1000, sign) for f, x, y, sign in clicks)


@pytest.mark.parametrize("text", ["1", "a 0 0 +", "0 2 0 +", "0 0 0 *", "-1 0 0 +", "0 nan 0 +"])
def test_what_is_no_click_is_refused(text: str) -> None:
    with pytest.raises(V2M4Error, match="which is no click"):
        parse_clicks(text)


def test_a_click_behind_the_clips_end_is_refused(clip: Clip, tmp_path: Path) -> None:
    with pytest.raises(V2M4Error, match="has 6 frames"):
        masks(clip, tmp_path, "6 0.5 0.5 +")
