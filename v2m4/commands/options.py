"""Settings on the command line: ``--texture.size 2048`` for the setting texture.size, each checked as it is read.

They are taken out of the words before tyro reads the rest, since it would look at every one of them, each time.
"""

from __future__ import annotations

import dataclasses
import difflib
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from v2m4.errors import Problems, V2M4Error
from v2m4.settings import COMMON, Field, Settings, changed, fields_of

_SHORTHANDS = {
    "--generator": "--generator.name",
    "--generator.url": "--generator.http.url",
    "--template": "--generator.template",
    "--start": "--video.start-s",
    "--end": "--video.end-s",
}
_WIDTH = 100


@dataclass(frozen=True)
class ListSettings:
    """List the settings of `reconstruct`: what each does, what it may be, and its value.

    Without a word: the sections, and the settings that are changed most.
    """

    words: tyro.conf.Positional[tuple[str, ...]] = ()
    """A section, or words of a setting's name or sentence."""
    preset: str = "fast"
    """Whose values are shown: draft, fast or paper."""
    all: bool = False
    """Every setting there is."""


def gathered(command: type[Any], words: list[str]) -> list[str]:
    """``words`` in which an option of many values that is given twice stands once, with the values of both: ``--rows a
    --rows b`` is ``--rows a b``. ``command``: a dataclass of options."""
    many = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(command) if "tuple" in str(field.type)}
    values: dict[str, list[str]] = {}
    rest: list[str] = []
    taking: list[str] = rest
    for word in words:
        name, equals, value = word.partition("=")
        if name in many:
            taking = values.setdefault(name, [])
            taking += [value] if equals else []
        elif word.startswith("-") and not _is_number(word):
            rest.append(word)
            taking = rest
        else:
            taking.append(word)
    return rest + [word for name, said in values.items() for word in (name, *said)]


def _is_number(word: str) -> bool:
    return word[1:].replace(".", "", 1).isdecimal()


def read_settings(words: list[str], command: type[Any], problems: Problems) -> tuple[list[str], Settings, Path | None]:
    """The words that are no settings, what the settings are, and the file that --settings named.

    What a setting may not be, and what ``command``, a dataclass of options, does not know either, are ``problems``.
    Raises V2M4Error at once for words that mean nothing.
    """
    words, base, file = _base_settings([_long_form(word) for word in words], problems)
    known, own = _options(), _own_options(command)
    values: dict[str, Any] = {}
    rest, unknown, queue = [], False, list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("--") or name in own:
            rest.append(word)
            continue
        field, flag = known.get(name.replace("_", "-"), (None, True))
        if field is None:
            unknown = True
            problems.add(_unknown(name, [*known, *own]))
        elif field.kind is bool:
            if equals:
                problems.add(f"{name} takes no value: it is {' or '.join(_names(field))}.")
            values[field.name] = flag
        elif not equals and not queue:
            problems.add(f"{name} needs a value.")
        else:
            parsed = field.parsed(value if equals else queue.pop(0))
            sentence = _problem(field, parsed)
            if sentence is None:
                values[field.name] = parsed
            else:
                problems.add(sentence)
    if unknown:  # what follows it would be taken for something else
        problems.refuse()
    return rest, changed(base, values), file


def common_settings() -> str:
    """The settings that are changed most, as a part of a command's help."""
    fields = {field.name: field for field in fields_of(Settings)}
    short = {long: name for name, long in _SHORTHANDS.items()}
    lines: list[str] = []
    for name in COMMON:
        option = _names(fields[name])[0]
        lines += _explained(short.get(option, option), fields[name], Settings())
    return (
        f"settings that are changed most, of {len(fields)} (`v2m4 settings` lists them, `v2m4 settings WORD` finds "
        "one):\n  --settings FILE\n      All of them from a settings.json of an earlier run.\n" + "\n".join(lines)
    )


