"""What in a run's folder is its own, as its manifest and its report tell; everything else is somebody's and stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from v2m4.errors import V2M4Error
from v2m4.files import PART, digest_of

FORMAT = 2
_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
RESULTS: Mapping[str, str] = {
    "glb": "animation.glb",
    "camera": "animation.camera.json",
    "preview": "preview.mp4",
    "settings": "settings.json",
    "report": "report.json",
    "frames": "frames",
}


def read_manifest(work: Path) -> dict[str, Any]:
    """The manifest as it stands; empty if it is absent or damaged."""
    try:
        data = json.loads((work / "run.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def finished_in(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of finished steps, in the order in which they were; what is none is left out."""
    entries = manifest.get("finished")
    return {name: entry for name, entry in (entries.items() if isinstance(entries, dict) else ()) if _is_entry(entry)}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("fingerprint"), str)
        and isinstance(entry.get("seconds"), (int, float))
        and isinstance(entry.get("files"), dict)
    )


def written_in(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Digests of the results that the run put into its folder."""
    written = manifest.get("results")
    entries = written.items() if isinstance(written, dict) else ()
    return {name: digests for name, digests in entries if isinstance(digests, list)}


def _refuse_foreign(work: Path) -> None:
    """Raise unless ``work`` is absent, empty, or a run's of this version."""
    if not work.is_dir() or not {path.name for path in work.iterdir()} - {"lock", "stop"}:
        return
    if not (work / "run.json").is_file():
        if (work / "video" / "clip.json").is_file():
            raise V2M4Error(
                f"{work} holds steps of a run, but its run.json, which says what they were made from, is gone. Delete "
                f"{work}, or choose another folder with -o; results beside it stay as they are."
            )
        raise V2M4Error(
            f"The folder {work} holds files that v2m4 did not make and would remove. Choose another with -o."
        )
    refuse_other_format(work, read_manifest(work))


def refuse_other_format(work: Path, manifest: Mapping[str, Any]) -> None:
    """Raise V2M4Error for a manifest of another version."""
    if manifest and manifest.get("format") != FORMAT:
        raise V2M4Error(
            f"{work} holds a run of another version of v2m4 ({manifest.get('version', 'unknown')}), which this one "
            f"cannot go on with. Delete {work}, or choose another folder with -o; results beside it stay as they are."
        )


def refuse_among_steps(folder: Path, places: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise V2M4Error if a step's place below ``folder``/work, which may be emptied, holds more than the step left.

    places: the files of finished steps by the steps' names, as their inventories name them.
    """
    found = []
    for name, files in places.items():
        for file in files_at(folder, f"work/{name}") if (folder / "work" / name).is_dir() else ():
            if file not in files and not _is_litter(Path(file).name):
                found.append(file)
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise V2M4Error(
            f"{folder} holds {', '.join(found[:3])}{more} among the files of steps that would be made anew, and "
            "v2m4 did not make that. Move it out of the work folder, or choose another folder with -o."
        )


def _is_litter(name: str) -> bool:
    """Whether a file is one that file systems and their browsers leave, or half of one of ours."""
    return name in _LITTER or name.startswith((PART, "._", ".nfs"))


def refuse_output(folder: Path, source: Path, template: Path | None) -> None:
    """Raise V2M4Error if a run into ``folder`` would overwrite what it reads, or what no run made."""
    _refuse_own_input(folder, source, template)
    _refuse_foreign(folder / "work")
    refuse_foreign_results(folder)


def refuse_foreign_results(folder: Path) -> None:
    """Raise if something stands in a result's place that no run wrote, or that was changed since."""
    written = written_in(read_manifest(folder / "work"))
    of_report = _digests_of_report(folder / RESULTS["report"])
    found = []
    for name in RESULTS.values():
        path = folder / name
        # A report that another run left tells of itself by its contents.
        unchanged = bool(of_report) and name == RESULTS["report"] and name not in written
        if not path.exists() or unchanged or of_report.get(name) == digest_of(path):
            continue
        # Of a folder some files may be gone, as long as none is another's; one in a file's place is none of ours.
        strange = path.is_dir() and name != RESULTS["frames"]
        if strange or not all(digest_of(folder / file) in written.get(file, ()) for file in files_at(folder, name)):
            found.append(name)
    if found:
        raise V2M4Error(
            f"The folder {folder} holds {', '.join(found)}, which v2m4 did not make and would overwrite "
            "(or which was changed since it did). Move it elsewhere, or choose another folder with -o."
        )


def files_at(folder: Path, name: str) -> list[str]:
    """The files of a result in ``folder``: itself, or those below it where it is a folder."""
    path = folder / name
    if not path.is_dir():
        return [name]
    return [file.relative_to(folder).as_posix() for file in sorted(path.rglob("*")) if file.is_file()]


def _digests_of_report(path: Path) -> dict[str, str]:
    """Digests of the results beside a report that a run wrote; empty where that is none."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    ours = isinstance(data, dict) and {"version", "plugs", "keyframes"} <= set(data)
    return data["files"] if ours and isinstance(data.get("files"), dict) else {}


def refuse_in_work(folder: Path, what: str, path: Path) -> None:
    """Raise V2M4Error if ``path`` (a ``what``) lies where a run into ``folder`` keeps its steps, which it removes."""
    work, place = (folder / "work").resolve(), path.resolve()
    if place == work or work in place.parents:
        raise _in_the_way(what, path)


def _refuse_own_input(folder: Path, source: Path, template: Path | None) -> None:
    """Raise if what the run reads lies where it writes, or the other way round."""
    output = folder.resolve()
    written = {(folder / name).resolve() for name in RESULTS.values()}
    for what, path in (("video", source), ("template", template)):
        if path is None or not path.exists():
            continue
        refuse_in_work(folder, what, path)
        place = path.resolve()
        holds = place.is_dir() and (place == output or place in output.parents)
        if place == output or place in written or written & set(place.parents) or holds:
            raise _in_the_way(what, path)


def _in_the_way(what: str, path: Path) -> V2M4Error:
    return V2M4Error(
        f"The {what} {path} lies where this run would write, and might be overwritten or removed. "
        "Choose another folder with -o."
    )
