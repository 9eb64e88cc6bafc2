"""Where the numbers are crunched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from v2m4.errors import V2M4Error


def pick_device(name: str) -> torch.device:
    """The torch device called ``name``; ``auto`` is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda") and not name.startswith("cuda:"):
        raise V2M4Error(f"There is no device “{name}”. Choose cpu, cuda or auto.")
    if name != "cpu" and not torch.cuda.is_available():
        raise V2M4Error(f"The device “{name}” was asked for, but torch finds no CUDA GPU. Use --device cpu.")
    return torch.device(name)


@contextmanager
def on_device(networks: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Have `networks` on `device` inside the block; those that were elsewhere go to the CPU at its end.

    Blocks may be nested: a network stays until the outermost block that named it ends.
    """
    with ExitStack() as stack:
        for network in networks:
            if next(network.parameters()).device != device:
                network.to(device)
                stack.callback(network.to, "cpu")
        yield
