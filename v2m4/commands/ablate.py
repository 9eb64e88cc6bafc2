"""`v2m4 ablate`: the tables of the paper, made on one's own clips."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from v2m4.errors import V2M4Error
from v2m4.settings import Range, Settings


@dataclass(frozen=True)
class Ablate:
    """Make a table of the paper's appendix on your clips, beside the paper's numbers; table 1 comes from the same runs.

    Given again, the same command goes on where it stopped. A row that cannot run or fails leaves a dash and its reason.
    """

    clips: tyro.conf.Positional[tuple[Path, ...]]
    """The videos, or folders of frames; patterns as for reconstruct."""
    table: Literal[2, 3, 4, 5] = 3
    """2: base generators. 3: components. 4: loss weights. 5: noise in generation."""
    rows: tuple[str, ...] = ()
    """Only these rows, by their keys, which --list prints; all if absent."""
    list: bool = False
    """Print the table's rows and what each changes, and run nothing."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("ablation")
    """Folder of all runs and tables."""
    truth: tuple[Path, ...] = ()
    """The true geometry, one per clip: adds CD-4D, CD-M and normals to the table."""
    dataset: Literal["simple", "complex", "all"] | None = None
    """Whose numbers of the paper stand beside ours; all for table 2, else simple, the only one there is."""
    points: Annotated[int, Range(100, 10_000_000)] = 20_000
    """Points on each surface for the distances of geometry."""
    repeats: Annotated[int, Range(1, 100)] = 1
    """Run every row with so many seeds, from --seed on; the table then shows mean ± sample standard deviation."""
    ray: str | None = None
    """Spread the runs over a Ray cluster: its address, auto for one that runs, local for one on this machine."""
    clip_model: str = "ViT-bigG-14/laion2b_s39b_b160k"
    """OpenCLIP's MODEL/TAG; another than the paper's, which is the default, is named in the table."""


def run(options: Ablate, settings: Settings) -> int:
    """Run, measure and print; 2 if any row has no numbers."""
    from v2m4.device import pick_device
    from v2m4.evaluation.judges import Panel
    from v2m4.evaluation.scores import LEARNED
    from v2m4.studies.ablation import Study, make, tables, write_tables
    from v2m4.studies.batch import expand
    from v2m4.studies.paper_tables import TABLES

    if options.list:
        for row in TABLES[options.table]:
            print(f"{row.key:20} {row.label}: {', '.join(f'{k} = {v}' for k, v in row.changes.items())}")
        return 0
    if not 100 <= options.points <= 10_000_000:
        raise V2M4Error(f"points must lie between 100 and 10000000, but is {options.points}.")
    if not 1 <= options.repeats <= 100:
        raise V2M4Error(f"repeats must lie between 1 and 100, but is {options.repeats}.")
    dataset = options.dataset or ("all" if options.table == 2 else "simple")
    if options.table != 2 and dataset != "simple":
        raise V2M4Error(f"The paper has table {options.table} for its simple set only: drop --dataset {dataset}.")
    study = Study(
        options.table,
        tuple(expand(options.clips)),
        options.output,
        settings,
        options.rows,
        options.truth,
        dataset,
        options.points,
        options.repeats,
    )
    study.chosen()
    panel = Panel.gather(LEARNED, pick_device(settings.device), options.clip_model)
    measured = make(
        study,
        panel,
        ray=options.ray,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    made = tables(study, measured)
    write_tables(options.output, made)
    for table in made.values():
        print(f"{table.title}\n\n{table.markdown()}")
    return 2 if any(one.problem for one in measured) else 0
