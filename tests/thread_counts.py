"""What is computed on one thread and on several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def on_one_and_more(work: Callable[[], Result]) -> tuple[Result, list[Result]]:
    """What ``work`` makes on one of PyTorch's threads, and on two and five."""
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(work())
    finally:
        torch.set_num_threads(before)
    return found[0], found[1:]
