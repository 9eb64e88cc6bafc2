"""Where the program runs: on somebody's own machine, or for strangers, and on how many cores."""

from __future__ import annotations

import math
import os
from pathlib import Path

_FOLDERS_OF_1 = ("cpu", "cpu,cpuacct", "cpuacct,cpu")  # of the controller of time, as systems name it


def on_public_host() -> bool:
    """Whether strangers use this program here: on a Hugging Face Space, or where V2M4_PUBLIC is 1."""
    told = os.environ.get("V2M4_PUBLIC")
    return bool(os.environ.get("SPACE_ID")) if told is None else told not in ("", "0")


def usable_cores(system: Path = Path("/")) -> int:
    """Cores that this process may use: `taskset` may leave fewer than the machine has, and a container less time.

    system: where its folders ``proc`` and ``sys`` lie.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(system)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(system: Path = Path("/")) -> float | None:
    """Cores' worth of time that this process's control groups (Linux, version 1 or 2) let it have; None: all of it."""
    quotas, groups = [], system / "sys" / "fs" / "cgroup"
    for line in _lines(system / "proc" / "self" / "cgroup"):
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            roots, read = [groups], _quota_of_2
        elif "cpu" in controllers.split(","):
            roots, read = [groups / name for name in {controllers, *_FOLDERS_OF_1}], _quota_of_1
        else:
            continue
        # A group within another has no more than that; in a container the outermost is its own, whatever it is called.
        for root in roots:
            place = root / path.lstrip("/")
            quotas += [read(folder) for folder in (place, *place.parents) if folder.is_relative_to(root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of_2(group: Path) -> float | None:
    return _cores(" ".join(_lines(group / "cpu.max")).split())


def _quota_of_1(group: Path) -> float | None:
    return _cores([word for name in ("quota", "period") for word in _lines(group / f"cpu.cfs_{name}_us")])


def _cores(words: list[str]) -> float | None:
    """A time of so many microseconds in each period of so many; None without a limit (``max``, -1), and for words that
    no kernel writes."""
    if len(words) != 2 or not all(word.strip().isdecimal() and int(word) for word in words):
        return None
    return int(words[0]) / int(words[1])


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except (OSError, ValueError):
        return []
