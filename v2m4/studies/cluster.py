"""Work fanned out over a Ray cluster (extra ``ray``): scheduling, and repeating what a lost worker had, are Ray's.

Videos and result folders must lie where every node sees them. A job that is done again goes on from its folder.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from v2m4.errors import V2M4Error

T = TypeVar("T")
R = TypeVar("R")
_ATTEMPTS = 4
_PATIENCE_S = 10.0  # for a cluster to answer


def fan_out(function: Callable[[T], R], items: Sequence[T], address: str, *, gpus: float | None = None) -> Iterator[R]:
    """``function(item)`` of all items, as they finish.

    address: “local” for a cluster on this machine, else that of a running one (“auto” finds it). gpus: how many each
    item takes; by default one where the cluster has any. Raises V2M4Error without Ray or where no cluster answers.
    """
    ray = _ray()
    mine = not ray.is_initialized()
    if mine:
        _connect(ray, address)
    try:
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=_ATTEMPTS)(function)
        waiting = [remote.remote(item) for item in items]
        while waiting:
            (done, *_), waiting = ray.wait(waiting, num_returns=1)
            try:
                yield ray.get(done)
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
                raise V2M4Error(
                    f"Ray lost the workers of one job {_ATTEMPTS} times ({type(error).__name__}). Give the same "
                    "command again; what is finished is kept. If it persists, see whether the nodes run out of memory."
                ) from error
    finally:
        if mine:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise V2M4Error('The package ray is not installed. Run `pip install "v2m4[ray]"`, or drop --ray.') from error
    return ray


def _connect(ray: Any, address: str) -> None:
    options = {"address": address} | ({"include_dashboard": False} if address == "local" else {})
    try:
        _knock(address)
        ray.init(log_to_driver=False, configure_logging=False, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise V2M4Error(
            f"No Ray cluster answers at “{address}” ({error}). Start one with `ray start --head`, or give --ray local."
        ) from error


def _knock(address: str) -> None:
    """Raise OSError at once where nobody listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
