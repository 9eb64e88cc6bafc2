"""Who imports whom: no circles, nothing upwards, and the core knows ports but no plug.

The layers are those written down in CONTRIBUTING.md. Imports are read from the source, those inside functions and for
type checkers too. The package's root is left out: it brings its public names at their first use.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PORTS = {"generators", "stereo", "perceptual", "matting", "tracks"}
# What a port has beside its plugs that others may call: matting is a stage as well.
OPEN = {"v2m4.matting.stage"}

Imports = Mapping[str, set[str]]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """The project's modules that a source imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    yield inner
                elif node.module in modules:
                    yield node.module


@pytest.fixture(scope="module")
def imports() -> Imports:
    paths = {module_name(path): path for path in (ROOT / "v2m4").rglob("*.py")}
    found = {name: set(imported(ast.parse(path.read_text()), set(paths))) for name, path in paths.items()}
    del found["v2m4"]
    return {name: targets - {name, "v2m4"} for name, targets in found.items()}


def room(module: str) -> str:
    """What stands in the list of layers: the file or folder right under the package."""
    return re.sub("_(numba|triton)$", "", module.split(".")[1])


def layers() -> list[list[str]]:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Who may import whom")[2].partition("\n## ")[0]
    rows = re.findall(r"^    (\w.*)$", text, flags=re.MULTILINE)
    return [re.split(", *", re.split("  +", row)[0]) for row in rows]


def circle(graph: Imports) -> list[str]:
    """The modules of one circle; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_circles_are_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
    hidden = ast.parse("def f():\n    from v2m4.b import x\n    import v2m4.c")
    assert list(imported(hidden, {"v2m4.b", "v2m4.c"})) == ["v2m4.b", "v2m4.c"]


def test_no_modules_import_each_other_in_a_circle(imports: Imports) -> None:
    assert not circle(imports)


def test_no_rooms_import_each_other_in_a_circle(imports: Imports) -> None:
    rooms: dict[str, set[str]] = {}
    for module, targets in imports.items():
        rooms.setdefault(room(module), set()).update(map(room, targets))
    assert not circle({name: targets - {name} for name, targets in rooms.items()})


def test_every_room_has_a_layer(imports: Imports) -> None:
    written = [name for row in layers() for name in row]
    assert len(written) == len(set(written))
    assert sorted(written) == sorted({room(module) for module in imports} - {"__main__"})


def test_nothing_is_imported_from_above(imports: Imports) -> None:
    height = {name: number for number, row in enumerate(layers()) for name in row} | {"__main__": len(layers())}
    upwards = [
        f"{module} imports {target}"
        for module, targets in imports.items()
        for target in targets
        if height[room(target)] > height[room(module)]
    ]
    assert not upwards


def test_a_port_knows_nothing_of_the_others(imports: Imports) -> None:
    assert not [
        f"{module} imports {target}"
        for module, targets in imports.items()
        for target in targets
        if room(module) in PORTS and room(target) in PORTS - {room(module)}
    ]


def test_the_core_imports_no_plugs_module(imports: Imports) -> None:
    """Plugs are data until they are made."""
    assert not [
        f"{module} imports {target}"
        for module, targets in imports.items()
        for target in targets
        if room(target) in PORTS and room(module) not in PORTS and target.count(".") > 1 and target not in OPEN
    ]


def test_kernels_are_named_after_what_compiles_them() -> None:
    compilers = {
        "triton": re.compile(r"^import triton", re.M),
        "numba": re.compile(r"^(import|from) (numba|v2m4\.compiled)", re.M),
    }
    for path in (ROOT / "v2m4").rglob("*.py"):
        if path.stem == "compiled":  # the decorator itself
            continue
        for compiler, mark in compilers.items():
            assert bool(mark.search(path.read_text())) == path.stem.endswith(f"_{compiler}"), path
