"""How far a run is: what is still to do counts, whatever was chosen by itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from v2m4.recipe import Recipe
from v2m4.registry import Plug
from v2m4.run import Step
from v2m4.settings import Settings, changed
from v2m4.steps import STAGES
from v2m4.timing import run_fraction

KEYFRAMES = 5


def left(recipe: Recipe) -> float:
    """Seconds left after a video that took as long as expected."""
    prior = {spec.name: spec.prior_s for spec in STAGES}
    run = SimpleNamespace(recipe=recipe, seconds=lambda stage: [prior["video"]] if stage == "video" else [])
    seconds = run_fraction(run, Step("video"), KEYFRAMES, STAGES)(0.0)[1]  # type: ignore[arg-type]
    assert seconds is not None
    return seconds


def test_refinement_counts_when_auto_takes_a_generator_that_refines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plug, "missing", lambda self: [])  # its weights are there
    auto = Settings()
    assert auto.generator.name == "auto"
    with_it, without = Recipe.of(auto), Recipe.of(changed(auto, {"refinement.enabled": False}))
    assert with_it.names["generator"] == without.names["generator"] == "trellis"
    spec = next(spec for spec in STAGES if spec.name == "refinement")
    steps = spec.steps(with_it, KEYFRAMES)
    assert steps > 0 == spec.steps(without, KEYFRAMES)
    assert left(with_it) - left(without) == pytest.approx(steps * spec.prior_s)


def test_the_first_step_of_many_does_not_decide_how_long_the_rest_take() -> None:
    recipe, prior = Recipe.of(Settings()), {spec.name: spec.prior_s for spec in STAGES}
    before = [spec.name for spec in STAGES][: [spec.name for spec in STAGES].index("registration")]

    def left_after(registered: list[float]) -> float:
        seconds = {name: [prior[name]] for name in before} | {"registration": registered}
        run = SimpleNamespace(recipe=recipe, seconds=lambda stage: seconds.get(stage, []))
        told = run_fraction(run, Step("registration", 0), 30, STAGES)(0.0)[1]  # type: ignore[arg-type]
        assert told is not None
        return told

    usual = prior["registration"]
    assert left_after([usual]) == pytest.approx(left_after([]) - usual)
    assert left_after([0.1 * usual]) > 0.5 * left_after([])  # the anchor's costs next to nothing


@pytest.mark.parametrize("done", range(len(STAGES)))
def test_what_is_done_and_what_is_left_make_the_whole(done: int) -> None:
    recipe = Recipe.of(Settings())
    seconds = {spec.name: spec.steps(recipe, KEYFRAMES) * [2 * spec.prior_s] for spec in STAGES[:done]}
    run = SimpleNamespace(recipe=recipe, seconds=lambda stage: seconds.get(stage, []))
    fraction, told = run_fraction(run, Step(STAGES[done].name), KEYFRAMES, STAGES)(0.0)  # type: ignore[arg-type]
    passed, whole = (
        sum(2 * spec.prior_s * spec.steps(recipe, KEYFRAMES) for spec in some) for some in (STAGES[:done], STAGES)
    )
    assert fraction == pytest.approx(passed / whole if passed else 0.0)
    assert told is None if not passed else told == pytest.approx(whole - passed)
