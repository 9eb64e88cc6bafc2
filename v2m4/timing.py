"""How far a run is, and how long it will still take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from v2m4.run import Run, Step
from v2m4.stage_spec import StageSpec

TYPICAL_KEYFRAMES = 10  # what a clip is taken to have before they are chosen


def run_fraction(
    run: Run, step: Step, keyframes: int, stages: Sequence[StageSpec]
) -> Callable[[float], tuple[float, float | None]]:
    """What tells, from the share of ``step`` that is done, the share of the whole run (0 to 1), and the seconds left,
    or None before anything was measured. It holds as long as the step is under way.

    A stage's step is expected to take its prior times the pace (measured over expected) of the run so far; each of its
    finished steps counts as much as that, so that one of them, which may be unlike the rest, does not decide alone.
    """
    done = {spec.name: run.seconds(spec.name) for spec in stages}
    measured = sum(sum(seconds) for seconds in done.values())
    prior = {spec.name: spec.prior_s for spec in stages}
    expected = sum(prior[name] * len(seconds) for name, seconds in done.items())
    pace = measured / expected if expected else 1.0
    each = {name: (sum(s) + prior[name] * pace) / (len(s) + 1) for name, s in done.items()}
    steps = {spec.name: spec.steps(run.recipe, keyframes or TYPICAL_KEYFRAMES) for spec in stages}
    total = measured + sum(each[name] * max(0, steps[name] - len(s)) for name, s in done.items())

    def at(fraction: float) -> tuple[float, float | None]:
        passed = min(measured + fraction * each[step.stage], total)
        return passed / max(total, 1e-9), (total - passed if measured else None)

    return at
