"""Every setting is reached from the command line, and what cannot be is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from v2m4.cli import Reconstruct, main
from v2m4.commands.ablate import Ablate
from v2m4.commands.options import ListSettings, common_settings, gathered, listed, read_settings
from v2m4.errors import Problems, V2M4Error
from v2m4.settings import COMMON, Field, Settings, fields_of

FIELDS = fields_of(Settings)


def read(*words: str, command: type[Any] = Reconstruct) -> tuple[list[str], Settings, list[str]]:
    problems = Problems()
    rest, settings, _ = read_settings(list(words), command, problems)
    return rest, settings, problems.sentences


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ("a.mp4 --rows x y -o out", "a.mp4 -o out --rows x y"),
        ("a.mp4 --rows x --table 3 --rows=y", "a.mp4 --table 3 --rows x y"),
        ("--rows x --truth t.npz --rows y --truth u.npz a.mp4", "--rows x y --truth t.npz u.npz a.mp4"),
        ("a.mp4 b.mp4 --table 3", "a.mp4 b.mp4 --table 3"),
    ],
)
def test_an_option_of_many_values_given_twice_has_the_values_of_both(given: str, read_as: str) -> None:
    assert gathered(Ablate, given.split()) == read_as.split()


def another(field: Field) -> Any:
    """A value that the setting may take, and does not have."""
    value = field.of(Settings())
    if field.kind is bool:
        return not value
    if field.choices:
        return next(choice for choice in field.choices if choice != value)
    if field.range is not None:
        return field.kind(field.range.low if value != field.range.low else field.range.high)
    return "auto" if field.port and value != "auto" else "something"


@pytest.mark.parametrize("way", ["a word of its own", "equals", "underscores"])
def test_every_setting_is_reached_by_its_name(way: str) -> None:
    for field in FIELDS:
        if field.port or field.kind is Path or field.name == "preset":
            continue
        name, value = field.name if way == "underscores" else field.name.replace("_", "-"), another(field)
        if field.kind is bool:
            path, _, last = name.rpartition(".")
            words = [f"--{path}{'.' if path else ''}{'' if value else 'no-'}{last}"]
        else:
            words = [f"--{name}={value}"] if way == "equals" else [f"--{name}", str(value)]
        rest, settings, wrong = read("clip.mp4", *words, "-q")
        assert (rest, field.of(settings), wrong) == (["clip.mp4", "-q"], value, [])


def test_options_of_the_command_are_left_to_it() -> None:
    words = ["a.mp4", "--table", "3", "--clip-model", "x/y", "--list", "-o", "out"]
    rest, settings, wrong = read(*words, "--seed", "3", "--no-low-vram", command=Ablate)
    assert (rest, settings, wrong) == (words, Settings(seed=3), [])


def test_short_names_and_none() -> None:
    _, settings, wrong = read("--generator", "inflate", "--start", "1", "--end=None")
    assert (settings.generator.name, settings.video.start_s, settings.video.end_s, wrong) == ("inflate", 1.0, None, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--texture.sise", "9"], "no option --texture.sise. Do you mean --texture.size?"),
        (["--longest-side", "9"], "Do you mean --video.longest-side?"),
        (["--outptu", "x"], "Do you mean --output?"),
        (["--camera.warm_start=yes"], "--camera.warm_start takes no value"),
        (["--texture.size"], "--texture.size needs a value"),
        (["--texture.size", "many"], "texture.size must be a whole number"),
        (["--texture.size=3", "--nonsense"], "texture.size must be from 16 to 8192, but is 3. There is no option"),
        (["--preset", "best"], "no preset “best”"),
        (["--generator", "magic"], "no generator called “magic”"),
    ],
)
def test_what_cannot_be_is_a_sentence(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["reconstruct", "none.mp4", *words]) == 2
    assert said in capsys.readouterr().err


def test_help_is_short_and_names_where_the_rest_is() -> None:
    assert set(COMMON) <= {field.name for field in FIELDS}
    said = common_settings()
    assert said.count("\n") < 80 and "v2m4 settings" in said and "--texture.size 1024  (16 to 8192)" in said


def test_settings_are_listed_by_section_and_found_by_words() -> None:
    section = listed(ListSettings(("texture",)))
    assert all(
        (f"--{f.name}".replace("_", "-") in section) == (f.path[0] == "texture") for f in FIELDS if f.kind is not bool
    )
    assert "--texture.size 512" in listed(ListSettings(("texture.size",), preset="draft"))
    assert "--export.no-preview" in listed(ListSettings(("--export.preview",)))
    assert listed(ListSettings(all=True)).count("\n  --") == len(FIELDS) - 1
    assert "matting " in listed(ListSettings())
    with pytest.raises(V2M4Error, match="Do you mean .*texture.size"):
        listed(ListSettings(("texture.sise",)))


def test_help_and_lists_load_no_heavy_library() -> None:
    code = (
        "import sys; from v2m4.cli import main; main(['settings', 'texture'])\n"
        "try: main(['reconstruct', '--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
