"""Runs on disk: a folder per run under an unguessable name, found again by its link, swept by age."""

from __future__ import annotations

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
from pathlib import Path

from v2m4.errors import V2M4Error
from v2m4.files import write_atomically
from v2m4.pipeline import open_run
from v2m4.recipe import Recipe
from v2m4.run import Run
from v2m4.settings import Settings, changed

_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Ticket:
    """A run that somebody asked for: its id (also its link), folder, copy of the video, and recipe."""

    id: str
    folder: Path
    source: Path
    recipe: Recipe

    def run(self) -> Run:
        """The run's folder, opened."""
        return open_run(self.folder, self.source, self.recipe)


class Store:
    """All runs of this machine. ``root`` holds a folder per run; ``keep_hours`` after its last use a run is deleted."""

    def __init__(self, root: Path | None = None, keep_hours: float = 24.0) -> None:
        chosen = os.environ.get("V2M4_RUNS")
        self.root = root or (Path(chosen) if chosen else Path(tempfile.gettempdir()) / "v2m4")
        self.keep_hours = keep_hours
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def create(self, video: Path, settings: Settings) -> Ticket:
        """A new run of ``video``, which is copied, so that the upload may vanish."""
        self.sweep()
        recipe = Recipe.of(settings)
        ident = uuid.uuid4().hex
        folder = self.root / ident
        (folder / "source").mkdir(parents=True)
        source = folder / "source" / video.name
        shutil.copyfile(video, source)
        return self.change(Ticket(ident, folder, source, recipe), settings)

    def change(self, ticket: Ticket, settings: Settings) -> Ticket:
        """The run with other settings; finished steps that do not depend on what changed are kept."""
        template = settings.generator.template
        if template is not None and ticket.folder not in template.parents:
            copy = ticket.folder / "source" / f"template{template.suffix}"
            shutil.copyfile(template, copy)
            settings = changed(settings, {"generator.template": copy})
        fresh = replace(ticket, recipe=Recipe.of(settings))
        data = {"source": fresh.source.name, "settings": json.loads(fresh.recipe.settings.to_json())}
        write_atomically(ticket.folder / "ticket.json", json.dumps(data, indent=1).encode())
        return fresh

    def find(self, ident: str) -> Ticket:
        """The run of a link. Raises V2M4Error if there is none (any more)."""
        folder = self.root / ident
        if not _ID.fullmatch(ident) or not (folder / "ticket.json").is_file():
            raise V2M4Error(
                f"There is no run behind this link. Runs are kept for {self.keep_hours:g} hours; start it again."
            )
        data = json.loads((folder / "ticket.json").read_text())
        settings = Settings.from_json(json.dumps(data["settings"]))
        return Ticket(ident, folder, folder / "source" / data["source"], Recipe.of(settings))

    def busy(self, ident: str) -> bool:
        """Whether somebody works on the run right now."""
        return ident in self._busy

    @contextmanager
    def working(self, ticket: Ticket) -> Iterator[None]:
        """Keep others off the run, and the sweep too. Raises V2M4Error if somebody is at it already."""
        with self._lock:
            if ticket.id in self._busy:
                raise V2M4Error("This run is still working in another window. Wait for it, or stop it there.")
            self._busy.add(ticket.id)
        try:
            yield
        finally:
            self._busy.discard(ticket.id)

    def sweep(self) -> list[str]:
        """Delete runs that nobody used for ``keep_hours``; returns their ids."""
        limit = time.time() - 3600 * self.keep_hours
        gone = []
        for folder in self.root.glob("*/"):
            if _ID.fullmatch(folder.name) and not self.busy(folder.name) and _last_use(folder) < limit:
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder.name)
        return gone


def _last_use(folder: Path) -> float:
    times = [p.stat().st_mtime for p in (folder, folder / "ticket.json", folder / "work" / "run.json") if p.exists()]
    return max(times, default=time.time())
