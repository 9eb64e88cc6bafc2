"""A run's results as downloads: named after the clip, and all together as a zip."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from v2m4.files import replacing

_ENDINGS = {"glb": ".glb", "preview": ".preview.mp4", "settings": ".settings.json", "report": ".report.json"}


def bundle(folder: Path, files: dict[str, Path], name: str, *, writable: bool = True) -> dict[str, Path]:
    """Copies of ``files`` (keys glb, preview, settings, report, camera, frames) called ``name``, and key ``zip``.

    They go to ``folder/download``, or to a temporary folder when ``folder`` must stay as it is. What was made there of
    these very files is not made again.
    """
    place = folder / "download" if writable else Path(tempfile.mkdtemp(prefix="v2m4-"))
    made = {key: place / f"{name}{ending}" for key, ending in _ENDINGS.items() if key in files}
    whole = place / f"{name}.zip"
    if _newer(whole, files.values()):
        return made | {"zip": whole}
    place.mkdir(exist_ok=True)
    for key, path in made.items():
        shutil.copyfile(files[key], path)
    with (
        replacing(whole) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for path in files.values():
            for member in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if member.is_file():
                    archive.write(member, f"{name}/{member.relative_to(path.parent)}")
    return made | {"zip": whole}


def _newer(path: Path, than: Iterable[Path]) -> bool:
    """Whether ``path``, which is made last, was made after all these."""
    return path.is_file() and all(path.stat().st_mtime_ns >= other.stat().st_mtime_ns for other in than)
