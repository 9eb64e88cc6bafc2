from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from v2m4.errors import V2M4Error
from v2m4.settings import Settings
from v2m4.ui.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs", keep_hours=1)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"bytes")
    return path


def test_a_run_is_found_by_its_link_after_the_upload_is_gone(store: Store, clip: Path) -> None:
    record = store.create(clip, Settings.of("draft", seed=7))
    clip.unlink()
    assert store.find(record.id) == record and record.source.read_bytes() == b"bytes"


def test_the_link_for_others_finds_it_too_and_tells_nothing_of_the_owners(store: Store, clip: Path) -> None:
    record = store.create(clip, Settings())
    assert store.find_shared(record.shared) == record
    assert record.id not in record.shared


@pytest.mark.parametrize("ident", ["", "..", "../x", "0" * 32, "view-" + "0" * 32, "view-../x"])
def test_what_is_no_link_is_refused(store: Store, ident: str) -> None:
    assert not store.exists(ident)
    for find in (store.find, store.find_shared):
        with pytest.raises(V2M4Error, match="no run"):
            find(ident)


def test_two_cannot_work_on_one_run(store: Store, clip: Path) -> None:
    record = store.create(clip, Settings())
    with store.working(record), pytest.raises(V2M4Error, match="still working"), store.working(record):
        pass
    with store.working(record):
        assert store.busy(record.id)


def test_a_deleted_run_leaves_nothing(store: Store, clip: Path) -> None:
    record = store.create(clip, Settings())
    with store.working(record), pytest.raises(V2M4Error, match="still working"):
        store.delete(record.id)
    store.delete(record.id)
    assert not list(store.root.glob("*/*"))


def test_old_runs_are_swept_but_not_busy_ones(store: Store, clip: Path) -> None:
    old, busy = store.create(clip, Settings()), store.create(clip, Settings())
    past = time.time() - 7200
    for record in (old, busy):
        for path in (record.folder / "record.json", record.folder):
            os.utime(path, (past, past))
    with store.working(busy):
        assert store.sweep() == [old.id]
    assert busy.folder.exists() and not (store.root / "shared" / old.shared).exists()
