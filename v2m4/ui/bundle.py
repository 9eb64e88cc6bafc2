"""A run's results as downloads: named after the clip, and all together as a zip."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from v2m4.files import replacing

_ENDINGS = {"glb": ".glb", "preview": ".preview.mp4", "settings": ".settings.json", "report": ".report.json"}


def bundle(folder: Path, files: dict[str, Path], name: str, *, writable: bool = True) -> dict[str, Path]:
    """Copies of ``files`` (keys glb, preview, settings, report, camera, frames) called ``name``, and key ``zip``.

    They go to ``folder/download``, or to a temporary folder when ``folder`` must stay as it is.
    """
    place = folder / "download" if writable else Path(tempfile.mkdtemp(prefix="v2m4-"))
    place.mkdir(exist_ok=True)
    made: dict[str, Path] = {}
    for key, ending in _ENDINGS.items():
        if key in files:
            made[key] = place / f"{name}{ending}"
            shutil.copyfile(files[key], made[key])
    with (
        replacing(place / f"{name}.zip") as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for path in files.values():
            for member in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if member.is_file():
                    archive.write(member, f"{name}/{member.relative_to(path.parent)}")
    return made | {"zip": place / f"{name}.zip"}
