"""The paper's tables made again: every row a set of settings, every clip a run, measured and set beside the paper.

Everything lies in one folder, ``ROW/CLIP`` per run and ``ROW/scores.json`` per row (``ROW+SEED`` where it is repeated
with further seeds; rows of equal settings share theirs, in whichever table they stand), so a study that was interrupted
goes on where it was, and what is finished is not done again. A row that fails leaves a dash, and its reason below.
A folder holds one seed's runs whichever seed a command begins with: ``ROW`` those of the seed that is the default.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2m4.errors import V2M4Error
from v2m4.evaluation.judges import Panel
from v2m4.evaluation.scores import MEASURES, Scores, score, weights_named
from v2m4.evaluation.tables import ABSENT, Table, heading, shown
from v2m4.evaluation.truth import first_mesh
from v2m4.export.glb import still_glb
from v2m4.files import digest_of, make_writable, write_atomically
from v2m4.import_graph import code_digest
from v2m4.ownership import RESULTS
from v2m4.recipe import Recipe
from v2m4.settings import Settings, changed
from v2m4.studies.baseline import naive
from v2m4.studies.batch import Job, Outcome, do_all, in_words
from v2m4.studies.paper_tables import PAPER_MEASURES, PAPER_SECONDS, PAPER_TOTAL, TABLES, TITLES, Row
from v2m4.studies.results import of_run, with_truth
from v2m4.video import probe

Say = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """A table to be made: its number, the rows (keys; empty: all), the clips and their truths, and the settings.

    repeats: how often each row is run: with the settings' seed and those after it.
    """

    table: int
    clips: tuple[Path, ...]
    folder: Path
    settings: Settings
    rows: tuple[str, ...] = ()
    truths: tuple[Path, ...] = ()
    dataset: str = "simple"
    points: int = 20_000
    repeats: int = 1

    @property
    def seeds(self) -> range:
        """One per repeat."""
        return range(self.settings.seed, self.settings.seed + self.repeats)

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
    """A row's scores (one per seed) and the seconds its runs spent in each stage; or why there are none."""

    row: Row
    scores: tuple[Scores, ...] = ()
    seconds: Mapping[str, float] | None = None
    keyframes: int = 0
    frames: int = 0
    problem: str = ""

    def values(self, measure: str) -> list[float]:
        """The measure's mean over the clips, per seed; empty where it was not taken."""
        return [scores.overall[measure].mean for scores in self.scores if measure in scores.overall]


def make(study: Study, panel: Panel, *, ray: str | None = None, say: Say = print) -> list[Measured]:
    """Run what is missing of a study, measure each row, and say how far it is. In the order of the rows.

    Raises V2M4Error, before anything is run, for a study that cannot be, clips or truths that cannot be
    read, or a folder that cannot be written.
    """
    rows = study.chosen()
    _refuse_early(study)
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
        again = f" (seed {outcome.job.settings.seed})" if study.repeats > 1 else ""
        say(f"{', '.join(keys)}: {outcome.job.output.name}{again} {what}")
    measured = []
    for row in rows:
        failed = [f"{o.job.output.name}: {o.problem}" for o in done.get(row.key, ()) if o.problem]
        if row.key in problems or failed:
            measured.append(Measured(row, problem=problems.get(row.key, "; ".join(failed))))
            continue
        try:
            measured.append(_measured(study, row, panel))
        except Exception as problem:
            measured.append(Measured(row, problem=in_words(problem, study.folder)))
    return measured


def _refuse_early(study: Study) -> None:
    """Raise V2M4Error for what every row would fail at: told once, before hours of runs."""
    for clip in study.clips:
        probe(clip, study.settings.video)
    for truth in study.truths:
        first_mesh(truth)
    make_writable(study.folder)


def cannot_run(study: Study, row: Row) -> str:
    """Why a row cannot run here, as a sentence; empty if it can. Nothing is downloaded for a study."""
    if row.own_mesh and not study.truths:
        return "it animates the true mesh of each clip's first frame, so it needs --truth"
    try:
        recipe = _recipe(study, row)
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
    names = [name for name in MEASURES if any(m.values(name) for m in measured)] or PAPER_MEASURES
    columns = ("Row", *(heading(name) for name in names), *(f"paper: {heading(name)}" for name in PAPER_MEASURES))
    rows, notes = [], []
    for one in measured:
        theirs = one.row.paper.get(study.dataset, (math.nan,) * len(PAPER_MEASURES))
        paper = (shown(name, value) for name, value in zip(PAPER_MEASURES, theirs, strict=True))
        rows.append((one.row.label, *(_spread(name, one.values(name)) for name in names), *paper))
        notes += [f"{one.row.label}: {text.rstrip('.')}." for text in (one.row.note, one.problem) if text]
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
        f"{len(timed)} rows ({', '.join(m.row.key for m in timed)}) with {frames} frames, {keyframes} keyframes, on "
        "this machine; the paper's on one A100.",
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
    jobs = []
    for seed in study.seeds:
        for index, clip in enumerate(study.clips):
            own = {"generator.template": _true_mesh(study, index)} if row.own_mesh else {}
            folder = _folder(study, row, seed) / _names(study.clips)[index]
            jobs.append(Job(clip, changed(settings, {**own, "seed": seed}), folder, row.naive))
    return jobs


