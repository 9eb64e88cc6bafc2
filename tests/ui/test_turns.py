"""Numbers of a page's events."""

from __future__ import annotations

import pytest

from v2m4.ui import turns
from v2m4.ui.turns import Turns


def test_only_the_last_event_of_a_page_has_the_last_word() -> None:
    numbers = Turns()
    first, other, second = numbers.take("a"), numbers.take("b"), numbers.take("a")
    assert not numbers.is_last("a", first)
    assert numbers.is_last("a", second) and numbers.is_last("b", other)


def test_pages_that_were_silent_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_KEPT", 2)
    numbers = Turns()
    silent, first = numbers.take("silent"), numbers.take("a")
    for page in ("a", "b"):
        numbers.take(page)
    assert not numbers.is_last("a", first)
    assert numbers.is_last("silent", silent)  # nothing is known of it any more, so nothing is held back
    assert len(numbers._last) == 2
