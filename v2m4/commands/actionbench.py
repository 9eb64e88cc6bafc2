"""`v2m4 evaluate actionbench`: that benchmark in one command, for whoever has its data."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from v2m4.errors import V2M4Error
from v2m4.settings import Range, Settings


@dataclass(frozen=True)
class ActionBench:
    """Predict and score ActionBench: a mesh per frame into OUT/UID, and CD-3D, CD-4D and CD-M beside ActionMesh's.

    Meshes that are there already (of any method) are only scored. Given again, the command goes on where it stopped.
    """

    data: tyro.conf.Positional[Path]
    """The dataset (facebook/actionbench on the Hugging Face Hub), or its folder `data`."""
    out: Path = Path("actionbench")
    """Folder of the predictions."""
    fast: bool = False
    """Reconstruct with the preset draft instead of fast."""
    templates: Path | None = None
    """A folder of first meshes UID.glb, which are then animated instead of reconstructed."""
    predict: bool = True
    """Whether samples without a prediction are reconstructed."""
    points: Annotated[int, Range(100, 10_000_000)] = 100_000
    """Points on each surface; the benchmark's own number is the default."""
    only: tuple[str, ...] = ()
    """Only these samples."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where reconstruction runs."""
    ray: str | None = None
    """Spread reconstruction over a Ray cluster: its address, auto for one that runs, local for one on this machine."""


def run(options: ActionBench) -> int:
    """Predict, score, write OUT/actionbench.md, .csv and .tex, print the table; 2 if any sample has no score."""
    from v2m4.files import make_writable
    from v2m4.studies.ablation import write_tables
    from v2m4.studies.benchmark import benchmark_table, find_samples, predict, score_sample, with_problems

    if not 100 <= options.points <= 10_000_000:
        raise V2M4Error(f"points must lie between 100 and 10000000, but is {options.points}.")
    samples = find_samples(options.data, options.out)
    unknown = set(options.only) - {sample.uid for sample in samples}
    if unknown:
        raise V2M4Error(f"{options.data} has no sample {', '.join(sorted(unknown))}.")
    samples = [sample for sample in samples if not options.only or sample.uid in options.only]

    make_writable(options.out)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    settings = Settings.of("draft" if options.fast else "fast", device=options.device)
    problems: dict[str, str] = {}
    if options.predict:
        problems = predict(
            samples,
            options.out,
            settings,
            options.templates,
            ray=options.ray,
            say=say,
        )
    scored = []
    for sample in samples:
        scored.append(score_sample(sample, options.points))
        say(f"{sample.uid}: {scored[-1].problem or 'scored'}")
    table = benchmark_table(with_problems(scored, problems), "v2m4 --fast" if options.fast else "v2m4")
    write_tables(options.out, {"actionbench": table})
    print(table.markdown(), end="")
    return 2 if any(one.problem for one in scored) else 0