def _folder(study: Study, row: Row, seed: int) -> Path:
    """Where a row's runs with a seed lie."""
    key = folder_key(study, row)
    return study.folder / (key if seed == Settings().seed else f"{key}+{seed}")


def _true_mesh(study: Study, clip: int) -> Path:
    """A GLB of the true mesh of the clip's first frame, written if it is not there as it should be."""
    file, truth = study.folder / "true-meshes" / f"{_names(study.clips)[clip]}.glb", study.truths[clip]
    content = still_glb(first_mesh(truth), file.stem, study.settings.export)
    if not file.is_file() or file.read_bytes() != content:
        write_atomically(file, content)
    return file


def folder_key(study: Study, row: Row) -> str:
    """The key of the first row of any table with these very settings."""
    settings = _settings(study, row)
    every = (other for rows in TABLES.values() for other in rows)
    how = (row.naive, row.own_mesh, settings)
    return next((o.key for o in every if (o.naive, o.own_mesh, _settings(study, o)) == how), row.key)


def _settings(study: Study, row: Row) -> Settings:
    return changed(study.settings, dict(row.changes))


def _recipe(study: Study, row: Row) -> Recipe:
    settings = _settings(study, row)
    if row.own_mesh:
        settings = changed(settings, {"generator.template": _true_mesh(study, 0)})
    return Recipe.of(naive(settings) if row.naive else settings)


def _names(clips: Sequence[Path]) -> list[str]:
    """Folders of the clips: their names, with their parents' where those repeat, numbered where even those do."""
    stems = [clip.stem for clip in clips]
    names = [
        stem if stems.count(stem) == 1 else f"{clip.resolve().parent.name}-{stem}"
        for clip, stem in zip(clips, stems, strict=True)
    ]
    return [name if names.count(name) == 1 else f"{name}-{names[:k].count(name) + 1}" for k, name in enumerate(names)]


def _measured(study: Study, row: Row, panel: Panel) -> Measured:
    """A finished row's scores and times."""
    seconds: dict[str, float] = {}
    scores, frames, keyframes = [], 0, 0
    for seed in study.seeds:
        folders = [_folder(study, row, seed) / name for name in _names(study.clips)]
        scores.append(_scored(study, _folder(study, row, seed) / "scores.json", folders, panel))
        for folder in folders:
            report = json.loads((folder / RESULTS["report"]).read_text())
            frames, keyframes = frames + report["frames"], keyframes + len(report["keyframes"])
            for stage, value in report["seconds"].items():
                seconds[stage] = seconds.get(stage, 0.0) + value
    return Measured(row, tuple(scores), seconds, keyframes, frames)


def _scored(study: Study, file: Path, folders: Sequence[Path], panel: Panel) -> Scores:
    """The scores in the file if they belong to these very runs and measures, else taken and written there."""
    key = _key(study, folders, panel)
    kept = _kept(file, key)
    if kept is None:
        several = [of_run(folder) for folder in folders]
        for index, truth in enumerate(study.truths):
            several[index] = with_truth(several[index], truth)
        kept = score(several, panel, points=study.points, every_frame=False)
        write_atomically(file, json.dumps({"key": key, "scores": kept.to_plain()}, indent=1).encode())
    return kept


def _key(study: Study, folders: Sequence[Path], panel: Panel) -> str:
    """What the scores of a row depend on, as a digest."""
    facts: list[Any] = [hashlib.sha256((f / RESULTS["report"]).read_bytes()).hexdigest() for f in folders]
    facts += [digest_of(truth) for truth in study.truths]
    facts.append(code_digest("v2m4.evaluation.scores"))
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
            named = {"generator"} if one.row.own_mesh else {key.removesuffix(".name") for key in one.row.changes}
            names |= {port: plug for port, plug in _recipe(study, one.row).names.items() if port not in named}
    if names:
        used = ", ".join(f"{port} {name}" for port, name in sorted(names.items()))
        yield f"Plugs of ours, where the row names no other: {used}. The paper's: TRELLIS, DUSt3R, DreamSim."
    if study.repeats > 1:
        seeds = f"{study.seeds[0]} to {study.seeds[-1]}"
        yield f"Mean ± sample standard deviation (divisor n - 1) over {study.repeats} seeds, {seeds}."
    for one in measured:
        if one.scores:
            yield from weights_named(one.scores[0])
            return


def _spread(measure: str, values: Sequence[float]) -> str:
    """The mean as tables show it, ± the sample standard deviation where there are several; a dash where none."""
    text = shown(measure, statistics.fmean(values) if values else math.nan)
    return text if len(values) < 2 or text == ABSENT else f"{text} ± {shown(measure, statistics.stdev(values))}"


def _per(total: float, count: int) -> str:
    return f"{total / count:.2f}" if count else ABSENT
