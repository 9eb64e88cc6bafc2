"""Work on several threads: all of it is done, and in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from v2m4.render.threads import in_order, networks_side_by_side, parallel_for, side_by_side, threads_here


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_and_few_are_begun_beforehand(threads: int) -> None:
    begun: set[int] = set()

    def work(index: int) -> int:
        begun.add(index)
        time.sleep(0.002 * (index % 3))
        return index * index

    for asked, result in enumerate(in_order(work, 12, at_once=4)):
        assert result == asked * asked
        assert len(begun) <= asked + 1 + threads
    assert begun == set(range(12))


def test_what_fails_is_told_where_its_result_is_asked_for(threads: int) -> None:
    def work(index: int) -> int:
        if index == 2:
            raise ValueError("no")
        return index

    found = in_order(work, 5, at_once=4)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="no"):
        next(found)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_work_that_is_spread_already_is_spread_no_further(threads: int) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def inner(*_ranges: int) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.002)
        with lock:
            busy -= 1

    side_by_side(lambda _index: parallel_for(inner, 6, 1), 6)
    assert most <= threads
    with ThreadPoolExecutor(1) as pool:  # shares are of their threads alone
        assert threads_here() == pool.submit(threads_here).result() == threads
    assert side_by_side(lambda _index: threads_here(), 2) == [max(1, threads // 2)] * 2 or threads == 1


def test_networks_have_one_thread_each_and_no_slopes_where_none_are_wanted(threads: int) -> None:
    with torch.no_grad():
        assert (
            networks_side_by_side(lambda _: (torch.get_num_threads(), torch.is_grad_enabled()), 5) == [(1, False)] * 5
        )
    assert networks_side_by_side(lambda _: torch.is_grad_enabled(), 2) == [True, True]
    assert torch.get_num_threads() == threads
    with ThreadPoolExecutor(1) as pool:  # nor does a thread that begins later have fewer
        assert pool.submit(torch.get_num_threads).result() == threads
