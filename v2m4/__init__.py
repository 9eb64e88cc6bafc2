"""From one video of a moving object to an animated, textured mesh."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from v2m4 import host as _host

__version__ = "0.1.0"
__all__ = [
    "Animation",
    "Clip",
    "Finished",
    "RunStoppedError",
    "Settings",
    "V2M4Error",
    "load_video",
    "reconstruct",
    "reconstruct_to",
]

# One of PyTorch's threads that waits for another shall sleep. Spinning it holds the core that the other one wants, and
# beside any other work a network takes three to five times as long. It is read when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A container may be given less time than its cores have, which PyTorch does not see.
if _host.cpu_quota() is not None:
    os.environ.setdefault("OMP_NUM_THREADS", str(_host.usable_cores()))
# NumPy's and SciPy's products are small here, and the threads of their BLAS always spin while they wait: beside any
# other work the parts' search takes four times the processor time. Our kernels share the cores out themselves.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Blocks of GPU memory grow where they are, instead of lying beside others that are too small for what comes next: a
# gigabyte less is taken from the card. Read with the first tensor there.
if sys.platform == "linux":
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

if TYPE_CHECKING:
    from v2m4.animation import Animation
    from v2m4.clip import Clip
    from v2m4.errors import RunStoppedError, V2M4Error
    from v2m4.events import Finished
    from v2m4.pipeline import reconstruct, reconstruct_to
    from v2m4.settings import Settings
    from v2m4.video import load_video

_HOMES = {
    "Animation": "animation",
    "Clip": "clip",
    "Finished": "events",
    "RunStoppedError": "errors",
    "Settings": "settings",
    "V2M4Error": "errors",
    "load_video": "video",
    "reconstruct": "pipeline",
    "reconstruct_to": "pipeline",
}


def __getattr__(name: str) -> Any:
    """Import the public names at their first use, so that `import v2m4` itself is instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'v2m4' has no attribute {name!r}")
    return getattr(importlib.import_module(f"v2m4.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted([*globals(), *__all__])
