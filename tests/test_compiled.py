"""Kernels run wherever the package lies: cached if anything can be written, without a cache if not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import v2m4
from v2m4 import compiled, kernels
from v2m4.compiled import ahead, kernels_of, njit, temporary_cache, types_of
from v2m4.kernels import KERNELS

_CUT = """
import numpy as np
from v2m4.matting.graph_cut import cut
from v2m4.settings import GraphCutSettings
evidence = np.where(np.arange(64).reshape(8, 8) < 32, -1, 1).astype(np.float32)
labels = cut(evidence, np.ones((8, 8), np.float32), GraphCutSettings())
assert (labels > 0.5).sum() == 32, labels
"""


@pytest.fixture
def sealed(tmp_path) -> Path:
    """A copy of the package that no cache can be written beside, whoever runs the tests."""
    root = Path(v2m4.__file__).parent
    shutil.copytree(root, tmp_path / "v2m4", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [tmp_path / "v2m4", *(f for f in (tmp_path / "v2m4").rglob("*") if f.is_dir())]:
        (folder / "__pycache__").write_text("")
    return tmp_path


def run_sealed(sealed: Path, temporary: Path) -> None:
    """Cut a picture in a process without a home, by the package in ``sealed``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "PYTHON", "XDG"))}
    nowhere = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/proc/nowhere", "TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, "-c", _CUT], cwd=sealed, env=kept | nowhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_read_only_package_without_a_home_caches_in_the_temporary_folder(sealed):
    temporary = sealed / "tmp"
    temporary.mkdir()
    run_sealed(sealed, temporary)
    (own,) = temporary.iterdir()
    assert own.stat().st_mode & 0o777 == 0o700
    assert {f.suffix for f in own.rglob("*") if f.is_file()} == {".nbi", ".nbc"}


def test_a_folder_that_others_may_write_to_is_not_trusted(sealed):
    temporary = sealed / "tmp"
    (others := temporary / f"v2m4-kernels-{os.getuid()}").mkdir(parents=True)
    others.chmod(0o777)
    run_sealed(sealed, temporary)
    assert list(others.iterdir()) == []


def test_a_link_is_not_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"v2m4-kernels-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    assert temporary_cache() is None


def test_no_kernel_goes_round_it():
    root = Path(v2m4.__file__).parent
    users = {f.name for f in root.rglob("*.py") if re.search(r"^\s*(import|from) numba\b", f.read_text(), re.M)}
    assert users == {"compiled.py"}


def test_kernels_are_compiled_at_the_first_call_or_ahead_for_their_types():
    @njit("(f8[::1],)")
    def total(values):
        return values.sum()

    @njit(fastmath=True, nogil=True)
    def doubled(values):
        return 2 * values

    module = ModuleType(__name__)
    module.total, module.doubled = total, doubled  # type: ignore[attr-defined]
    assert kernels_of(module) == [total]
    ahead(total)
    values = np.arange(4.0)
    assert total.signatures == [types_of(total)]  # type: ignore[attr-defined]
    assert total(values) == 6 and doubled(values).tolist() == [0, 2, 4, 6]
    assert len(total.signatures) == 1  # type: ignore[attr-defined]


def test_kernels_are_begun_beside_one_run_only(tmp_path, monkeypatch):
    kernel = SimpleNamespace(stats=SimpleNamespace(cache_path=str(tmp_path / "cache")))
    begun: list[Sequence[str]] = []

    def helper(names, file):
        begun.append(names)
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(compiled, "kernels_of", lambda module: [kernel])
    monkeypatch.setattr(kernels, "_helper", helper)
    monkeypatch.setattr(kernels, "usable_cores", lambda: 3)
    assert len(kernels.compile_beside()) == 2 and kernels.compile_beside() == []
    assert sorted(name for names in begun for name in names) == sorted(KERNELS)
    kernel.stats.cache_path = None  # nothing is kept here
    assert kernels.compile_beside() == []
    kernel.stats.cache_path = str(tmp_path / "another")
    monkeypatch.setattr(kernels, "usable_cores", lambda: 1)
    assert kernels.compile_beside() == []


def test_what_a_helper_compiles_lies_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    (begun := tmp_path / "begun").touch()
    assert kernels._helper(["v2m4.matting.clicks_numba"], begun).wait() == 0
    (index,) = tmp_path.rglob("*.nbi")
    assert "relax" in index.name and begun.exists()


def test_kernels_need_nothing_that_their_packages_import():
    code = (
        "import sys; from v2m4.kernels import KERNELS, hollow; hollow(KERNELS); from importlib import import_module; "
        "[import_module(name) for name in KERNELS]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="a process keeps its parent's number there")
def test_a_helper_ends_with_the_run_and_lets_the_next_one_begin_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    (begun := tmp_path / "begun").touch()
    monkeypatch.setattr(os, "getpid", lambda: -1)  # of a run that is not its parent any more
    assert kernels._helper(["v2m4.matting.clicks_numba"], begun).wait() == 0
    assert not begun.exists() and not [*tmp_path.rglob("*.nbi")]


def test_every_kernel_is_known_and_says_what_it_is_called_with():
    root = Path(v2m4.__file__).parent
    files = [file for file in root.rglob("*_numba.py") if "@njit(" in file.read_text()]
    assert sorted(KERNELS) == sorted(".".join(("v2m4", *f.relative_to(root).with_suffix("").parts)) for f in files)
    for name in KERNELS:
        module = import_module(name)
        assert all(types_of(kernel) for kernel in kernels_of(module))
        silent = {k for k, value in vars(module).items() if hasattr(value, "py_func") and not value.types}
        others = [file for file in root.rglob("*.py") if re.search(rf"from {re.escape(name)} import", file.read_text())]
        assert not [file for file in others for k in silent if re.search(rf"\b{k}\b", file.read_text())]
