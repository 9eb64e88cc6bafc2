"""Where the numbers are crunched, and what runs there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import torch
from torch import nn

from v2m4.errors import V2M4Error

_log = logging.getLogger(__name__)


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


@cache
def triton_works(device: torch.device) -> bool:
    """Whether Triton's kernels compile and run on ``device``; tried once per process, on a small one.

    Triton may be absent, too old for the GPU, or lack the C compiler that it builds its launchers with. PyTorch then
    takes its place: same results, more time.
    """

    def trial() -> None:
        from v2m4.device_triton import ones_plus_one

        if float(ones_plus_one(device).sum()) != 8.0:
            raise RuntimeError("a kernel computed something else than it says")

    return device.type == "cuda" and works("triton", trial)


def works(package: str, trial: Callable[[], object]) -> bool:
    """Whether ``package`` is installed, can be imported, and ``trial``, which uses it, runs through.

    Says so in the log where it is there but fails.
    """
    if find_spec(package) is None:
        return False
    try:
        import_module(package)
        trial()
    except Exception as error:  # whatever a foreign package's import, build or first launch may raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        _log.warning("%s is installed but does not work here, so a slower way is taken: %s", package, reason)
        return False
    return True
