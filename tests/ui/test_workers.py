"""Runs that belong to the server: queue, limits, watching, stopping, going on after a restart."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import little_settings
from tests.ui.conftest import write_clip
from v2m4.errors import V2M4Error
from v2m4.matting.flat import Flat
from v2m4.settings import changed
from v2m4.ui.limits import Limits
from v2m4.ui.run_view import RunView, at_rest
from v2m4.ui.store import RunRecord, Store
from v2m4.ui.workers import LOOK, Workers

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("page")]
ONE = Limits(concurrent_runs=1, runs_per_visitor=2, waiting_runs=2)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "lizard.mp4", frames=5, size=64)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def seen(workers: Workers, record: RunRecord, wanted: Callable[[RunView], bool], timeout_s: float = 60) -> RunView:
    """The run's view, as soon as it is ``wanted``."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        view = workers.view(record.id)
        if view is not None and wanted(view):
            return view
        time.sleep(0.05)
    raise AssertionError(f"not seen in {timeout_s} s: {workers.view(record.id)}")


def test_a_look_becomes_a_run_that_goes_on_by_itself_and_never_falls_back(store: Store, clip: Path) -> None:
    workers, record = Workers(store, ONE), store.create(clip, little_settings())
    workers.submit(record, "me", LOOK)
    view = seen(workers, record, lambda v: v.state == "ready")
    assert view.anchor >= 0 and view.frames and not record.begun
    workers.submit(record, "me")
    fractions = []

    def finished(view: RunView) -> bool:
        fractions.append(view.fraction)
        return view.state == "finished"

    view = seen(workers, record, finished)
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert set(view.files) >= {"glb", "zip", "preview"} and record.thumbnail.exists()

    # Whoever opens its link later only reads.
    before = {path: path.stat().st_mtime_ns for path in record.folder.rglob("*")}
    reopened = at_rest(record)
    assert before == {path: path.stat().st_mtime_ns for path in record.folder.rglob("*")}
    assert reopened.frames == view.frames and reopened.files == view.files
    again = at_rest(store.find(record.id))
    assert again.state == "finished" and again.fraction == 1


def test_runs_wait_in_order_for_their_turn_and_may_leave_the_queue(store: Store, clip: Path) -> None:
    workers = Workers(store, ONE)
    first, second, third = (store.create(clip, little_settings(seed=seed)) for seed in (1, 2, 3))
    workers.submit(first, "me")
    seen(workers, first, lambda v: v.state == "working")
    workers.submit(second, "you")
    workers.submit(third, "somebody")
    assert [workers.view(r.id).place for r in (second, third)] == [1, 2]
    assert workers.stopped(second.id)
    assert workers.view(second.id).state == "stopped"
    seen(workers, third, lambda v: v.place == 1 or v.state != "waiting")
    for record in (first, third):
        assert workers.stopped(record.id)


def test_a_visitor_cannot_take_everything(store: Store, clip: Path) -> None:
    workers = Workers(store, ONE)
    records = [store.create(clip, little_settings(seed=seed)) for seed in range(5)]
    workers.submit(records[0], "me")
    seen(workers, records[0], lambda v: v.state == "working")
    workers.submit(records[1], "me")
    with pytest.raises(V2M4Error, match="2 runs of yours"):
        workers.submit(records[2], "me")
    workers.submit(records[2], "you")
    with pytest.raises(V2M4Error, match="2 runs are waiting"):
        workers.submit(records[3], "you")
    for record in records[:3]:
        workers.stop(record.id)
    assert all(workers.stopped(record.id) for record in records[:3])


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (replace(ONE, unwatched_minutes=0), "nobody watched"),
        (replace(ONE, run_minutes=0), "the longest a run may take"),
    ],
)
def test_the_clock_stops_what_nobody_watches_and_what_takes_too_long(
    store: Store, clip: Path, limits: Limits, words: str
) -> None:
    workers, record = Workers(store, limits), store.create(clip, little_settings())
    workers.submit(record, "me")
    view = seen(workers, record, lambda v: v.state == "stopped")
    assert words in view.message and 0 <= view.fraction < 1
    kept = at_rest(store.find(record.id))
    assert kept.state == "stopped" and words in kept.message


def test_after_a_restart_a_run_says_what_happened_where_it_stands_and_goes_on(store: Store, clip: Path) -> None:
    workers, record = Workers(store, ONE), store.create(clip, little_settings())
    workers.submit(record, "me")
    seen(workers, record, lambda v: len(v.fits) > 0)
    assert workers.stopped(record.id)
    (record.folder / "ended.json").unlink()  # a killed server writes no farewell

    fresh = Workers(Store(store.root), ONE)
    assert fresh.view(record.id) is None
    view = at_rest(record)
    assert view.state == "stopped" and "started anew" in view.message and "Continue" in view.message
    assert view.fraction > 0.2
    fresh.submit(record, "me")
    assert seen(fresh, record, lambda v: v.state in ("finished", "failed")).state == "finished"


def test_while_a_run_is_taken_up_nobody_takes_it_for_abandoned(
    store: Store, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def looked_at(record: RunRecord) -> RunView:
        view = at_rest(record)
        told.append(f"{view.state} {view.message}")
        return view

    monkeypatch.setattr("v2m4.ui.workers.at_rest", looked_at)
    workers, record = Workers(store, ONE), store.create(clip, little_settings())
    for _ in range(2):
        workers.submit(record, "me")
        assert workers.stopped(record.id)
    assert told[0] == "ready " and told[1].startswith("stopped") and "started anew" not in told[1]


def test_a_run_that_fails_says_why_also_later(store: Store, tmp_path: Path) -> None:
    opaque = write_clip(tmp_path / "still.mp4", frames=2, size=64)
    workers, record = Workers(store, ONE), store.create(opaque, changed(little_settings(), {"matting.method": "alpha"}))
    workers.submit(record, "me")
    view = seen(workers, record, lambda v: v.state == "failed")
    assert "has no transparency" in view.message
    assert at_rest(record).message == view.message


def test_a_plug_that_breaks_ends_the_run_with_a_sentence_and_a_name_that_the_log_has(
    store: Store, clip: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(Flat, "frame", broken)
    workers, record = Workers(store, ONE), store.create(clip, changed(little_settings(), {"matting.method": "flat"}))
    workers.submit(record, "me")
    view = seen(workers, record, lambda v: v.state == "failed")
    name = re.search("report it as “([0-9a-f]{6})”", view.message)
    assert name is not None and "(ZeroDivisionError). Please try again" in view.message
    assert f"mishap {name[1]}: run {record.id}" in caplog.text and "deep inside" in caplog.text
    assert "deep inside" not in view.message and at_rest(record).message == view.message


def test_a_video_that_cannot_be_read_is_refused_at_once(store: Store, tmp_path: Path) -> None:
    record = store.create(write_clip(tmp_path / "still.mp4", frames=2, size=64), little_settings())
    record.source.write_bytes(b"no video")
    with pytest.raises(V2M4Error, match=r"still\.mp4"):
        Workers(store, ONE).submit(record, "me")
