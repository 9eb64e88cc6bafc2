"""Parts of a stage report the share they have done; these turn that into the stage's progress."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from v2m4.events import Progress, StageRun, mapped

T = TypeVar("T")


def between(steps: Generator[float, None, T], low: float, high: float) -> Generator[float, None, T]:
    """The same steps, their share done mapped from [0,1] to [low,high]."""
    return mapped(steps, lambda done: low + (high - low) * done)


def reported(steps: Generator[float, None, T], keyframe: int, low: float, high: float) -> StageRun[T]:
    """The same steps as Progress events of the camera stage, the share done mapped to [low,high]."""
    return mapped(between(steps, low, high), lambda done: Progress("camera", done, keyframe))
