"""What a step replaces is put aside, and comes back unless the step is finished: failed attempts change nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from v2m4.files import write_atomically, writing

_SUFFIX = ".former"


def put_aside(manifest: Path) -> None:
    """Keep the manifest as it is, before it or any step's place changes; its copy marks that something is aside."""
    if manifest.is_file():
        write_atomically(_aside(manifest), manifest.read_bytes())


def empty(place: Path) -> None:
    """Make ``place`` an empty folder; what lay there is put aside."""
    with writing(place):
        shutil.rmtree(_aside(place), ignore_errors=True)
        if place.is_dir():
            place.replace(_aside(place))
        else:
            place.unlink(missing_ok=True)
        place.mkdir(parents=True)


def put_back(manifest: Path) -> None:
    """Undo what was begun and not finished: places first, the manifest last, so that this may be cut short."""
    with writing(manifest):
        marker = _aside(manifest)
        for aside in _places(manifest.parent):
            place = aside.with_name(aside.name.removesuffix(_SUFFIX))
            if marker.is_file():
                shutil.rmtree(place, ignore_errors=True)
                aside.replace(place)
            else:
                shutil.rmtree(aside)
        if marker.is_file():
            marker.replace(manifest)


def discard(manifest: Path, place: Path) -> None:
    """Forget what was put aside for ``place``: what replaced it is finished."""
    with writing(place):
        _aside(manifest).unlink(missing_ok=True)
        if _aside(place).is_dir():
            shutil.rmtree(_aside(place))


def _aside(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)


def _places(work: Path) -> Iterator[Path]:
    yield from (path for path in (*work.glob(f"*{_SUFFIX}"), *work.glob(f"*/*{_SUFFIX}")) if path.is_dir())
