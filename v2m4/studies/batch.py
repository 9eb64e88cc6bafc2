"""Many reconstructions: one after the other, or fanned out over a Ray cluster. None that fails loses the others."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from v2m4.errors import RunStoppedError, V2M4Error
from v2m4.events import Event, Finished
from v2m4.pipeline import reconstruct
from v2m4.settings import Settings
from v2m4.studies.baseline import baseline
from v2m4.studies.cluster import fan_out

Watch = Callable[[Iterator[Event]], Finished]


@dataclass(frozen=True)
class Job:
    """One reconstruction. naive: the baseline instead."""

    video: Path
    settings: Settings
    output: Path
    naive: bool = False

    def events(self) -> Iterator[Event]:
        """Do it."""
        return (baseline if self.naive else reconstruct)(self.video, self.settings, self.output)


@dataclass(frozen=True)
class Outcome:
    """What came of a job: its files and report, or the sentence that says why there are none."""

    job: Job
    files: dict[str, Path] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def expand(patterns: Sequence[Path]) -> list[Path]:
    """The clips that paths and glob patterns name, in order and once each; V2M4Error for a pattern without any."""
    found: list[Path] = []
    for pattern in patterns:
        matches = [pattern]
        if not pattern.exists() and glob.has_magic(str(pattern)):
            matches = [Path(name) for name in sorted(glob.glob(str(pattern)))]
            if not matches:
                raise V2M4Error(f"No clip is called like {pattern}. Check the pattern, and quote it.")
        found += matches
    return list(dict.fromkeys(found))


def jobs_for(videos: Sequence[Path], settings: Settings, folder: Path, *, naive: bool = False) -> list[Job]:
    """A job per clip, each into a folder of its clip's name. Raises V2M4Error if two clips have the same name."""
    names = [video.stem for video in videos]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise V2M4Error(f"Several clips are called {', '.join(twice)}, and would share a folder. Rename all but one.")
    return [Job(video, settings, folder / name, naive) for video, name in zip(videos, names, strict=True)]


def do(job: Job, watch: Watch | None = None) -> Outcome:
    """Do a job; whatever goes wrong ends up in the outcome, but for a stop that was asked for."""
    try:
        if watch is None:
            *_, last = job.events()
        else:
            last = watch(job.events())
    except RunStoppedError:
        raise
    except Exception as error:
        return Outcome(job, problem=in_words(error, job.output))
    assert isinstance(last, Finished)
    return Outcome(job, last.files, last.report)


def in_words(error: Exception, place: Path) -> str:
    """Why something at ``place`` has no result. A fault of ours in one of a hundred must not lose the other
    ninety-nine; it is told, not hidden."""
    if isinstance(error, V2M4Error):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or place}"
    return f"a fault in v2m4 ({type(error).__name__}: {error})"


def do_all(jobs: Iterable[Job], watch: Watch | None = None, ray: str | None = None) -> Iterator[Outcome]:
    """The outcomes: in the order of the jobs, or with ``ray`` (“local”, or a cluster's address) as they finish."""
    if ray is None:
        yield from (do(job, watch) for job in jobs)
    else:
        yield from fan_out(do, list(jobs), ray)
