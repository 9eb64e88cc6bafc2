"""`v2m4 download PLUG`: fetch what a learned plug needs beforehand, and check that it arrived whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from v2m4.errors import V2M4Error
from v2m4.files import write_atomically
from v2m4.nn.weights import fetch, fetch_url
from v2m4.registry import Plug

Say = Callable[[str], None]
_BLOCK = 1 << 22


def learned(ports: Mapping[str, Mapping[str, Plug[object]]]) -> dict[str, Plug[object]]:
    """The plugs that come with weights, by name."""
    return {plug.name: plug for plugs in ports.values() for plug in plugs.values() if plug.learned}


def download(plug: Plug[object], say: Say, *, progress: bool = True) -> list[Path]:
    """Fetch all files of ``plug``, those already there excepted, and check each; ``say`` is told of every file.
    progress: show a bar for each.

    Raises V2M4Error if a file cannot be fetched or is damaged; a damaged one is removed.
    """
    files: list[Path] = []
    if plug.supply:
        plug.fetch_supply()
        say(f"{plug.name}: fetched and checked by its package")
    for repo, name, revision in plug.weights:
        path = fetch(repo, name, revision, plug.name, progress=progress)
        say(f"{repo}/{name}: {check(path, plug.checksum(name) or _cached_under(path), plug.name)}")
        files.append(path)
    for name, url, start in plug.torch_files:
        path = fetch_url(url, name, plug.name, start, progress=progress)
        told = check(path, start or _remembered(path), plug.name)
        say(f"{name}: {told}" + ("" if start else " at the first download; nobody publishes one"))
        files.append(path)
    return files


def check(path: Path, expected: str, plug: str) -> str:
    """Compare a file with the first digits of its SHA-256, or with its Git blob hash (40 digits); what was found, in
    words. Raises V2M4Error, and removes the file, if it is another one."""
    if re.fullmatch("[0-9a-f]{40}", expected):
        kind, found = "Git hash", _digest(path, hashlib.sha1(f"blob {path.stat().st_size}\0".encode()))
    else:
        kind, found = "SHA-256", _digest(path, hashlib.sha256())
    if not found.startswith(expected):
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise V2M4Error(
            f"{plug}: {path.name} is damaged or another file ({kind} {found[:12]}, not {expected[:12]}) and was "
            "removed. Run the download again."
        )
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return (
        f"{size}, {kind} {found[:12]} as expected"
        if expected
        else f"{size}, {kind} {found}; nobody tells what it should be"
    )


def _digest(path: Path, digest: Any) -> str:
    for block in _blocks(path):
        digest.update(block)
    text: str = digest.hexdigest()
    return text


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block


def _cached_under(path: Path) -> str:
    """The hash under which the Hub's cache keeps a file: SHA-256 for large ones, Git's for small; empty elsewhere."""
    name = path.resolve().name
    return name if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", name) else ""


def _remembered(path: Path) -> str:
    """The SHA-256 of a file for which nobody publishes one, as it was at the first download."""
    note = path.with_name(f"{path.name}.sha256")
    if not note.is_file():
        write_atomically(note, _digest(path, hashlib.sha256()).encode())
    return note.read_text().strip()
