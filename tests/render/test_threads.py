"""Work on several threads: all of it is done, and in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from v2m4.render.threads import in_order


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
