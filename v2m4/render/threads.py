"""A compiled kernel on all of the processor's cores, and whole pictures side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

import torch

Result = TypeVar("Result")

_ROWS_WORTH_SHARING = 256  # one smaller picture is done before a second thread has started
_SHARE: ContextVar[int | None] = ContextVar("threads of this one's own", default=None)


def threads_here() -> int:
    """How many threads work may be spread over: PyTorch's number, so that one setting governs all; of those, on a
    thread of work that is spread already, its share."""
    return _SHARE.get() or torch.get_num_threads()


def _pool(workers: int) -> ThreadPoolExecutor:
    """So many threads, each of which has its share of those that there are here."""
    return ThreadPoolExecutor(workers, initializer=_SHARE.set, initargs=(max(1, threads_here() // workers),))


def parallel_for(work: Callable[[int, int, int, int], None], views: int, rows: int) -> None:
    """Call ``work(view0, view1, row0, row1)`` for ranges that together cover all views and rows, on all threads.

    Whole views go to a thread where there are enough of them, bands of rows otherwise.
    """
    threads = threads_here()
    parts = min(views, 4 * threads)
    bands = threads if views < threads and rows >= _ROWS_WORTH_SHARING else 1
    if threads == 1 or parts * bands <= 1:
        work(0, views, 0, rows)
        return
    ranges = [
        (views * p // parts, views * (p + 1) // parts, rows * q // bands, rows * (q + 1) // bands)
        for p in range(parts)
        for q in range(bands)
    ]
    with _pool(min(threads, len(ranges))) as pool:
        for job in [pool.submit(work, *r) for r in ranges]:
            job.result()


def in_order(work: Callable[[int], Result], count: int, at_once: int) -> Generator[Result, None, None]:
    """``work(0)`` to ``work(count - 1)``, one after the other as they are asked for, of which up to ``at_once`` are
    worked on beforehand: fewer where there are fewer threads, none where there is one."""
    threads = min(threads_here(), at_once, count)
    if threads <= 1:
        yield from map(work, range(count))
        return
    with _pool(threads) as pool:
        begun: deque[Future[Result]] = deque()
        for index in range(count):
            begun.append(pool.submit(work, index))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def side_by_side(work: Callable[[int], Result], count: int) -> list[Result]:
    """``work(0)`` to ``work(count - 1)``, on all threads."""
    return [*in_order(work, count, count)]


def networks_side_by_side(work: Callable[[int], Result], count: int) -> list[Result]:
    """The same for PyTorch's operators, one thread for each: shared out over several, some add up in another order, and
    small ones take longer to share than to do."""
    before, with_slopes = torch.get_num_threads(), torch.is_grad_enabled()

    def alone(index: int) -> Result:
        torch.set_num_threads(1)  # of this thread's own
        with torch.set_grad_enabled(with_slopes):
            return work(index)

    try:
        return side_by_side(alone, count)
    finally:
        torch.set_num_threads(before)
