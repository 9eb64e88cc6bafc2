"""Writing files so that nobody ever sees half of one, and telling later whether they are still what was written."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from v2m4.errors import V2M4Error

Inventory = dict[str, list[int | str]]
"""Of files, by their paths from some root: size in bytes, time of the last change in ns, and digest."""
PART = ".v2m4-part-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and vanishes otherwise.

    The temporary name keeps the suffix, which some writers choose their format by. Raises V2M4Error where the file
    system refuses, with the place and the space left there.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=PART, suffix=path.suffix, dir=path.parent)
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


def sweep(folder: Path) -> None:
    """Remove temporary files of `replacing` that killed processes left in a folder of which nobody else makes use."""
    for path in (*folder.glob(f"{PART}*"), *(folder / "work").rglob(f"{PART}*")):
        with suppress(OSError):
            path.unlink()


def inventory(root: Path, paths: Iterable[Path]) -> Inventory:
    """What the files at ``paths``, and all below the folders among them, are now; names are relative to ``root``."""
    files = (file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path]))
    found: Inventory = {}
    for file in files:
        if file.is_file():
            facts = file.stat()
            found[file.relative_to(root).as_posix()] = [facts.st_size, facts.st_mtime_ns, digest_of(file)]
    return found


def unchanged(root: Path, written: Mapping[str, list[int | str]]) -> Inventory | None:
    """The inventory with today's times if every file in it is still what it was, else None.

    A digest is taken only of a file whose time differs.
    """
    found: Inventory = {}
    try:
        for name, (size, time_ns, digest) in written.items():
            facts = (root / name).stat()
            if facts.st_size != size or (facts.st_mtime_ns != time_ns and digest_of(root / name) != digest):
                return None
            found[name] = [size, facts.st_mtime_ns, digest]
    except (OSError, TypeError, ValueError):
        return None
    return found


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns whatever a missing or damaged file of ours raises inside the block into a sentence about ``path``."""
    try:
        yield
    except V2M4Error:
        raise
    except Exception as error:  # every format's reader has kinds of complaint of its own
        reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0] or type(error).__name__
        raise V2M4Error(
            f"{path} is missing or damaged ({reason}). Delete the folder {path.parent} and give the same command "
            "again, which makes it anew."
        ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def make_writable(folder: Path) -> None:
    """Make the folder if need be. Raises V2M4Error where no file can be written in it, before there is work to lose."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns whatever the operating system raises inside the block into a sentence about writing ``path``."""
    try:
        yield
    except OSError as error:
        raise V2M4Error(cannot_write(path, error)) from error


def cannot_write(path: Path, error: OSError) -> str:
    """What is wrong with writing ``path``, how much space is left there if that is what is wrong, and what to do."""
    reason = error.strerror or str(error) or type(error).__name__
    free = _free_bytes(path) if error.errno in _FULL else None
    left = "" if free is None else f"; {_readable(free)} are free there"
    way_out = "Free some space there, or choose another folder." if error.errno in _FULL else "Choose another folder."
    return f"Cannot write {path}: {reason}{left}. {way_out}"


def _free_bytes(path: Path) -> int | None:
    """What is left on the disk of ``path``; None where nobody can tell."""
    for place in (path, *path.parents):
        try:
            usage = shutil.disk_usage(place)
        except OSError:
            continue
        return usage.free if usage.total else None  # places like /proc are no disk
    return None


def _readable(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count // 1000} kB"
