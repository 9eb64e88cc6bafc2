"""`v2m4 evaluate`: the paper's measures of results, as tables and curves."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from v2m4.settings import Range

if TYPE_CHECKING:
    from v2m4.evaluation.scores import Scores


@dataclass(frozen=True)
class Evaluate:
    """Measure results against their videos: CLIP, LPIPS, FVD, DreamSim, PSNR, SSIM, mask IoU; geometry with --truth.

    RESULT is the folder of a run, or an animated GLB with its .camera.json beside it. What cannot be measured here is
    left out by name, with the reason. `v2m4 evaluate actionbench --help` explains that benchmark.
    """

    results: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or animated GLBs."""
    video: tuple[Path, ...] = ()
    """The videos, one per result in the same order; folders of runs hold theirs."""
    truth: tuple[Path, ...] = ()
    """The true geometry, one per result: an animated GLB, or an NPZ with vertices (T,V,3) and faces."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for scores.json, .csv, .md and .tex, and a curve per measure over time (SVG)."""
    format: Literal["markdown", "csv", "latex", "json"] = "markdown"
    """What is printed."""
    json: bool = False
    """The same as --format json."""
    clip_model: str = "ViT-bigG-14/laion2b_s39b_b160k"
    """OpenCLIP's MODEL/TAG; another than the paper's, which is the default, is named in every table."""
    learned: bool = True
    """Whether measures that need weights are taken where their weights are."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the learned measures run."""
    points: Annotated[int, Range(100, 10_000_000)] = 100_000
    """Points on each surface for the distances of geometry."""
    cd_3d: bool = True
    """Whether every frame is also aligned on its own, for CD-3D (slow)."""


def run(options: Evaluate) -> None:
    """Measure, write what was asked for, print the table."""
    from v2m4.device import pick_device
    from v2m4.errors import V2M4Error
    from v2m4.evaluation.judges import Panel
    from v2m4.evaluation.scores import LEARNED, score
    from v2m4.evaluation.tables import score_table
    from v2m4.files import make_writable
    from v2m4.studies.results import opened

    if not 100 <= options.points <= 10_000_000:
        raise V2M4Error(f"points must lie between 100 and 10000000, but is {options.points}.")
    with opened(options.results, options.video, options.truth) as shown:
        if options.output is not None:
            make_writable(options.output)
        wanted = LEARNED if options.learned else ()
        panel = Panel.gather(wanted, pick_device(options.device), options.clip_model)
        scores = score(shown, panel, points=options.points, every_frame=options.cd_3d)
    table = score_table(scores)
    kind = "json" if options.json else options.format
    texts = {"markdown": table.markdown, "csv": table.csv, "latex": table.latex}
    print(json.dumps(scores.to_plain(), indent=1) if kind == "json" else texts[kind](), end="\n" * (kind == "json"))
    if options.output is not None:  # last, so that a full disk does not take what was measured
        write_scores(options.output, scores)


def write_scores(folder: Path, scores: Scores) -> None:
    """The tables, one of every frame per result, and the curves over time into ``folder``.

    Without matplotlib the curves are left out, and standard error says so.
    """
    from v2m4.errors import V2M4Error
    from v2m4.evaluation.plots import curves
    from v2m4.evaluation.scores import MEASURES
    from v2m4.evaluation.tables import frame_table, score_table
    from v2m4.files import write_atomically

    table = score_table(scores)
    texts = {"md": table.markdown(), "csv": table.csv(), "tex": table.latex()}
    texts["json"] = json.dumps(scores.to_plain(), indent=1)
    for suffix, text in texts.items():
        write_atomically(folder / f"scores.{suffix}", text.encode())
    names = _unique([c.name for c in scores.clips])
    for name, one in zip(names, scores.clips, strict=True):
        write_atomically(folder / f"frames-{name}.csv", frame_table(one).csv().encode())
    for measure, spec in MEASURES.items():
        lines = {
            name: (one.times_of(measure), one.scores[measure].per_frame)
            for name, one in zip(names, scores.clips, strict=True)
            if measure in one.scores and one.scores[measure].per_frame
        }
        if not lines:
            continue
        try:
            picture = curves(lines, "seconds", spec.title)
        except V2M4Error as problem:
            print(f"v2m4: no curves: {problem}", file=sys.stderr)
            return
        write_atomically(folder / f"{measure}.svg", picture)


def _unique(names: Sequence[str]) -> list[str]:
    """The names as parts of file names, numbered where they repeat."""
    plain = ["".join(c if c.isalnum() or c in "-_." else "_" for c in name) for name in names]
    return [f"{name}-{k}" if plain.count(name) > 1 else name for k, name in enumerate(plain)]
