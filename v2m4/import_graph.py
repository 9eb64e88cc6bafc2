"""Which source files a module's work rests on, as its imports tell, and a digest of them.

Read from the text, so that nothing heavy is imported: imports inside functions count too, and relative ones. Those
within this package and within the module's own are followed. All stages of a run: 80 modules, 70 ms, once per process.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

OWN = "v2m4"
# Settings count by their values, sentences for the user not at all, and the package's root by its version.
LEFT_OUT = re.compile(r"v2m4(\.errors|\.settings(\..*)?|\.steps)?")
# What every step is handed, and what knows all stages and plugs: it counts, but not what it knows in turn.
FRAME = frozenset(f"{OWN}.{name}" for name in ("run", "recipe", "plugs", "workbench", "stage_spec", "pipeline"))
_IMPORT = re.compile(
    r"""^[ \t]*(?:from[ \t]+(?P<base>\.*[\w.]*)[ \t]+import[ \t]*(?P<names>\([^)]*\)|[^\n#]*)"""
    r"""|import[ \t]+(?P<plain>[^\n#]*))""",
    re.MULTILINE,
)


@cache
def code_digest(module: str) -> str:
    """A digest of the source of a module and of all that it rests on, with their names."""
    digest = hashlib.sha256()
    for name in sorted(rests_on(module)):
        file = source_of(name)
        digest.update(f"{name}/{_digest(file) if file else ''}/".encode())
    return digest.hexdigest()


@cache
def rests_on(module: str) -> frozenset[str]:
    """The module and the names of all modules that it imports, directly or by others."""
    tops, seen, left = {OWN, module.partition(".")[0]}, set[str](), [module]
    while left:
        name = left.pop()
        if name in seen or name.partition(".")[0] not in tops or (name != module and LEFT_OUT.fullmatch(name)):
            continue
        seen.add(name)
        if name not in FRAME:
            left += imports(name)
    return frozenset(name for name in seen if source_of(name))


@cache
def imports(module: str) -> frozenset[str]:
    """What may be modules among the names that a module's source imports, and the packages it lies in."""
    file = source_of(module)
    text = file.read_text(errors="replace") if file else ""
    package = module if file and file.name == "__init__.py" else module.rpartition(".")[0]
    return frozenset({*_parents(module), *_imported(text, package)})


def _imported(text: str, package: str) -> Iterator[str]:
    for found in _IMPORT.finditer(text):
        if found["plain"] is not None:
            yield from _names(found["plain"])
            continue
        base = found["base"]
        dots = len(base) - len(base.lstrip("."))
        if dots:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - dots + 1], *filter(None, [base[dots:]])])
        yield base
        yield from (f"{base}.{name}" for name in _names(found["names"]))


def _names(text: str) -> Iterator[str]:
    """The names in ``a, b as c`` or ``(a, # why\\n b)``."""
    plain = re.sub(r"#[^\n]*", "", text).strip("()\\ \t\n")
    yield from (words[0] for part in plain.split(",") if (words := part.split()))


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts)))


@cache
def source_of(module: str) -> Path | None:
    """A module's source file; None where it has none that can be read."""
    root = _root(module.partition(".")[0])
    if root is None:
        return None
    path = root.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


@cache
def _root(top: str) -> Path | None:
    """The folder that a top-level package or module lies in."""
    if top == OWN:
        return Path(__file__).parents[1]
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    found = places[0] if places else spec.origin
    return Path(found).parent if found else None


@cache
def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
