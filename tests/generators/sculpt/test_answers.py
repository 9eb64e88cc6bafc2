"""What mirror images and other frames add to the network's answer for a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generators.pictures import animal
from tests.thread_counts import on_one_and_more
from v2m4.artefacts import save_picture
from v2m4.clip import Clip
from v2m4.generators import LooksAround
from v2m4.generators.sculpt.answers import (
    agreed_lean,
    answered,
    layered,
    lean,
    looked,
    mirror_image,
    neighbours,
    undecided,
)
from v2m4.generators.sculpt.generator import Sculpt
from v2m4.generators.sculpt.generator import network as trained
from v2m4.generators.sculpt.network import CHANNELS, GRID, PICTURE, ColumnNetwork
from v2m4.generators.sculpt.picture import Square, input_of
from v2m4.masks import mask_iou
from v2m4.render import render_fast
from v2m4.settings import LeanSettings, SculptSettings

SETTINGS = LeanSettings()
SIGNED = st.floats(-1, 1)


@pytest.fixture(scope="module")
def network() -> ColumnNetwork:
    torch.manual_seed(0)
    return ColumnNetwork(widths=(8, 8, 16, 16), depth=1, heads=2, head=16).eval().requires_grad_(False)


def test_answers_are_the_same_on_any_number_of_threads() -> None:
    shipped = trained(torch.device("cpu"))
    image = animal(128)
    picture = input_of(image, Square(np.array([0.5, 0.5]), 0.8))
    told = torch.tensor([[0.3, 0.1]])

    def ask() -> torch.Tensor:
        return layered(shipped, looked(shipped, picture, mirrored=True), told)

    alone, others = on_one_and_more(ask)
    assert alone.std() > 0.1
    assert all(torch.equal(alone, other) for other in others)


def test_the_mirrored_scene_gives_the_mirrored_picture() -> None:
    image = animal(128)
    here, there = (Square(np.array([x, 0.5]), 0.8) for x in (0.4, 0.6))
    mirrored = input_of(np.ascontiguousarray(image[:, ::-1]), there)
    assert torch.allclose(mirror_image(input_of(image, here)), mirrored, atol=1e-4)


def test_asked_both_ways_the_answer_is_mirrored_with_the_picture(network: ColumnNetwork) -> None:
    picture = torch.randn(1, CHANNELS, PICTURE, PICTURE, generator=torch.Generator().manual_seed(1))
    one, other = (looked(network, p, mirrored=True) for p in (picture, mirror_image(picture)))
    alone = looked(network, picture, mirrored=False)
    turned, back = torch.tensor([[0.4, 0.1]]), torch.tensor([[-0.4, 0.1]])
    for told, mirrored_told in ((None, None), (turned, back)):
        answers = answered(network, one, told), answered(network, other, mirrored_told), answered(network, alone, told)
        for a, b, c in zip(*answers, strict=True):
            assert torch.allclose(a, b.flip(-1), atol=1e-5)
            assert not torch.allclose(a, c, atol=1e-3)
        for glances, answer, t in zip((one, other, alone), answers, (told, mirrored_told, told), strict=True):
            assert torch.equal(layered(network, glances, t), answer.layers)
    # What is told matters.
    assert not torch.allclose(answered(network, one, turned).layers, answered(network, one, back).layers, atol=1e-4)
    inside = np.ones((GRID, GRID), bool)
    inside[:, :40] = False
    leans = [lean(network, g, m, SETTINGS) for g, m in ((one, inside), (other, inside[:, ::-1].copy()))]
    assert leans[0] == pytest.approx(-leans[1], abs=1e-4)


@given(own=SIGNED, others=st.lists(SIGNED, max_size=8))
def test_what_is_agreed_is_no_flatter_on_the_same_side_and_never_beyond_all(own: float, others: list[float]) -> None:
    found = agreed_lean(own, others, SETTINGS)
    if found != own:
        assert abs(found) <= max(map(abs, [own, *others])) + 1e-12
        assert found * own < 0 or abs(found) > abs(own)
    assert agreed_lean(-own, [-o for o in others], SETTINGS) == pytest.approx(-found)


def test_where_most_agree_their_quantile_is_believed() -> None:
    assert agreed_lean(0.1, [0.2, 0.5, 0.3, 0.4], SETTINGS) == pytest.approx(
        np.quantile([0.1, 0.2, 0.5, 0.3, 0.4], SETTINGS.quantile)
    )
    assert agreed_lean(0.1, [0.5, -0.4, 0.3, -0.2], SETTINGS) == 0.1
    assert agreed_lean(0.1, [], SETTINGS) == 0.1


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


def test_the_pictures_own_answer_comes_first_with_the_same_outline(tmp_path: Path) -> None:
    for index, side in enumerate((0, 8, 16)):
        save_picture(tmp_path / f"{index:05d}.png", np.roll(animal(128), side, axis=1))
    clip = Clip(tmp_path, "clip", (0.0, 0.1, 0.2), 0.3, 128, (128, 128), 1.0, (0.0, 0.0), True)
    looking, rng = Sculpt(SculptSettings(lean=LeanSettings(others=8, agreement=0.5))), torch.Generator()
    assert isinstance(looking, LooksAround)
    steps = looking.beside(clip, 0, range(len(clip)), rng)
    first = next(steps)
    with pytest.raises(StopIteration) as end:
        next(steps)
    last, alone = end.value.value, looking(clip.frame(0), rng)
    torch.testing.assert_close(first.mesh.vertices, alone.mesh.vertices, atol=1e-5, rtol=0)
    assert first.camera is not None
    masks = [render_fast(made.mesh, made.camera, 128, ("mask",)).mask for made in (first, last)]
    assert masks[0] is not None and masks[1] is not None
    assert mask_iou(masks[0][0].numpy() > 0.5, masks[1][0].numpy() > 0.5) > 0.97
    assert [*looking.beside(clip, 0, [0], rng)] == []  # nobody else to ask: the only answer is the last one
