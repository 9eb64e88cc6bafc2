"""The paper's tables made again: every row a set of settings, every clip a run, measured and set beside the paper.

Everything lies in one folder, ``ROW/CLIP`` per run and ``ROW/scores.json`` per row (rows of equal settings share
theirs, in whichever table they stand), so a study that was interrupted goes on where it was, and what is finished is
not done again. A row that fails leaves a dash, and its reason below.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from v2m4.errors import V2M4Error
from v2m4.evaluation.judges import Panel
from v2m4.evaluation.scores import MEASURES, Scores, score, weights_named
from v2m4.evaluation.tables import ABSENT, Table, heading, shown
from v2m4.evaluation.truth import read_truth
from v2m4.files import write_atomically
from v2m4.ownership import RESULTS
from v2m4.recipe import Recipe
from v2m4.settings import Settings, changed
from v2m4.studies.baseline import naive
from v2m4.studies.batch import Job, Outcome, do_all
from v2m4.studies.paper_tables import PAPER_MEASURES, PAPER_SECONDS, PAPER_TOTAL, TABLES, TITLES, Row
from v2m4.studies.results import of_run

Say = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """A table to be made: its number, the rows (keys; empty: all), the clips and their truths, and the settings."""

    table: int
    clips: tuple[Path, ...]
    folder: Path
    settings: Settings
    rows: tuple[str, ...] = ()
    truths: tuple[Path, ...] = ()
    dataset: str = "simple"
    points: int = 20_000

    def chosen(self) -> tuple[Row, ...]:
        """The rows. Raises V2M4Error for a table or rows that do not exist, or clips that cannot go together."""
        if self.table not in TABLES:
            raise V2M4Error(f"There is no table {self.table}. Choose one of: {', '.join(map(str, TABLES))}.")
        known = {row.key: row for row in TABLES[self.table]}
        wrong = [key for key in self.rows if key not in known]
        if wrong:
            raise V2M4Error(f"Table {self.table} has no row {', '.join(wrong)}. It has: {', '.join(known)}.")
        if not self.clips:
            raise V2M4Error("Name at least one clip.")
        if self.truths and len(self.truths) != len(self.clips):
            raise V2M4Error(f"{len(self.clips)} clips need as many of --truth, but {len(self.truths)} came.")
        return tuple(known[key] for key in self.rows) or TABLES[self.table]


@dataclass(frozen=True)
class Measured:
    """A row's scores and the seconds its runs spent in each stage; or the sentence why there are none."""

    row: Row
    scores: Scores | None = None
    seconds: Mapping[str, float] | None = None
    keyframes: int = 0
    frames: int = 0
    problem: str = ""


def make(study: Study, panel: Panel, *, ray: str | None = None, say: Say = print) -> list[Measured]:
    """Run what is missing of a study, measure each row, and say how far it is. In the order of the rows."""
    rows = study.chosen()
    jobs, problems = {}, {}
    for row in rows:
        reason = cannot_run(study, row)
        if reason:
            problems[row.key] = reason
        else:
            jobs[row.key] = _jobs(study, row)
    done: dict[str, list[Outcome]] = {key: [] for key in jobs}
    sharing: dict[Path, list[str]] = {}
    for key, several in jobs.items():
        for job in several:
            sharing.setdefault(job.output, []).append(key)
    for outcome in do_all({job.output: job for several in jobs.values() for job in several}.values(), ray=ray):
        keys = sharing[outcome.job.output]
        for key in keys:
            done[key].append(outcome)
        what = f"failed: {outcome.problem}" if outcome.problem else "is done"
        say(f"{', '.join(keys)}: {outcome.job.output.name} {what}")
    measured = []
    for row in rows:
        failed = [f"{o.job.output.name}: {o.problem}" for o in done.get(row.key, ()) if o.problem]
        if row.key in problems or failed:
            measured.append(Measured(row, problem=problems.get(row.key, "; ".join(failed))))
            continue
        try:
            measured.append(_measured(study, row, [job.output for job in jobs[row.key]], panel))
        except V2M4Error as problem:
            measured.append(Measured(row, problem=str(problem)))
    return measured


