"""Ctrl-C, also where native code has called Python."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from v2m4.errors import V2M4Error


@contextmanager
def heeded() -> Iterator[None]:
    """Within it what fails after a Ctrl-C is a KeyboardInterrupt.

    numba's compiler has LLVM call Python back. An interrupt that arrives there is printed and forgotten by the
    interpreter, and soon after something fails for want of the compiled code. Does nothing outside of the main thread,
    or where somebody else handles the signal.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    asked, printed = threading.Event(), sys.unraisablehook

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.default_int_handler(number, frame)

    def forgotten(told: sys.UnraisableHookArgs) -> None:
        if not issubclass(told.exc_type, KeyboardInterrupt):
            printed(told)

    signal.signal(signal.SIGINT, note)
    sys.unraisablehook = forgotten
    try:
        yield
    except V2M4Error:
        raise
    except Exception as error:
        if asked.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = printed