def listed(options: ListSettings) -> str:
    """The settings that were asked for, as text."""
    settings = Settings.of(options.preset)  # type: ignore[arg-type]
    fields = fields_of(Settings)
    if not options.words and not options.all:
        sections = dict.fromkeys(field.path[0] for field in fields if len(field.path) > 1)
        counts = (f"  {name:14} {sum(f.path[0] == name for f in fields)} settings" for name in sections)
        return "sections (`v2m4 settings SECTION` lists one):\n" + "\n".join(counts) + "\n\n" + common_settings()
    words = [word.lower().lstrip("-").replace("-", "_") for word in options.words]
    found = [f for f in fields if all(_tells(f, word) for word in words)]
    if any(f.path[0] == word for f in found for word in words):  # a section: what stands in it, in its order
        found = [f for f in found if f.path[0] in words]
    if not found:
        near = difflib.get_close_matches(words[-1], [f.name for f in fields], 3, 0.5)
        hint = f" Do you mean {' or '.join(near)}?" if near else ""
        raise V2M4Error(f"No setting's name or sentence has {' and '.join(options.words)} in it.{hint}")
    return "\n".join(line for f in found for line in _explained(_names(f)[0], f, settings))


def _tells(field: Field, word: str) -> bool:
    return word in field.name or word in field.text.lower().replace("-", "_")


def _explained(option: str, field: Field, settings: Settings) -> Iterable[str]:
    """A setting's option with its value, and its sentence below."""
    value = field.of(settings)
    shown = "" if field.kind is bool else f" {'none' if value is None else value}"
    if field.kind is bool and value:
        option = _names(field)[1]
    may_be = "|".join(field.choices) or (str(field.range) if field.range else "")
    yield f"  {option}{shown}" + (f"  ({may_be})" if may_be else "")
    yield textwrap.fill(field.text, _WIDTH, initial_indent="      ", subsequent_indent="      ")


def _names(field: Field) -> list[str]:
    """Its option; one that is on or off has a second that turns it off."""
    *path, last = (part.replace("_", "-") for part in field.path)
    words = [last, f"no-{last}"] if field.kind is bool else [last]
    return [f"--{'.'.join((*path, word))}" for word in words]


def _options() -> dict[str, tuple[Field, bool]]:
    """Each option's setting, and whether it turns that on."""
    return {name: (field, not off) for field in fields_of(Settings) for off, name in enumerate(_names(field))}


def _own_options(command: type[Any]) -> set[str]:
    names = [field.name for field in dataclasses.fields(command)]
    dashed = [name.replace("_", "-") for name in names]
    return {"--help", *(f"--{name}" for name in (*names, *dashed)), *(f"--no-{name}" for name in dashed)}


def _problem(field: Field, value: Any) -> str | None:
    sentence = field.problem(value)
    if sentence is not None or not (field.port or isinstance(value, Path)):
        return sentence
    from v2m4.recipe import file_problem, name_problem  # knows all plugs

    return name_problem(field, value) or file_problem(field, value)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1) or difflib.get_close_matches(
        name.rpartition(".")[2], [option.rpartition(".")[2] for option in known], 1
    )
    close = [option for option in known if near and (option == near[0] or option.endswith(f".{near[0]}"))]
    hint = f" Do you mean {close[0]}?" if close else ""
    return f"There is no option {name}.{hint} `v2m4 settings` lists all settings."


def _long_form(word: str) -> str:
    """Short option names for what newcomers use most."""
    name, equals, value = word.partition("=")
    return _SHORTHANDS.get(name, name) + equals + value


def _base_settings(words: list[str], problems: Problems) -> tuple[list[str], Settings, Path | None]:
    """Take ``--settings FILE`` and ``--preset NAME`` out: they decide the defaults of all other options."""
    rest: list[str] = []
    file: Path | None = None
    settings: Settings | None = None
    preset: str | None = None
    queue = list(words)
    while queue:
        name, equals, value = queue.pop(0).partition("=")
        if name not in ("--settings", "--preset"):
            rest.append(name + equals + value)
            continue
        if not equals:
            if not queue:
                raise V2M4Error(f"{name} needs a value.")
            value = queue.pop(0)
        if name == "--preset":
            preset = value
        else:
            file = Path(value)
            with problems:
                settings = _read_settings(file)
    if settings is None:
        with problems:
            settings = Settings.of(preset or "fast")  # type: ignore[arg-type]
    elif preset is not None and preset != settings.preset:
        raise V2M4Error("Give either --settings or --preset: a settings file already says everything a preset does.")
    return rest, settings or Settings(), file


def _read_settings(path: Path) -> Settings:
    try:
        return Settings.from_json(path.read_text())
    except OSError as error:
        raise V2M4Error(f"Cannot read the settings file {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise V2M4Error(f"The settings file {path} is not text. Give a settings.json of an earlier run.") from error