def cannot_run(study: Study, row: Row) -> str:
    """Why a row cannot run here, as a sentence; empty if it can. Nothing is downloaded for a study."""
    try:
        settings = _settings(study, row)
        recipe = Recipe.of(naive(settings) if row.naive else settings)
    except V2M4Error as problem:
        return str(problem)
    for port in recipe.names:
        plug = recipe.plug(port)
        lacks = plug.missing() if plug is not None else []
        if plug is not None and lacks:
            return f"{plug.name} cannot run here ({', '.join(lacks)} missing: {plug.remedy})"
    if row.key.startswith(("no-refinement", "refine-")) and not Recipe.of(settings_refining(study)).refines:
        return f"{recipe.names['generator']} has no refinement, so this row changes nothing"
    return ""


def settings_refining(study: Study) -> Settings:
    """The study's settings with refinement on, whether or not the generator knows it."""
    return changed(study.settings, {"refinement.enabled": True})


def tables(study: Study, measured: Sequence[Measured]) -> dict[str, Table]:
    """The study's table and table 1 (seconds per stage), by the names of their files."""
    return {f"table{study.table}": result_table(study, measured), "table1": seconds_table(measured)}


def result_table(study: Study, measured: Sequence[Measured]) -> Table:
    """A row per row of the paper: our measures, then the paper's four numbers."""
    found = [name for name in MEASURES if any(m.scores and name in m.scores.overall for m in measured)]
    names = [*PAPER_MEASURES, *(name for name in found if name not in PAPER_MEASURES)]
    columns = ("Row", *(heading(name) for name in names), *(f"paper: {heading(name)}" for name in PAPER_MEASURES))
    rows, notes = [], []
    for one in measured:
        ours = [one.scores.overall[n].mean if one.scores and n in one.scores.overall else math.nan for n in names]
        theirs = one.row.paper.get(study.dataset, (math.nan,) * len(PAPER_MEASURES))
        paper = (shown(name, value) for name, value in zip(PAPER_MEASURES, theirs, strict=True))
        rows.append((one.row.label, *(shown(n, v) for n, v in zip(names, ours, strict=True)), *paper))
        notes += [f"{one.row.label}: {text}." for text in (one.row.note, one.problem) if text]
    return Table(
        f"Table {study.table}: {TITLES[study.table]}", columns, tuple(rows), (*_comparability(study, measured), *notes)
    )


def seconds_table(measured: Sequence[Measured]) -> Table:
    """Table 1: seconds per frame and per keyframe of every stage, over all runs of the study."""
    timed = [m for m in measured if m.seconds]
    frames, keyframes = sum(m.frames for m in timed), sum(m.keyframes for m in timed)
    stages = list(dict.fromkeys(stage for m in timed for stage in m.seconds or ()))
    rows = []
    for stage in stages:
        total = sum((m.seconds or {}).get(stage, 0.0) for m in timed)
        paper = f"{PAPER_SECONDS[stage]:.1f}" if stage in PAPER_SECONDS else ABSENT
        rows.append((stage, _per(total, frames), _per(total, keyframes), paper))
    total = sum(sum((m.seconds or {}).values()) for m in timed)
    rows.append(("total", _per(total, frames), _per(total, keyframes), f"{PAPER_TOTAL:.1f}"))
    notes = (
        f"{len(timed)} rows with {frames} frames, {keyframes} keyframes, on this machine; the paper's on one A100.",
        "The paper's DUST3R, PSO and SGD are the stage camera. Its interpolation and conversion (0.7) are our stage "
        "export, whose seconds no report holds, since it writes the report. Stages without a number are ours alone.",
    )
    return Table(
        "Table 1: Seconds per stage", ("Stage", "per frame", "per keyframe", "paper: per frame"), tuple(rows), notes
    )


