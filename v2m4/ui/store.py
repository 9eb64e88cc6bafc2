"""Runs on disk: a folder per run under an unguessable name, found again by its link, swept by age."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from v2m4.errors import V2M4Error
from v2m4.files import write_atomically
from v2m4.pipeline import open_run
from v2m4.recipe import Recipe
from v2m4.run import Run
from v2m4.settings import Settings, changed

_ID = re.compile(r"[0-9a-f]{32}")
_SHARED = "view-"
_RECORD = "record.json"


@dataclass(frozen=True)
class RunRecord:
    """A run that somebody asked for: its id (also its owner's link), folder, copy of the video, settings as they were
    asked for, the recipe they make, and the name under which others may look at it."""

    id: str
    folder: Path
    source: Path
    asked: Settings
    recipe: Recipe
    shared: str

    def run(self) -> Run:
        """The run's folder, opened for work: only while nobody else works on it."""
        return open_run(self.folder, self.source, self.recipe)

    def look(self) -> Run:
        """The run's folder only to be read, while somebody else may write into it. Raises V2M4Error if nothing was done
        there yet."""
        return _read(self.folder, (self.folder / "work" / "run.json").stat().st_mtime_ns if self.touched else 0)

    @property
    def touched(self) -> bool:
        """Whether somebody opened it for work."""
        return (self.folder / "work" / "run.json").exists()

    def wants(self, settings: Settings) -> bool:
        """Whether it was asked for with just these settings; a mesh of one's own is the same if its bytes are."""
        own, other = self.asked.generator.template, settings.generator.template
        if own is not None and other is not None and other.is_file() and filecmp.cmp(own, other, shallow=False):
            settings = changed(settings, {"generator.template": own})
        return self.asked == settings

    @property
    def begun(self) -> bool:
        """Whether it was started, beyond a look at its masks."""
        return (self.folder / "begun").exists()

    def begin(self) -> None:
        """Mark it as started."""
        (self.folder / "begun").touch()

    @property
    def thumbnail(self) -> Path:
        """A small picture of it, once there is one."""
        return self.folder / "thumbnail.webp"


class Store:
    """All runs of this machine. ``root`` holds a folder per run; ``keep_hours`` after its last use a run is deleted."""

    def __init__(self, root: Path | None = None, keep_hours: float = 24.0) -> None:
        chosen = os.environ.get("V2M4_RUNS")
        self.root = root or (Path(chosen) if chosen else Path(tempfile.gettempdir()) / "v2m4")
        self.keep_hours = keep_hours
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def create(self, video: Path, settings: Settings) -> RunRecord:
        """A new run of ``video``, which is copied, so that the upload may vanish."""
        recipe = Recipe.of(settings)
        ident, shared = uuid.uuid4().hex, _SHARED + uuid.uuid4().hex
        folder = self.root / ident
        (folder / "source").mkdir(parents=True)
        source = folder / "source" / video.name
        shutil.copyfile(video, source)
        (self.root / "shared").mkdir(exist_ok=True)
        (self.root / "shared" / shared).write_text(ident)
        return self.change(RunRecord(ident, folder, source, settings, recipe, shared), settings)

    def change(self, record: RunRecord, settings: Settings) -> RunRecord:
        """The run with other settings; finished steps that do not depend on what changed are kept."""
        template = settings.generator.template
        if template is not None and record.folder not in template.parents:
            copy = record.folder / "template" / template.name
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(template, copy)
            settings = changed(settings, {"generator.template": copy})
        fresh = replace(record, asked=settings, recipe=Recipe.of(settings))
        data = {"source": fresh.source.name, "shared": fresh.shared, "asked": json.loads(settings.to_json())}
        write_atomically(record.folder / _RECORD, json.dumps(data, indent=1).encode())
        return fresh

    def exists(self, ident: str) -> bool:
        """Whether there is a run of this id."""
        return bool(_ID.fullmatch(ident)) and (self.root / ident / _RECORD).is_file()

    def find(self, ident: str) -> RunRecord:
        """The run of an owner's link. Raises V2M4Error if there is none (any more)."""
        if not self.exists(ident):
            raise V2M4Error(
                f"There is no run behind this link. Runs are kept for {self.keep_hours:g} hours; start it again."
            )
        folder = self.root / ident
        data = json.loads((folder / _RECORD).read_text())
        asked = Settings.from_json(json.dumps(data["asked"]))
        return RunRecord(ident, folder, folder / "source" / data["source"], asked, Recipe.of(asked), data["shared"])

    def find_shared(self, name: str) -> RunRecord:
        """The run of a link for others. Raises V2M4Error if there is none (any more)."""
        known = name.startswith(_SHARED) and _ID.fullmatch(name.removeprefix(_SHARED))
        path = self.root / "shared" / name
        return self.find(path.read_text() if known and path.is_file() else "")

    def delete(self, ident: str) -> None:
        """Remove a run and all its files. Raises V2M4Error while somebody works on it, or if there is none."""
        record = self.find(ident)
        with self.working(record):
            shutil.rmtree(record.folder, ignore_errors=True)
            (self.root / "shared" / record.shared).unlink(missing_ok=True)

    def busy(self, ident: str) -> bool:
        """Whether somebody works on the run right now."""
        return ident in self._busy

    @contextmanager
    def working(self, record: RunRecord) -> Iterator[None]:
        """Keep others off the run, and the sweep too. Raises V2M4Error if somebody is at it already."""
        with self._lock:
            if record.id in self._busy:
                raise V2M4Error("This run is still working. Wait for it, or stop it first.")
            self._busy.add(record.id)
        try:
            yield
        finally:
            self._busy.discard(record.id)

    def sweep(self) -> list[str]:
        """Delete runs that nobody used for ``keep_hours``; returns their ids."""
        limit = time.time() - 3600 * self.keep_hours
        gone = []
        for folder in self.root.glob("*/"):
            if _ID.fullmatch(folder.name) and not self.busy(folder.name) and _last_use(folder) < limit:
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder.name)
        for link in (self.root / "shared").glob(f"{_SHARED}*"):
            if link.read_text() in gone:
                link.unlink(missing_ok=True)
        return gone


@lru_cache(maxsize=64)
def _read(folder: Path, _stamp: int) -> Run:
    """The run as its manifest was at one time: whoever follows it live asks many times a second."""
    return Run.read(folder)


def _last_use(folder: Path) -> float:
    times = [p.stat().st_mtime for p in (folder, folder / _RECORD, folder / "work" / "run.json") if p.exists()]
    return max(times, default=time.time())
