"""Appearance refinement: the schedule on its fixture, and the whole stage on a tiny TRELLIS."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.generators.trellis import tiny
from tests.parity.negative_optimisation import Absolute, SmallSquares, run
from tests.parity.runner import config_of, group, load_fixture
from v2m4.errors import V2M4Error
from v2m4.events import Progress, drain
from v2m4.generators.trellis.predictor import Trellis
from v2m4.geometry.camera import Camera, orbit_extrinsics
from v2m4.geometry.mesh import Mesh
from v2m4.settings import GeneratorSettings, RefinementSettings, Settings, TrellisSettings, changed
from v2m4.stages import refinement
from v2m4.stages.refinement import (
    Comparison,
    ImageDistances,
    Iteration,
    Sampled,
    iterations_at,
    optimise_negative,
    reference_picture,
    refine_appearance,
)

FIXTURE = Path(__file__).parents[1] / "parity" / "fixtures" / "trellis" / "v2m4_negopt.safetensors"
STEPS = 6
PAPER = changed(
    Settings.of("paper").refinement, {"iterations": 2, "iterations_grow_every": 0, "image_size": 48, "supersampling": 2}
)
FAST = RefinementSettings(iterations=4, image_size=48)
DISTANCES = {"dreamsim": SmallSquares(), "lpips": Absolute()}


@pytest.fixture(scope="module")
def plug() -> Trellis:
    return Trellis(GeneratorSettings(trellis=TrellisSettings(steps=STEPS), max_faces=2000), model=tiny.model())


@pytest.fixture(scope="module")
def extras(plug: Trellis) -> dict[str, Tensor]:
    return plug(tiny.picture(), torch.Generator().manual_seed(7)).extras


@pytest.fixture(scope="module")
def camera() -> Camera:
    yaw, pitch, radius = torch.tensor(0.6), torch.tensor(0.3), torch.tensor(2.0)
    return Camera(orbit_extrinsics(yaw, pitch, radius, torch.zeros(3)))


def test_schedule_and_optimiser_are_the_papers() -> None:
    meta, tensors = load_fixture(FIXTURE)
    got, want = run(group(tensors, "in"), config_of(meta)), group(tensors, "out")
    assert got["inner_iterations"].tolist() == want["inner_iterations"].tolist()
    assert int(got["inner_iterations"].sum()) == 69
    for name in ("loss", "neg_after_step", "x_t", "x_0"):
        torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-5)


def test_the_papers_iterations_can_be_asked_for() -> None:
    appendix = RefinementSettings(iterations=5, iterations_grow_every=5)
    assert [iterations_at(step, appendix) for step in (0, 17, 19, 20, 24)] == [5, 8, 8, 9, 9]


def test_the_paper_preset_renders_as_the_paper_and_restarts_its_optimiser() -> None:
    paper = Settings.of("paper").refinement
    assert (paper.image_size, paper.supersampling) == (518, 4)
    assert not paper.alternate and not paper.keep_better
    assert paper.restart and [iterations_at(step, paper) for step in (0, 24)] == [3, 3]


class Line:
    """A latent of one number, which the embedding moves straight."""

    cond, negative, noise, first = torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1, 1), None
    states = torch.zeros(1, 1, 1)
    times, guidance, step = (1.0, 0.5, 0.0), 1.0, 0

    def at_work(self) -> AbstractContextManager[None]:
        return nullcontext()

    def velocity(self, x: Tensor, t: float, cond: Tensor) -> Tensor:
        return x + cond[0]

    def clean_estimate(self, x: Tensor, v: Tensor, t: float) -> Tensor:
        return x - v

    def denormalise(self, x: Tensor) -> Tensor:
        return x


def test_a_restarted_optimiser_takes_full_steps_where_slopes_have_become_small() -> None:
    def moved(restart: bool) -> float:
        source, scale = Line(), iter([1.0, 1e-3])
        slopes = {step: next(scale) for step in range(2)}

        def score(slat: Tensor, index: int) -> Iterator[Tensor]:
            yield slopes[source.step] * slat.sum()

        settings = RefinementSettings(start_t=1.0, iterations=1, anchor_weight=0.0, lr=0.1, restart=restart)
        steps = []
        for event in optimise_negative(source, score, settings):
            if isinstance(event, Sampled):
                steps.append(event.negative)
                source.step += 1
        return float((steps[1] - steps[0]).abs().max())

    assert moved(True) == pytest.approx(0.1, rel=1e-3)
    assert moved(False) < 0.08


@pytest.mark.parametrize("settings", [PAPER, FAST], ids=["paper", "fast"])
def test_a_tiny_object_moves_towards_the_picture(
    plug: Trellis, extras: dict[str, Tensor], camera: Camera, settings: RefinementSettings
) -> None:
    source = plug.resume(extras)
    source.states = source.noise[None]
    settings = replace(settings, keep_better=False)
    comparison = Comparison(reference_picture(tiny.picture(), settings.image_size, "cpu"), DISTANCES, settings)
    score = refinement.scorer(source, camera, comparison, settings)
    events = list(optimise_negative(source, score, replace(settings, anchor_weight=0.0)))
    losses = [e.loss for e in events if isinstance(e, Iteration)]
    steps = [e for e in events if isinstance(e, Sampled)]
    assert len(steps) == STEPS
    assert not steps[0].negative.any(), "before start_t the embedding stays where it was"
    assert steps[-1].negative.abs().max() > 0.1
    plain = refinement.scorer(source, camera, comparison, replace(settings, alternate=False))
    with torch.no_grad():
        unrefined = optimise_negative(source, plain, replace(settings, iterations=0))
        before = float(sum(plain(source.denormalise([e for e in unrefined if isinstance(e, Sampled)][-1].x), 0)))
        after = float(sum(plain(source.denormalise(steps[-1].x), 0)))
    assert after < before
    assert np.isfinite(losses).all()


def test_it_begins_where_the_first_pass_met_the_first_optimised_step(plug: Trellis, extras: dict[str, Tensor]) -> None:
    whole, short = plug.resume(extras), plug.resume(extras)
    whole.states = whole.noise[None]
    settings = replace(FAST, iterations=1)
    ends = []
    for source in (whole, short):

        def score(slat: Tensor, index: int) -> Iterator[Tensor]:
            yield slat.square().sum()

        ends.append([e for e in optimise_negative(source, score, settings) if isinstance(e, Sampled)])
    before = sum(t > settings.start_t for t in whole.times)
    assert len(short.states) > before > 0, "guidance lasts longer than what is not optimised"
    assert [e.step for e in ends[1]] == list(range(before, STEPS))
    for first, second in zip(ends[0][before:], ends[1], strict=True):
        torch.testing.assert_close(second.x, first.x, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(second.negative, first.negative, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("settings", [PAPER, FAST], ids=["paper", "fast"])
def test_the_stage_returns_a_mesh_and_reports_progress(
    plug: Trellis, extras: dict[str, Tensor], camera: Camera, settings: RefinementSettings
) -> None:
    steps = refine_appearance(
        plug, extras, tiny.picture(), camera, settings, keyframe=3, distances=ImageDistances(DISTANCES)
    )
    fractions = []
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            mesh: Mesh = stop.value
            break
        assert isinstance(event, Progress) and event.keyframe == 3
        fractions.append(event.fraction)
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert mesh.colors is not None and len(mesh.faces) <= 2000
    assert bool(torch.isfinite(mesh.vertices).all())
    assert not plug.model().mesh_decoder.checkpointing


def test_gradients_come_from_both_renderings(plug: Trellis, extras: dict[str, Tensor], camera: Camera) -> None:
    source = plug.resume(extras)
    comparison = Comparison(reference_picture(tiny.picture(), FAST.image_size, "cpu"), DISTANCES, FAST)
    assert source.first is not None
    slat = source.first.clone().requires_grad_()
    score = refinement.scorer(source, camera, comparison, FAST)
    gradients = [torch.autograd.grad(sum(score(slat, index)), slat)[0] for index in (0, 1)]
    assert all(bool(torch.isfinite(g).all()) and float(g.abs().max()) > 0 for g in gradients)
    both = refinement.scorer(source, camera, comparison, replace(FAST, alternate=False))
    together = torch.autograd.grad(sum(both(slat, 0)), slat)[0]
    torch.testing.assert_close(together, (gradients[0] + gradients[1]) / 2, rtol=1e-3, atol=1e-5)


def test_checkpointing_does_not_change_the_gradient(plug: Trellis, extras: dict[str, Tensor], camera: Camera) -> None:
    source = plug.resume(extras)
    comparison = Comparison(reference_picture(tiny.picture(), 48, "cpu"), DISTANCES, PAPER)
    score = refinement.scorer(source, camera, comparison, PAPER)
    negative = source.negative.clone().requires_grad_()

    def gradient() -> Tensor:
        slat = source.denormalise(source.noise - source.velocity(source.noise, 300.0, negative))
        return torch.autograd.grad(sum(score(slat, 0)), negative)[0]

    plain = gradient()
    with source.at_work():
        torch.testing.assert_close(gradient(), plain, rtol=1e-4, atol=1e-7)
    assert float(plain.abs().max()) > 0


def test_the_better_object_is_kept(plug: Trellis, extras: dict[str, Tensor], camera: Camera) -> None:
    source = plug.resume(extras)
    assert source.first is not None
    comparison = Comparison(reference_picture(tiny.picture(), FAST.image_size, "cpu"), DISTANCES, FAST)
    score = refinement.scorer(source, camera, comparison, replace(FAST, alternate=False))
    other = source.first + 0.5
    with torch.no_grad():
        better = source.first if sum(score(source.first, 0)) < sum(score(other, 0)) else other
    assert refinement.closer(source, camera, comparison, FAST, source.first, other) is better
    assert refinement.closer(source, camera, comparison, FAST, other, source.first) is better


def test_the_comparison_looks_inside_the_mask_only() -> None:
    reference = torch.zeros(8, 8, 3)
    reference[2:6, 2:6] = 0.5
    settings = RefinementSettings(dreamsim_weight=2.0, lpips_weight=0.0, mse_weight=3.0)
    comparison = Comparison(reference, DISTANCES, settings)
    images = torch.full((2, 8, 8, 3), 0.5)
    images[1, 3, 3] = 1.0
    distance = comparison(images)
    assert float(distance[0]) == 0
    small = SmallSquares()
    masked = images * (reference > 0)
    expected = 3 * ((masked - reference) ** 2).mean((1, 2, 3)) + 2 * small(small.prepare(reference), masked)
    torch.testing.assert_close(distance, expected)


def test_a_comparison_that_is_used_again_is_the_one_made_anew() -> None:
    distances, settings = ImageDistances(DISTANCES), FAST
    pictures = [torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    first = distances.comparison(pictures[0].clone(), settings)
    again = distances.comparison(pictures[1].clone(), settings)
    assert again is first
    anew = Comparison(pictures[1], DISTANCES, settings)
    torch.testing.assert_close(again(pictures[2][None]), anew(pictures[2][None]), rtol=0, atol=0)
    assert distances.comparison(torch.rand(9, 9, 3), settings) is not first
    assert distances.comparison(torch.rand(9, 9, 3), PAPER) is not first


def test_keyframes_leave_nothing_behind(plug: Trellis, extras: dict[str, Tensor], camera: Camera) -> None:
    """Tensors and bytes alive after a keyframe are those after the keyframe before."""
    distances, alive = ImageDistances(DISTANCES), []
    for _ in range(3):
        drain(refine_appearance(plug, extras, tiny.picture(), camera, FAST, distances=distances))
        gc.collect()
        tensors = [x for x in gc.get_objects() if type(x) in (Tensor, torch.nn.Parameter)]
        alive.append((len(tensors), sum(x.nbytes for x in tensors)))
    assert alive[1] == alive[2]


def test_objects_and_comparisons_go_when_nobody_holds_them(
    plug: Trellis, extras: dict[str, Tensor], camera: Camera
) -> None:
    """They hold gigabytes on a GPU, whose collector of cycles does not know of them."""
    source = plug.resume(extras)
    comparison = Comparison(reference_picture(tiny.picture(), FAST.image_size, "cpu"), DISTANCES, FAST)
    with source.at_work(), torch.no_grad():
        next(refinement.scorer(source, camera, comparison, FAST)(source.denormalise(source.noise), 0))
    gone = weakref.ref(source), weakref.ref(comparison)
    gc.collect()
    gc.disable()
    try:
        del source, comparison
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


def test_an_overflowing_gradient_makes_no_step_and_lowers_the_scale() -> None:
    negative = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam([negative], lr=0.1)

    def step(slope: float, scale: float) -> tuple[float, float]:
        terms = [lambda slat: (slat * slope).sum(), lambda slat: slat.sum() * 0]
        anchor = 0 * negative.sum()
        return refinement.descend(
            optimiser, negative, 2 * negative, anchor, lambda leaf: (term(leaf) for term in terms), scale
        )

    assert step(torch.inf, 1024.0)[1] == 64.0
    assert not negative.detach().any()
    assert step(2.0, 64.0) == (0.0, 64.0)
    torch.testing.assert_close(negative.detach(), torch.full((3,), -0.1))
    assert negative.grad is not None
    torch.testing.assert_close(negative.grad, torch.full((3,), 4.0))


def test_what_is_wrong_is_said(plug: Trellis, extras: dict[str, Tensor], camera: Camera) -> None:
    empty: Any = np.zeros((32, 32, 4), np.uint8)
    with pytest.raises(V2M4Error, match="keyframe is empty"):
        drain(refine_appearance(plug, extras, empty, camera, PAPER, distances=ImageDistances(DISTANCES)))
    with pytest.raises(V2M4Error, match="lack noise"):
        plug.resume({k: v for k, v in extras.items() if k != "noise"})
