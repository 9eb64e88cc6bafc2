"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from v2m4.errors import V2M4Error

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and vanishes otherwise.

    The temporary name keeps the suffix, which some writers choose their format by. Raises V2M4Error where the file
    system refuses, with the place and the space left there.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".part-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """SHA-256 in hex of a file's bytes, or of all files below a folder with their names."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}/{digest_of(file)}/".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns whatever the operating system raises inside the block into a sentence about writing ``path``."""
    try:
        yield
    except OSError as error:
        raise V2M4Error(cannot_write(path, error)) from error


def cannot_write(path: Path, error: OSError) -> str:
    """What is wrong with writing ``path``, how much space is left there, and what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    free = _free_bytes(path)
    left = "" if free is None else f"; {_readable(free)} are free there"
    way_out = "Free some space there, or choose another folder." if error.errno in _FULL else "Choose another folder."
    return f"Cannot write {path}: {reason}{left}. {way_out}"


def _free_bytes(path: Path) -> int | None:
    """What is left on the disk of ``path``; None where nobody can tell."""
    for place in (path, *path.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def _readable(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count // 1000} kB"
