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
    ticket = store.create(clip, Settings.of("draft", seed=7))
    clip.unlink()
    assert store.find(ticket.id) == ticket and ticket.source.read_bytes() == b"bytes"


@pytest.mark.parametrize("ident", ["", "..", "../x", "0" * 32])
def test_what_is_no_link_is_refused(store: Store, ident: str) -> None:
    with pytest.raises(V2M4Error, match="no run"):
        store.find(ident)


def test_two_cannot_work_on_one_run(store: Store, clip: Path) -> None:
    ticket = store.create(clip, Settings())
    with store.working(ticket), pytest.raises(V2M4Error, match="another window"), store.working(ticket):
        pass
    with store.working(ticket):
        assert store.busy(ticket.id)


def test_old_runs_are_swept_but_not_busy_ones(store: Store, clip: Path) -> None:
    old, busy = store.create(clip, Settings()), store.create(clip, Settings())
    past = time.time() - 7200
    for ticket in (old, busy):
        for path in (ticket.folder / "ticket.json", ticket.folder):
            os.utime(path, (past, past))
    with store.working(busy):
        assert store.sweep() == [old.id]
    assert busy.folder.exists()
