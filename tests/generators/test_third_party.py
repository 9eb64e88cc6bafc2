"""A generator from outside the package: a toy package, really installed, is known to the command and makes a run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from v2m4.evaluation.glb import read_glb

TOY = Path(__file__).parent / "toy_package"
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "own-generator.md"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of an environment into which the toy package is installed beside v2m4."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(TOY, source, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return installed(source, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same for the package that the documentation shows, each block in the file that its first line names."""
    source = tmp_path_factory.mktemp("documented")
    blocks = re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [name for name, _ in blocks] == ["my_generator.py", "pyproject.toml"]
    for name, text in blocks:
        (source / name).write_text(text)
    return installed(source, tmp_path_factory.mktemp("site"))


def installed(source: Path, target: Path) -> dict[str, str]:
    """The variables of an environment in which the package in ``source`` is installed into ``target``."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", str(target), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(ROOT)])}


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "v2m4", *words], env=environment, capture_output=True, text=True, cwd=ROOT
    )


def test_the_doctor_knows_it_and_says_which_is_broken(environment: dict[str, str]) -> None:
    done = run(environment, "doctor", "--json")
    assert done.returncode == 0, done.stderr
    plugs = {plug["name"]: plug for plug in json.loads(done.stdout)["plugs"]}
    assert plugs["egg"]["ready"]
    assert plugs["egg"]["summary"] == "An egg for every picture."
    assert "broken" not in plugs
    assert "“broken” of the package v2m4-toy-generator cannot be imported" in done.stderr


def test_a_run_is_made_with_it(environment: dict[str, str], lizard: Path, tmp_path: Path) -> None:
    words = ("--preset", "draft", "--generator", "egg", "--texture.size", "128", "-o", str(tmp_path / "out"), "-q")
    done = run(environment, "reconstruct", str(lizard), *words)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["plugs"]["generator"] == "egg"
    assert report["faces"] == 1280
    assert read_glb(tmp_path / "out" / "animation.glb").at(0.0).isfinite().all()


def test_the_documented_package_runs_as_it_stands(documented: dict[str, str], lizard: Path, tmp_path: Path) -> None:
    words = ("--preset", "draft", "--generator", "mine", "--texture.size", "128", "-o", str(tmp_path / "out"), "-q")
    done = run(documented, "reconstruct", str(lizard), *words)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["licences"]["generator"] == "mine: MIT"


def test_without_the_package_nobody_knows_it(lizard: Path, tmp_path: Path) -> None:
    done = run({**os.environ, "PYTHONPATH": str(ROOT)}, "reconstruct", str(lizard), "--generator", "egg")
    assert done.returncode == 2
    assert "no generator called “egg”" in done.stderr
