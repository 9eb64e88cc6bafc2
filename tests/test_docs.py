"""What the documents say of the code is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from v2m4.doctor import examine, report
from v2m4.plugs import PORTS
from v2m4.registry import Plug

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


PLUGS = {plug.name: plug for plugs in PORTS.values() for plug in plugs.values()}
LICENCES = r"MIT|Apache-2\.0|BSD-[23]-Clause|CC BY[\w-]* 4\.0|VGGT-1B-Commercial|Tencent"
README_ROWS = [
    line.strip("|").split("|")
    for line in (ROOT / "README.md").read_text().partition("## What runs where")[2].partition("\n## ")[0].splitlines()
    if line.startswith("|")
][2:]


def readme_rows(plug: Plug) -> list[list[str]]:
    """The rows of the README's table that name a plug."""
    return [row for row in README_ROWS if re.search(rf"`{re.escape(plug.name)}`", row[1])]


@pytest.mark.parametrize("plug", PLUGS.values(), ids=PLUGS)
def test_the_readme_says_of_a_plug_what_its_entry_says(plug: Plug) -> None:
    ((_, _, needs, licence),) = readme_rows(plug)
    assert ("GPU" in needs) == plug.needs_gpu
    assert ("weights" in needs) == plug.learned
    assert not plug.learned or f"weights ({plug.size_gb:g} GB" in needs
    assert ("no revision could be pinned" in needs) == plug.unpinned
    assert ("package" in needs) == bool(plug.packages)
    assert set(re.findall(LICENCES, plug.licence)) <= set(re.findall(LICENCES, licence))
    assert ("non-commercial" in licence) == (not plug.commercial)
    assert plug.notice in licence


def test_the_doctor_says_what_the_entries_say() -> None:
    told = report(examine())
    for plug in PLUGS.values():
        (entry,) = re.findall(
            rf"^  (?:ready |absent) {re.escape(plug.name)} .*\n((?:         .*\n?)*)", told, re.MULTILINE
        )
        assert f"licence: {plug.licence}" in entry
        assert f"restricted: {plug.restriction}" in entry if plug.restriction else "restricted" not in entry
        if plug.absent_weights():
            assert f"v2m4 download {plug.name} ({plug.size_gb:g} GB)" in entry
