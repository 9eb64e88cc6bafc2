"""Who has the last word: events of a page are answered side by side, and a slow answer may come after a later one."""

from __future__ import annotations

import threading

_KEPT = 10_000  # open pages that are remembered; an older one that asks again begins anew


class Turns:
    """Numbers the events of every open page."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._count = 0
        self._lock = threading.Lock()

    def take(self, page: str) -> int:
        """The number of an event of this page that has just come in."""
        with self._lock:
            self._count += 1
            self._last.pop(page, None)  # put in anew, so that the first is the page that was silent longest
            self._last[page] = self._count
            if len(self._last) > _KEPT:
                del self._last[next(iter(self._last))]
            return self._count

    def is_last(self, page: str, turn: int) -> bool:
        """Whether nothing came in from this page after the event with this number."""
        with self._lock:
            return self._last.get(page, turn) == turn
