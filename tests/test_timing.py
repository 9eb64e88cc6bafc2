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
