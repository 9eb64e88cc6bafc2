"""How settings are declared, checked and read from JSON: one mechanism for the command line, the page and the API.

A setting is a field of a frozen dataclass with a sentence under it. What it may be stands in its type: ``Literal`` for
choices, `Range` for numbers, `PlugName` for what fills a port.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from v2m4.errors import V2M4Error


@dataclass(frozen=True)
class Range:
    """The numbers a setting may take: from ``low`` to ``high``, both included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in it."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{_number(self.low)} to {_number(self.high)}"


Share = Annotated[float, Range(0, 1)]
Factor = Annotated[float, Range(0, 1000)]


@dataclass(frozen=True)
class PlugName:
    """The setting names what fills this port: one of its plugs, or "auto"."""

    port: str


@dataclass(frozen=True)
class Field:
    """One setting: where it stands (``camera.rigid.directions``), its type, what it may be, and its sentence.

    ``choices`` is empty where there are none; ``optional``: None is allowed.
    """

    path: tuple[str, ...]
    kind: type
    optional: bool
    choices: tuple[str, ...]
    range: Range | None
    port: str | None
    text: str

    @property
    def name(self) -> str:
        """The dotted name that users see."""
        return ".".join(self.path)

    def of(self, settings: Any) -> Any:
        """Its value in ``settings``."""
        for part in self.path:
            settings = getattr(settings, part)
        return settings

    def problem(self, value: Any) -> str | None:
        """What is wrong with ``value``, as a sentence that names the setting; None where nothing is."""
        if value is None and self.optional:
            return None
        if self.choices:
            return None if value in self.choices else f"{self.name} cannot be {value!r}: {_options(self.choices)}."
        if isinstance(value, bool) != (self.kind is bool) or not isinstance(value, (self.kind, _NARROWER[self.kind])):
            return f"{self.name} must be {_NOUNS[self.kind]}, but is {_short(repr(value))}."
        if isinstance(value, float) and not math.isfinite(value):
            return f"{self.name} must be a finite number, but is {value!r}."
        if self.range is not None and isinstance(value, (int, float)) and not self.range.holds(value):
            return f"{self.name} must be from {self.range}, but is {_short(_number(value))}."
        return None

    def parsed(self, text: str) -> Any:
        """The value that ``text`` on a command line means; the text itself where it means none of this kind."""
        if self.optional and text == "None":
            return None
        try:
            return self.kind(text) if self.kind in (int, float, Path) else text
        except ValueError:
            return text


_NARROWER: dict[type, type] = {float: int, int: int, bool: bool, str: str, Path: Path}
_NOUNS: dict[type, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    Path: "a file's path",
}


@cache
def fields_of(kind: Any, path: tuple[str, ...] = ()) -> tuple[Field, ...]:
    """Every setting of a dataclass and of those nested in it, in the order of declaration."""
    hints, texts = get_type_hints(kind, include_extras=True), explanations(kind)
    found: list[Field] = []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            found += fields_of(hint, (*path, field.name))
        else:
            found.append(_field((*path, field.name), hint, texts.get(field.name, "")))
    return tuple(found)


def _field(path: tuple[str, ...], hint: Any, text: str) -> Field:
    marks = getattr(hint, "__metadata__", ())
    hint = get_args(hint)[0] if marks else hint
    optional = type(None) in get_args(hint)
    if optional:
        hint = next(o for o in get_args(hint) if o is not type(None))
        marks += getattr(hint, "__metadata__", ())
        hint = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    choices = tuple(map(str, get_args(hint))) if get_origin(hint) is Literal else ()
    limits = next((m for m in marks if isinstance(m, Range)), None)
    port = next((m.port for m in marks if isinstance(m, PlugName)), None)
    return Field(path, str if choices else hint, optional, choices, limits, port, text)


@cache
def explanations(kind: type) -> dict[str, str]:
    """The sentences that stand under the fields of a dataclass."""
    # `inspect.getsource` of a class parses its whole file, once for each class; all of it took a second.
    own = re.search(
        rf"^( *)class {kind.__name__}\b.*?(?=^\1\S|\Z)", _source_of(kind.__module__), re.MULTILINE | re.DOTALL
    )
    source = textwrap.dedent(own[0]) if own else ""
    pairs = re.findall(r'^    (\w+):[^\n]*\n    """(.*?)"""', source, flags=re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in pairs}


@cache
def _source_of(module: str) -> str:
    return inspect.getsource(sys.modules[module])


def problems(settings: Any) -> Iterator[str]:
    """A sentence for every setting that is not what its declaration allows."""
    for field in fields_of(settings.__class__):
        sentence = field.problem(field.of(settings))
        if sentence:
            yield sentence


def changed(settings: Any, changes: Mapping[str, Any]) -> Any:
    """``settings`` with other values under dotted names, such as ``{"camera.score.size": 64}``."""
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        inner = changed(getattr(settings, first), {rest: value}) if rest else value
        settings = replace(settings, **{first: inner})
    return settings


def updated(base: Any, data: dict[str, Any], renamed: Mapping[str, str]) -> Any:
    """``base`` with the entries of ``data`` (as parsed from JSON). Raises one V2M4Error that names all problems.

    ``renamed`` maps dotted names of earlier versions to what they are called now, or to "" where they are gone.
    """
    wrong: list[str] = []
    result = _updated(base, data, (), renamed, wrong)
    if wrong:
        raise V2M4Error(" ".join(wrong))
    return result


def _updated(
    base: Any, data: dict[str, Any], path: tuple[str, ...], renamed: Mapping[str, str], wrong: list[str]
) -> Any:
    own = {f.path[-1]: f for f in fields_of(base.__class__) if len(f.path) == 1}
    changes: dict[str, Any] = {}
    for name, value in data.items():
        where = ".".join((*path, name))
        inner = getattr(base, name, None)
        if name in own:
            field = replace(own[name], path=(*path, name))
            plain = Path(value) if field.kind is Path and isinstance(value, str) else value
            sentence = field.problem(plain)
            if sentence:
                wrong.append(sentence)
            else:
                changes[name] = float(plain) if field.kind is float and type(plain) is int else plain
        elif dataclasses.is_dataclass(inner) and isinstance(value, dict):
            changes[name] = _updated(inner, value, (*path, name), renamed, wrong)
        elif dataclasses.is_dataclass(inner) and where not in renamed:
            wrong.append(f"{where} must be an object with settings of its own, but is {value!r}.")
        else:
            wrong.append(_unknown(where, [*own, *_nested(base)], renamed))
    return replace(base, **changes)


def _nested(base: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(base) if dataclasses.is_dataclass(getattr(base, f.name))]


def _unknown(where: str, known: list[str], renamed: Mapping[str, str]) -> str:
    if where in renamed:
        now = renamed[where]
        return f"“{where}” is called “{now}” now: rename it." if now else f"“{where}” is gone: remove it."
    near = difflib.get_close_matches(where.rpartition(".")[2], known, 1)
    hint = f" Do you mean “{near[0]}”?" if near else ""
    return f"The settings have no entry “{where}”. Remove it or check its spelling.{hint}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def _options(choices: tuple[str, ...]) -> str:
    return f"choose one of {', '.join(choices)}"
