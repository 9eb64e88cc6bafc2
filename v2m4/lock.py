"""One process at a time works in a folder: an advisory lock, which the system lifts when its holder dies."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from v2m4.errors import V2M4Error
from v2m4.files import writing

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_FAR = 2**30  # Windows locks bytes, and those that are locked cannot be read: lock one beyond the text


@contextmanager
def locked(path: Path, folder: Path) -> Iterator[None]:
    """Hold the lock in the file ``path`` inside the block; the work is on ``folder``.

    Processes that are forked inside the block share the lock, but only its taker gives it back. Raises V2M4Error that
    names the holder if there is another. A file system without locks does not stand in the way.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        if not _take(file):
            raise V2M4Error(
                f"{_holder(file)} works in {folder}. Wait until it is done or stop it, then give the same command "
                "again; or choose another folder with -o."
            )
        taker = os.getpid()
        file.truncate(0)
        file.write(f"Process {taker} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            if os.getpid() == taker:
                file.truncate(0)
                _give_back(file)


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read(200).strip() or "Another process"


if sys.platform == "win32":

    def _take(file: TextIO) -> bool:
        file.seek(_FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return error.errno not in _HELD
        return True

    def _give_back(file: TextIO) -> None:
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:

    def _take(file: TextIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _HELD
        return True

    def _give_back(file: TextIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
