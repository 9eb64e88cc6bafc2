"""What the documents say of the code is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
WORDS = TEXT.partition("## From the paper's words to files")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| ([^|]+) \| `([^`|]+\.py)` \| (`[^|]+`) \|$", WORDS, flags=re.MULTILINE)


def defined(path: Path) -> set[str]:
    """The functions and classes of a file."""
    return {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def test_the_table_of_terms_is_read_whole() -> None:
    assert len(ROWS) == sum(line.startswith("|") for line in WORDS.splitlines()) - 2 >= 15


@pytest.mark.parametrize(("term", "file", "names"), ROWS, ids=[row[0] for row in ROWS])
def test_a_term_of_the_paper_leads_to_its_file(term: str, file: str, names: str) -> None:
    found = defined(ROOT / "v2m4" / file)
    assert not [name for name in re.findall(r"`(\w+)`", names) if name not in found]


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`((?:\w+/)+\w+\.py)`", WORDS))))
def test_every_file_that_the_section_names_is_there(file: str) -> None:
    assert (ROOT / "v2m4" / file).is_file()
