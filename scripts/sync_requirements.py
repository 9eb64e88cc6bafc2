"""Write requirements.txt, the Space's list, from pyproject.toml's dependencies.

    python scripts/sync_requirements.py [--check]

The Space's builder installs gradio, spaces and huggingface_hub itself, at the version of README.md's front matter, and
another pin beside its own cannot be resolved; so they are left out. torch is pinned to the newest that ZeroGPU
supports.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILDER_BRINGS = {"gradio", "spaces", "huggingface-hub"}
TORCH = "torch==2.11.0"
HEAD = "# Made from pyproject.toml by scripts/sync_requirements.py; the Space's builder adds gradio and spaces.\n"


def requirements(pyproject: Path = ROOT / "pyproject.toml") -> str:
    """The text of requirements.txt."""
    project = tomllib.loads(pyproject.read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["learned"]
    lines = [TORCH if name_of(line) == "torch" else line for line in wanted if name_of(line) not in BUILDER_BRINGS]
    return HEAD + "\n".join(sorted(lines)) + "\n"


def name_of(requirement: str) -> str:
    """The normalised name of a requirement line."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def main(arguments: list[str]) -> int:
    """Write the file, or with --check say whether it is up to date."""
    target = ROOT / "requirements.txt"
    if "--check" in arguments:
        if not target.exists() or target.read_text() != requirements():
            print("requirements.txt differs from pyproject.toml; run: python scripts/sync_requirements.py")
            return 1
        return 0
    target.write_text(requirements())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
