"""Sentences of the command line, as the page says them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import v2m4
from v2m4.ui.words import api_words, page_words

ROOT = Path(v2m4.__file__).parent
ABOUT_THE_TERMINAL = {
    "cli.py",
    "__main__.py",
    "doctor.py",
    "console.py",
    "words.py",
    "commands",
    "studies",
    "evaluation",
}
SHOWN_ALL_THE_SAME = {"verdict.py"}


def sentences() -> list[str]:
    """Every text in the package, outside the command line's own files, that names a flag."""
    found = []
    for path in ROOT.rglob("*.py"):
        if path.name in SHOWN_ALL_THE_SAME or ABOUT_THE_TERMINAL.isdisjoint((path.name, path.parent.name)):
            found += re.findall(r'"([^"\n]* --[a-z][^"\n]*)"', path.read_text())
    return found


def test_there_are_such_sentences() -> None:
    assert len(sentences()) > 5


@pytest.mark.parametrize("sentence", sorted(set(sentences())))
def test_no_flag_reaches_the_page(sentence: str) -> None:
    assert not re.search(r"--[a-z]", page_words(sentence))


def test_what_names_no_flag_stays() -> None:
    assert page_words("Frames 3-7 look wrong.") == "Frames 3-7 look wrong."


def test_the_page_does_not_offer_what_it_cannot_take() -> None:
    told = "a.mp4 cannot be read. Give an MP4, WebM, MOV or GIF, or a folder or zip of PNG, JPG, TIFF or WebP frames."
    assert page_words(told) == "a.mp4 cannot be read. Give an MP4, WebM, MOV or GIF."


def test_settings_are_called_by_label_on_the_page_and_by_name_at_the_endpoints() -> None:
    told = "video.start_s must be from 0 to 86400, but is -1."
    assert page_words(told) == "“From” must be from 0 to 86400, but is -1."
    assert api_words(told) == told
