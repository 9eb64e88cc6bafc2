"""Compiled CPU kernels: `numba.njit` whose cache never stands in the way of running."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

os.environ.setdefault("NUMBA_DISABLE_CUDA", "1")  # probing for a GPU here would break hosts that fork GPU workers

import numba
from numba.core.sigutils import normalize_signature

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def njit(types: str | None = None, *, fastmath: bool = False, nogil: bool = False) -> Callable[[Kernel], Kernel]:
    """Compile a kernel at its first call, or `ahead` for the ``types`` that it is called with, as in "(f8[:,::1],i8)".

    Only kernels that others call do without types. What was compiled is kept beside the source or in the user's cache.
    Where neither can be written (a read-only installation, no home directory) it is kept in a folder of the user's own
    under the temporary one, or not at all.
    """

    def compiled(function: Kernel) -> Kernel:
        def build(cache: bool) -> Any:
            kernel: Any = numba.njit(cache=cache, fastmath=fastmath, nogil=nogil)(function)
            kernel.types = types
            return kernel

        try:
            return build(cache=True)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
        folder = temporary_cache()
        if folder is None:
            return build(cache=False)
        # Numba asks for the folder when it decorates and keeps the answer, so nobody else's kernels are led there.
        config: Any = numba.config
        before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
        try:
            return build(cache=True)
        finally:
            config.CACHE_DIR = before

    return compiled


def kernels_of(module: ModuleType) -> list[Any]:
    """The kernels that a module has for others to call."""
    found = (value for value in vars(module).values() if getattr(value, "types", None))
    return [kernel for kernel in found if kernel.py_func.__module__ == module.__name__]


def types_of(kernel: Any) -> tuple[Any, ...]:
    """What a kernel says that it is called with."""
    return normalize_signature(kernel.types)[0]


def ahead(kernel: Any) -> None:
    """Compile a kernel, or take it from the cache."""
    kernel.compile(types_of(kernel))


def temporary_cache() -> Path | None:
    """A folder under the temporary one that only this user can write to; None where there cannot be one.

    Compiled code is loaded from it, so one that somebody else made, or may change, is not used.
    """
    user = os.getuid() if hasattr(os, "getuid") else None
    try:
        folder = Path(tempfile.gettempdir()) / ("v2m4-kernels" if user is None else f"v2m4-kernels-{user}")
        folder.mkdir(mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        facts = folder.lstat()
    except OSError:
        return None
    own = user is None or (facts.st_uid == user and not facts.st_mode & 0o022)
    return folder if own and stat.S_ISDIR(facts.st_mode) else None
