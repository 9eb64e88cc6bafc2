"""Stages in stages: their progress rescaled, their events looked at, and both stopped together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2m4.events import CameraFound, Progress, StageRun, drain, mapped, scaled, tap

MILESTONE = CameraFound(3, 0.9)


def stage(closed: list[str] | None = None) -> StageRun[str]:
    try:
        yield Progress("camera", 0.0)
        yield MILESTONE
        yield Progress("camera", 1.0, keyframe=3, note="done")
    finally:
        if closed is not None:
            closed.append("closed")
    return "artefact"


@given(st.floats(0, 1), st.floats(0, 1))
def test_scaled_moves_progress_and_nothing_else(low: float, high: float) -> None:
    events = list(scaled(stage(), low, high))
    assert events[1] is MILESTONE
    assert [e.fraction for e in events if isinstance(e, Progress)] == pytest.approx([low, high])
    assert isinstance(events[2], Progress) and (events[2].keyframe, events[2].note) == (3, "done")


def test_the_artefact_comes_through() -> None:
    assert drain(scaled(stage(), 0.2, 0.4)) == drain(tap(stage(), lambda event: None)) == "artefact"


def test_tap_sees_each_event_before_it_is_passed_on() -> None:
    seen: list[object] = []
    for number, event in enumerate(tap(stage(), seen.append), start=1):
        assert len(seen) == number and seen[-1] is event


def test_stopping_the_outer_stage_stops_the_inner_one_at_once() -> None:
    closed: list[str] = []
    outer = tap(scaled(stage(closed), 0.0, 0.5), lambda event: None)
    next(outer)
    assert not closed
    outer.close()
    assert closed == ["closed"]


def test_an_error_passes_through() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise KeyError("inner")

    shares = mapped((n for n in failing()), lambda n: n / 2)
    assert next(shares) == 0.5
    with pytest.raises(KeyError):
        next(shares)
