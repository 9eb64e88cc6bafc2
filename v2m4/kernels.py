"""All compiled kernels, made in processes beside a machine's first run: it waits for few of them."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from llvmlite.binding import get_host_cpu_name

from v2m4 import compiled
from v2m4.host import usable_cores

MOST_HELPERS = 3

# In the order in which a run comes to them; what few runs need is last.
KERNELS = (
    "v2m4.matting.graph_cut_numba",
    "v2m4.generators.inflate.triangulation_numba",
    "v2m4.generators.inflate.remeshing_numba",
    "v2m4.render.raster_numba",
    "v2m4.stages.camera.rigid_alignment_numba",
    "v2m4.geometry.embedded_deformation_numba",
    "v2m4.geometry.rigid_completion_numba",
    "v2m4.geometry.strain_numba",
    "v2m4.stages.texture.samples_numba",
    "v2m4.stages.texture.project_numba",
    "v2m4.stages.registration.parts.probes_numba",
    "v2m4.stages.registration.parts.skeleton_numba",
    "v2m4.stages.registration.parts.synthesis_numba",
    "v2m4.stages.registration.parts.chunks_numba",
    "v2m4.matting.colour_modes_numba",
    "v2m4.render.outlines_numba",
    "v2m4.matting.clicks_numba",
)


def compile_all(names: Sequence[str] = KERNELS, parent: int | None = None) -> bool:
    """Compile the kernels of these modules, or find them in the cache. Ends where it is, and says so by False, once the
    ``parent`` process that it is meant for is gone."""
    for name in names:
        for kernel in compiled.kernels_of(import_module(name)):
            if parent is not None and os.getppid() != parent:
                return False
            compiled.ahead(kernel)
    return True


def hollow(names: Sequence[str]) -> None:
    """Let these modules be imported without what their packages import, in a process that needs nothing else: kernels
    do not, and PyTorch alone takes a second to load."""
    for name in names:
        above = name.split(".")[:-1]
        for depth in range(2, len(above) + 1):
            package = ModuleType(".".join(above[:depth]))
            package.__path__ = [str(Path(__file__).parent.joinpath(*above[1:depth]))]
            sys.modules.setdefault(package.__name__, package)


def compile_beside() -> list[threading.Thread]:
    """Begin to compile all kernels in processes of their own, where that has not been begun for these kernels on this
    machine and there is a core to spare; what waits for them.

    They end by themselves, after the kernel at hand if this process ends before; the next one begins with the rest.
    What they made lies in the cache, where this process finds it: begun before it loads what else it needs, they stay
    ahead of it. Without a cache, or with one that cannot be written, nothing is begun.
    """
    helpers = min(MOST_HELPERS, usable_cores() - 1)
    begun = _first_time() if helpers else None
    if begun is None:
        return []
    processes = [_helper(KERNELS[number::helpers], begun) for number in range(helpers)]
    waiting = [threading.Thread(target=process.wait, daemon=True) for process in processes]
    for thread in waiting:
        thread.start()
    return waiting


def _first_time() -> Path | None:
    """The file that tells others of it, if nobody has asked this before, as long as kernels, Python and processor are
    the same."""
    module = import_module(KERNELS[0])
    folder = compiled.kernels_of(module)[0].stats.cache_path
    if folder is None:
        return None
    digest = hashlib.sha256(f"{sys.version} {compiled.numba.__version__} {platform.machine()}".encode())
    digest.update(get_host_cpu_name().encode())
    root = Path(__file__).parent.parent
    for name in KERNELS:
        path = root.joinpath(*name.split(".")).with_suffix(".py")
        if path.is_file():
            digest.update(f"{path} {path.stat().st_mtime_ns}".encode())
    begun = Path(folder, f"kernels-{digest.hexdigest()[:16]}.begun")
    try:
        begun.parent.mkdir(parents=True, exist_ok=True)
        begun.touch(exist_ok=False)
    except OSError:
        return None
    return begun


def _helper(names: Sequence[str], begun: Path) -> subprocess.Popen[bytes]:
    """A process that compiles the kernels of these modules, which it finds where this one found them; ``begun`` goes if
    it does not come to the end. It ends soon: to look for garbage among what compilers leave takes a sixth of its time.
    """
    code = (
        f"import gc, sys; gc.disable(); sys.path[:] = {sys.path!r}; from pathlib import Path; "
        "from v2m4.kernels import compile_all, hollow; "
        f"hollow({tuple(names)!r}); "
        f"compile_all({tuple(names)!r}, {os.getpid()}) or Path({str(begun)!r}).unlink(missing_ok=True)"
    )
    nothing = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )
