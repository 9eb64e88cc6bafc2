"""What mirror images and other frames add to the network's answer for a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generators.pictures import animal
from v2m4.artefacts import save_picture
from v2m4.clip import Clip
from v2m4.generators import LooksAround
from v2m4.generators.sculpt.answers import agreed_lean, asked, lean, leaned, mirror_image, neighbours, undecided
from v2m4.generators.sculpt.generator import Sculpt
from v2m4.generators.sculpt.network import CHANNELS, GRID, PICTURE, ColumnNetwork, Prediction
from v2m4.generators.sculpt.picture import Square, input_of
from v2m4.geometry.camera import Camera
from v2m4.settings import LeanSettings, SculptSettings

SETTINGS = LeanSettings()
SIGNED = st.floats(-1, 1)


@pytest.fixture(scope="module")
def network() -> ColumnNetwork:
    torch.manual_seed(0)
    return ColumnNetwork(widths=(8, 8, 16, 16), depth=1, heads=2, head=16).eval().requires_grad_(False)


def tilted(slope: float) -> Prediction:
    """An answer whose first entries lie in a plane that recedes to the right."""
    across = (torch.arange(GRID) + 0.5) / GRID - 0.5
    layers = (slope * across).expand(1, 6, GRID, GRID) + torch.arange(6).view(1, -1, 1, 1) / 10
    rest = torch.zeros(1, 1, GRID, GRID)
    return Prediction(rest, layers, rest, rest)


def test_the_mirrored_scene_gives_the_mirrored_picture() -> None:
    image = animal(128)
    here, there = (Square(np.array([x, 0.5]), 0.8) for x in (0.4, 0.6))
    mirrored = input_of(np.ascontiguousarray(image[:, ::-1]), there)
    assert torch.allclose(mirror_image(input_of(image, here)), mirrored, atol=1e-4)


def test_asked_both_ways_the_answer_is_mirrored_with_the_picture(network: ColumnNetwork) -> None:
    picture = torch.randn(1, CHANNELS, PICTURE, PICTURE, generator=torch.Generator().manual_seed(1))
    one, other = (asked(network, p, mirrored=True) for p in (picture, mirror_image(picture)))
    alone = asked(network, picture, mirrored=False)
    for a, b, c in zip(one, other, alone, strict=True):
        assert torch.allclose(a, b.flip(-1), atol=1e-5)
        assert not torch.allclose(a, c, atol=1e-3)


@given(slope=SIGNED)
def test_the_lean_is_that_of_the_plane_through_what_is_seen(slope: float) -> None:
    inside = np.zeros((GRID, GRID), bool)
    inside[20:90, 10:60] = True
    assert lean(tilted(slope), inside) == pytest.approx(slope, abs=1e-4)


@given(own=SIGNED, others=st.lists(SIGNED, max_size=8))
def test_what_is_agreed_is_no_flatter_on_the_same_side_and_never_beyond_all(own: float, others: list[float]) -> None:
    found = agreed_lean(own, others, SETTINGS)
    if found != own:
        assert abs(found) <= max(map(abs, [own, *others])) + 1e-12
        assert found * own < 0 or abs(found) > abs(own)
    assert agreed_lean(-own, [-o for o in others], SETTINGS) == pytest.approx(-found)


def test_those_that_lean_most_are_believed_where_most_agree() -> None:
    assert agreed_lean(0.1, [0.2, 0.5, 0.3, 0.4], SETTINGS) == pytest.approx(
        np.quantile([0.1, 0.2, 0.5, 0.3, 0.4], SETTINGS.quantile)
    )
    assert agreed_lean(0.1, [0.5, -0.4, 0.3, -0.2], SETTINGS) == 0.1
    assert agreed_lean(0.1, [], SETTINGS) == 0.1


@given(more=st.floats(-0.5, 0.5), seed=st.integers(0, 100))
def test_leaning_leaves_the_picture_as_it_is_and_leans_by_as_much_as_asked(more: float, seed: int) -> None:
    flat = torch.rand(60, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([0.6, 0.6, 0.0])
    points = flat + torch.tensor([-0.3, -0.3, 3.0])
    there = leaned(points, more)
    for before, after in zip(Camera.identity().project(points), Camera.identity().project(there), strict=True):
        if before.shape[-1] == 2:
            assert torch.allclose(before, after, atol=1e-4)
    right = points[:, 0] / points[:, 2]
    slope = (there[:, 2].max() - there[:, 2].min()) / ((right.max() - right.min()) * 3)
    assert float(slope) == pytest.approx(abs(more), rel=1e-3, abs=1e-4)


@given(st.lists(SIGNED | st.just(0.0), min_size=1, max_size=12), st.floats(0.5, 1))
def test_who_need_not_be_asked_would_have_changed_nothing(votes: list[float], agreement: float) -> None:
    settings = LeanSettings(agreement=agreement)
    for told in range(1, len(votes)):
        if undecided(votes[:told], len(votes), settings):
            assert agreed_lean(votes[0], votes[1:], settings) == votes[0]
            assert agreed_lean(votes[0], votes[1:told], settings) == votes[0]
    assert undecided([0.1, -0.1, 0.1, -0.1], 9, SETTINGS) and not undecided([0.1, -0.1, -0.1], 9, SETTINGS)


def test_the_neighbours_are_near_in_time_and_spread_evenly() -> None:
    times = [i / 10 for i in range(40)]
    settings = LeanSettings(others=3, seconds=1.0)
    found = neighbours(times, 20, range(0, 40, 2), settings)
    assert found[0] == 10 and found[-1] == 30 and len(found) == 3 and 20 not in found
    assert neighbours(times, 20, [20], settings) == []
    assert neighbours(times, 20, range(40), LeanSettings(others=0)) == []


def test_the_pictures_own_answer_comes_first_on_the_same_rays(tmp_path: Path) -> None:
    for index, side in enumerate((0, 8, 16)):
        save_picture(tmp_path / f"{index:05d}.png", np.roll(animal(128), side, axis=1))
    clip = Clip(tmp_path, "clip", (0.0, 0.1, 0.2), 0.3, 128, (128, 128), 1.0, (0.0, 0.0), True)
    looking, rng = Sculpt(SculptSettings(lean=LeanSettings(agreement=0.5))), torch.Generator()
    assert isinstance(looking, LooksAround)
    steps = looking.beside(clip, 0, range(len(clip)), rng)
    first = next(steps)
    with pytest.raises(StopIteration) as end:
        next(steps)
    last, alone = end.value.value, looking(clip.frame(0), rng)
    torch.testing.assert_close(first.mesh.vertices, alone.mesh.vertices, atol=1e-5, rtol=0)
    assert first.camera is not None and torch.equal(first.mesh.faces, last.mesh.faces)
    rays = [
        points[:, :2] / points[:, 2:]
        for points in map(first.camera.to_camera, (first.mesh.vertices, last.mesh.vertices))
    ]
    torch.testing.assert_close(*rays, atol=1e-5, rtol=0)
    assert [*looking.beside(clip, 0, [0], rng)] == []  # nobody else to ask: the only answer is the last one
