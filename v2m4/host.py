"""Where the program runs: on somebody's own machine, or for strangers, and on how many cores."""

from __future__ import annotations

import math
import os
from pathlib import Path


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
    quotas = []
    for line in _lines(system / "proc" / "self" / "cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root, read = system / "sys" / "fs" / "cgroup", _quota_of_2
        elif "cpu" in controllers.split(","):
            root, read = system / "sys" / "fs" / "cgroup" / controllers, _quota_of_1
        else:
            continue
        # A group within another has no more than that; in a container the outermost is its own, whatever it is called.
        place = root / path.lstrip("/")
        quotas += [read(folder) for folder in (place, *place.parents) if folder.is_relative_to(root)]
    return min((quota for quota in quotas if quota), default=None)


def _quota_of_2(group: Path) -> float | None:
    words = " ".join(_lines(group / "cpu.max")).split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _quota_of_1(group: Path) -> float | None:
    microseconds, period = (_lines(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return int(microseconds[0]) / int(period[0]) if microseconds and period and int(microseconds[0]) > 0 else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
