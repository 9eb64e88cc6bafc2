"""What is freed goes back to the system."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from v2m4.heap import give_back


def resident() -> int:
    """Bytes of this process in memory."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is freed and gives it back when asked"
)
def test_what_is_freed_between_what_stays_goes_back() -> None:
    blocks = [np.ones(60_000, np.uint8) for _ in range(2000)]  # small enough not to have pages of their own
    full = resident()
    stay = blocks[::100]
    del blocks
    give_back()
    assert resident() < full - 80e6
    assert all(block.all() for block in stay)


def test_it_may_be_asked_for_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2m4.heap._trim", lambda: None)
    give_back()
