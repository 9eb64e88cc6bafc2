"""How far a run is, and how long it will still take."""

from __future__ import annotations

from collections.abc import Mapping

from v2m4.events import Stage
from v2m4.run import STAGES, Run, Step

# Rough seconds per step on two CPU cores at the fast preset. Only their ratios matter once the first step is measured.
_PRIOR: Mapping[Stage, float] = {
    "video": 1.5,
    "matting": 4.0,
    "keyframes": 0.5,
    "generation": 1.5,
    "camera": 2.0,
    "refinement": 10.0,
    "registration": 1.5,
    "texture": 5.0,
    "export": 5.0,
}
_TYPICAL_KEYFRAMES = 10


def run_fraction(run: Run, step: Step, fraction: float, keyframes: int) -> tuple[float, float | None]:
    """Share of the whole run that is done (0 to 1), and the seconds left, or None before anything was measured.

    A stage's step is expected to take what its finished steps took on average, or else its prior times the pace
    (measured over expected) of the run so far.
    """
    done = {stage: run.seconds(stage) for stage in STAGES}
    measured = sum(sum(s) for s in done.values())
    expected = sum(_PRIOR[stage] * len(s) for stage, s in done.items())
    pace = measured / expected if expected else 1.0
    total = 0.0
    for stage, seconds in done.items():
        each = sum(seconds) / len(seconds) if seconds else _PRIOR[stage] * pace
        total += each * _steps_of(run, stage, keyframes)
    here = sum(done[step.stage]) / len(done[step.stage]) if done[step.stage] else _PRIOR[step.stage] * pace
    passed = min(measured + fraction * here, total)
    return passed / total, (total - passed if measured else None)


def _steps_of(run: Run, stage: Stage, keyframes: int) -> int:
    count = keyframes or _TYPICAL_KEYFRAMES
    every_mesh = run.settings.registration.method == "meshes"
    if stage == "registration":
        return count
    if stage in ("generation", "camera"):
        return count if every_mesh else 1
    if stage == "refinement":
        refines = run.settings.refinement.enabled and run.settings.generator.name == "trellis"
        return (count if every_mesh else 1) if refines else 0
    return 1
