"""Cores that a process may use: those it is bound to, and what its control groups leave it of their time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from v2m4.host import cpu_quota, usable_cores


def machine(folder: Path, groups: str, files: dict[str, str]) -> Path:
    """A system's ``proc`` and ``sys`` with this process in ``groups``."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be bound to cores here")
def test_cores_that_a_process_may_not_use_do_not_count(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, [min(before)])
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)
    assert usable_cores(tmp_path) == len(before)


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),  # a container's own, of version 2
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (
            "0::/pod/task\n",
            {"sys/fs/cgroup/pod/cpu.max": "50000 100000\n", "sys/fs/cgroup/pod/task/cpu.max": "max 100000\n"},
            0.5,  # the outer group's
        ),
        (
            "5:cpu,cpuacct:/docker/abc\n3:cpuset:/\n0::/\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            4.0,  # in a container of version 1 the path is the host's
        ),
        (
            "1:cpu:/\n",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "1\n"},
            None,
        ),
        ("", {}, None),
    ],
)
def test_what_control_groups_leave_of_the_time(
    tmp_path: Path, groups: str, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(machine(tmp_path, groups, files)) == quota


@pytest.mark.parametrize("limit", ["abc 100000", "1e5 100000", "100000 max", "-1 100000", "100000 0", "0 1", "7", ""])
def test_words_that_no_kernel_writes_are_no_quota(tmp_path: Path, limit: str) -> None:
    assert cpu_quota(machine(tmp_path / "2", "\n0:/\n0::/\n", {"sys/fs/cgroup/cpu.max": limit})) is None
    first, _, second = limit.partition(" ")
    times = {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": first, "sys/fs/cgroup/cpu/cpu.cfs_period_us": second}
    assert cpu_quota(machine(tmp_path / "1", "1:cpu:/\n", times)) is None


def test_a_group_whose_name_is_no_text_has_no_quota(tmp_path: Path) -> None:
    system = machine(tmp_path, "", {"sys/fs/cgroup/cpu.max": "max 100000"})
    (system / "proc" / "self" / "cgroup").write_bytes(b"0::/\xff\xfe\x00\n")
    assert cpu_quota(system) is None


def test_a_part_of_a_core_is_one_and_more_than_there_are_changes_nothing(tmp_path: Path) -> None:
    file = "sys/fs/cgroup/cpu.max"
    assert usable_cores(machine(tmp_path / "little", "0::/\n", {file: "20000 100000"})) == 1
    assert usable_cores(machine(tmp_path / "much", "0::/\n", {file: "99900000 100000"})) == usable_cores(tmp_path)


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
