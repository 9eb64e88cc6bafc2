"""What benchmarks found, commit by commit: a line of JSON each, and a picture of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from v2m4.errors import V2M4Error
from v2m4.evaluation.plots import curves

ROOT = Path(__file__).parents[1]


def commit() -> str:
    """The checkout's commit, with a + where it was changed since, as far as it can be told."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return "unknown"
    return done.stdout.strip() or "unknown"


def remember(path: Path, machine: str, cases: dict[str, dict[str, Any]]) -> None:
    """Add a line to the history in ``path``: of every case that ended well, the seconds of each stage."""
    kept = {name: {"whole": c["whole"], **c["stages"]} for name, c in cases.items() if "stages" in c}
    with path.open("a") as stream:
        stream.write(json.dumps({"commit": commit(), "machine": machine, "cases": kept}) + "\n")


def draw(path: Path, machine: str) -> Path | None:
    """Plot the whole seconds of each case over the commits of one machine beside ``path``; None without matplotlib."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    mine = [line for line in lines if line["machine"] == machine]
    names = dict.fromkeys(name for line in mine for name in line["cases"])
    series: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
    for name in names:
        known = [(n, line["cases"][name]["whole"]) for n, line in enumerate(mine) if name in line["cases"]]
        series[name] = ([n for n, _ in known], [seconds for _, seconds in known])
    picture = path.with_suffix(".svg")
    try:
        picture.write_bytes(curves(series, f"runs, {mine[0]['commit']} to {mine[-1]['commit']}", "seconds"))
    except V2M4Error as error:
        print(error)
        return None
    return picture
