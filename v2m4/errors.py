"""The one exception users are meant to read, and how several of them become one message."""

from __future__ import annotations

from types import TracebackType


class V2M4Error(Exception):
    """A problem the user can act on.

    The message is one or two sentences: what is wrong, with what, and what to do about it. The command line
    prints it and exits with code 2; the page shows it beside the thing it concerns.
    """


class RunStoppedError(V2M4Error):
    """The run was asked to stop; everything finished so far is kept in its folder and can be resumed."""


class NoSurfaceError(V2M4Error):
    """A generator made nothing that could be a mesh of the object. Another picture of it may do better."""


class Problems:
    """Collects what V2M4Errors say, so that everything wrong is told at once. Each check is a ``with`` block of it."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self._first: V2M4Error | None = None

    def __enter__(self) -> Problems:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(value, V2M4Error):
            return False
        self._first = self._first or value
        self.add(str(value))
        return True

    def add(self, sentence: str) -> None:
        """One more, unless it was said already."""
        if sentence not in self.sentences:
            self.sentences.append(sentence)

    def __bool__(self) -> bool:
        return bool(self.sentences)

    def refuse(self) -> None:
        """Raise one V2M4Error with all sentences, if there are any."""
        if self.sentences:
            raise V2M4Error(" ".join(self.sentences)) from self._first
