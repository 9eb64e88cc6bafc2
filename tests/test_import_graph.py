"""What a module rests on is read from its imports, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from v2m4 import import_graph
from v2m4.import_graph import code_digest, rests_on

FILES = {
    "__init__.py": "",
    "plug.py": """
        from __future__ import annotations
        import os, zoo_of_tests.plain as plain
        from zoo_of_tests import (
            listed,  # why
            other as named,
        )
        from .near import thing
        from .inner.deep import *

        def work():
            from v2m4.masks import mask_iou
            import zoo_of_tests.late
            raise RuntimeError("this package is read, not run")
        """,
    "plain.py": "import torch",
    "listed.py": "",
    "other.py": "from . import second",
    "second.py": "from zoo_of_tests import plug",
    "near.py": "thing = 1",
    "late.py": "",
    "unused.py": "",
    "inner/__init__.py": "from .beside import x",
    "inner/beside.py": "x = 1",
    "inner/deep.py": "from ..near import thing",
}


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of another distribution."""
    folder = tmp_path / "zoo_of_tests"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("\n".join(line.removeprefix(8 * " ") for line in text.splitlines()))
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield folder
    forget()
    sys.modules.pop("zoo_of_tests", None)


def forget() -> None:
    for known in (import_graph.imports, rests_on, code_digest, import_graph.source_of, import_graph._root):
        known.cache_clear()
    import_graph._digest.cache_clear()


def test_all_ways_to_import_are_followed(zoo: Path) -> None:
    ours = {name.partition(".")[2] for name in rests_on("zoo_of_tests.plug") if name.startswith("zoo_of_tests")}
    assert ours == {
        "",
        "plug",
        "plain",
        "listed",
        "other",
        "second",
        "near",
        "late",
        "inner",
        "inner.beside",
        "inner.deep",
    }
    assert {"v2m4.masks", "v2m4.arrays"} < rests_on("zoo_of_tests.plug")
    assert "zoo_of_tests.plug" not in sys.modules


def test_a_digest_changes_with_what_a_module_rests_on_and_with_nothing_else(zoo: Path) -> None:
    first = code_digest("zoo_of_tests.plug")
    (zoo / "unused.py").write_text("changed = True")
    forget()
    assert code_digest("zoo_of_tests.plug") == first
    (zoo / "inner" / "beside.py").write_text("x = 2")
    forget()
    assert code_digest("zoo_of_tests.plug") != first


def test_a_module_without_source_counts_for_nothing() -> None:
    assert rests_on("no_such_package.at_all") == frozenset()
    assert code_digest("no_such_package.at_all") == code_digest("math")


def test_what_every_step_is_handed_counts_but_not_what_it_knows() -> None:
    video = rests_on("v2m4.steps.video")
    assert {"v2m4.run", "v2m4.workbench", "v2m4.video", "v2m4.sources.stream"} < video
    assert not {"v2m4.stages.registration.video", "v2m4.errors", "v2m4.settings", "v2m4.steps.texture"} & video
