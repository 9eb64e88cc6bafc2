"""Kernels run wherever the package lies: cached if anything can be written, without a cache if not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import v2m4
from v2m4.compiled import njit, temporary_cache

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


def test_kernels_are_compiled_for_a_signature_or_at_the_first_call():
    @njit("f8(f8[::1])")
    def total(values):
        return values.sum()

    @njit(fastmath=True, nogil=True)
    def doubled(values):
        return 2 * values

    values = np.arange(4.0)
    assert total(values) == 6 and doubled(values).tolist() == [0, 2, 4, 6]
    assert len(total.signatures) == 1  # type: ignore[attr-defined]
