"""A Ctrl-C stops, also where native code has called Python and the interpreter forgets it."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Iterator

import pytest

from v2m4.errors import V2M4Error
from v2m4.interrupts import heeded


@pytest.fixture(autouse=True)
def in_the_foreground() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@ctypes.CFUNCTYPE(None)
def interrupted() -> None:
    signal.raise_signal(signal.SIGINT)


def work(problem: Exception) -> None:
    with heeded():
        interrupted()
        raise problem


def test_what_fails_after_a_forgotten_interrupt_is_a_stop(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        work(RuntimeError("no compiled object yet"))
    assert capfd.readouterr().err == ""


def test_what_fails_by_itself_is_no_stop() -> None:
    with pytest.raises(RuntimeError), heeded():
        raise RuntimeError("a fault of ours")


def test_a_sentence_for_the_user_stays_one() -> None:
    with pytest.raises(V2M4Error):
        work(V2M4Error("The disk is full."))


def test_the_signal_and_the_hook_are_as_before_at_the_end() -> None:
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with heeded():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before


def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with heeded():
        interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