def write_tables(folder: Path, made: Mapping[str, Table]) -> list[Path]:
    """Every table as Markdown, LaTeX and CSV; returns the paths of the Markdown files."""
    for name, table in made.items():
        for suffix, text in (("md", table.markdown()), ("tex", table.latex()), ("csv", table.csv())):
            write_atomically(folder / f"{name}.{suffix}", text.encode())
    return [folder / f"{name}.md" for name in made]


def _jobs(study: Study, row: Row) -> list[Job]:
    settings = _settings(study, row)
    names, key = _names(study.clips), folder_key(study, row)
    return [
        Job(clip, settings, study.folder / key / name, row.naive) for clip, name in zip(study.clips, names, strict=True)
    ]


def folder_key(study: Study, row: Row) -> str:
    """The key of the first row of any table with these very settings."""
    settings = _settings(study, row)
    every = (other for rows in TABLES.values() for other in rows)
    return next((o.key for o in every if o.naive == row.naive and _settings(study, o) == settings), row.key)


def _settings(study: Study, row: Row) -> Settings:
    return changed(study.settings, dict(row.changes))


def _names(clips: Sequence[Path]) -> list[str]:
    """Folders of the clips: their names, with their parents' where those repeat."""
    stems = [clip.stem for clip in clips]
    return [
        stem if stems.count(stem) == 1 else f"{clip.resolve().parent.name}-{stem}"
        for clip, stem in zip(clips, stems, strict=True)
    ]


def _measured(study: Study, row: Row, folders: Sequence[Path], panel: Panel) -> Measured:
    """A finished row's scores: those of its ``scores.json`` if they belong to these very runs and measures."""
    reports = [json.loads((folder / RESULTS["report"]).read_text()) for folder in folders]
    seconds: dict[str, float] = {}
    for report in reports:
        for stage, value in report["seconds"].items():
            seconds[stage] = seconds.get(stage, 0.0) + value
    frames, keyframes = sum(r["frames"] for r in reports), sum(len(r["keyframes"]) for r in reports)
    key, file = _key(study, folders, panel), study.folder / folder_key(study, row) / "scores.json"
    kept = _kept(file, key)
    if kept is None:
        several = [of_run(folder) for folder in folders]
        for index, truth in enumerate(study.truths):
            several[index] = replace(several[index], truth=read_truth(truth, several[index].clip.times))
        kept = score(several, panel, points=study.points, every_frame=False)
        write_atomically(file, json.dumps({"key": key, "scores": kept.to_plain()}, indent=1).encode())
    return Measured(row, kept, seconds, keyframes, frames)


def _key(study: Study, folders: Sequence[Path], panel: Panel) -> str:
    """What the scores of a row depend on, as a digest."""
    facts: list[Any] = [hashlib.sha256((f / RESULTS["report"]).read_bytes()).hexdigest() for f in folders]
    facts += [[str(t), t.stat().st_size] for t in study.truths]
    facts += [sorted(panel.pictures), panel.features is not None, study.points]
    facts += [judge.weights for judge in panel.pictures.values()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _kept(file: Path, key: str) -> Scores | None:
    try:
        data = json.loads(file.read_text())
        return Scores.from_plain(data["scores"]) if data["key"] == key else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _comparability(study: Study, measured: Sequence[Measured]) -> Iterator[str]:
    """What keeps our numbers from being set against the paper's."""
    clips = ", ".join(_names(study.clips))
    yield f"Ours: {clips}; preset {study.settings.preset}. The paper's: its {study.dataset} set."
    names: dict[str, str] = {}
    for one in measured:
        if not one.problem:
            settings = _settings(study, one.row)
            names |= Recipe.of(naive(settings) if one.row.naive else settings).names
    if names:
        used = ", ".join(f"{port} {name}" for port, name in sorted(names.items()))
        yield f"Plugs of ours, where the row names no other: {used}. The paper's: TRELLIS, DUSt3R, DreamSim."
    for one in measured:
        if one.scores is not None:
            yield from weights_named(one.scores)
            return


def _per(total: float, count: int) -> str:
    return f"{total / count:.2f}" if count else ABSENT
