"""ActionBench (Sabathier et al. 2026, arXiv 2601.16148) in the layout that its authors publish.

    DATA/UID/surfaces.npy     (T,N,6) points that stick to the true surface, and their normals
    DATA/UID/imgs/*.png       T frames with transparency
    OUT/UID/mesh_*.glb        the prediction, a mesh per frame, as the benchmark's own script reads it

Samples without a prediction are reconstructed first (OUT/runs/UID). Units are the benchmark's. One thing differs: the
alignment is found by closest points in closed form instead of 200 steps of Adam, which can only bring it nearer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from v2m4.artefacts import finished_run
from v2m4.errors import V2M4Error
from v2m4.evaluation.actionbench import Distances, compare_surfaces
from v2m4.evaluation.surfaces import MovingMesh, MovingSurface, SeparateMeshes, TrackedPoints
from v2m4.evaluation.tables import Table, shown
from v2m4.export.frames import write_frames
from v2m4.files import digest_of, write_atomically
from v2m4.import_graph import code_digest
from v2m4.settings import Settings, changed
from v2m4.studies.batch import Job, Outcome, do_all, in_words

# CD-3D, CD-4D and CD-M, as published.
PUBLISHED = {"ActionMesh": (0.053, 0.081, 0.148), "ActionMesh --fast": (0.055, 0.088, 0.154)}
DISTANCES = ("cd_3d", "cd_4d", "cd_m")
_PICTURES, _MESHES = "imgs", "mesh_*.glb"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """One sample: its name, its folder in the data, and where its prediction lies or will lie."""

    uid: str
    folder: Path
    prediction: Path

    def truth(self) -> TrackedPoints:
        """The true points. Raises V2M4Error if they cannot be read."""
        path = self.folder / "surfaces.npy"
        try:
            data = np.load(path, allow_pickle=False).astype(np.float64)
        except (OSError, ValueError, EOFError) as error:
            raise V2M4Error(f"{path} cannot be read: {error}. Download the sample again.") from error
        if data.ndim != 3 or data.shape[2] not in (3, 6):
            raise V2M4Error(f"{path} must hold (T,N,6) numbers, but is {data.shape}.")
        return TrackedPoints(data[..., :3], data[..., 3:] if data.shape[2] == 6 else None)

    def predicted(self, frames: int) -> MovingSurface:
        """The first ``frames`` predicted meshes in order of name. Raises V2M4Error if there are fewer."""
        files = sorted(self.prediction.glob(_MESHES), key=_natural)[:frames]
        if len(files) < frames:
            raise V2M4Error(f"{self.prediction} holds {len(files)} {_MESHES}, but the truth has {frames} frames.")
        poses = []
        for file in files:
            try:
                mesh: Any = trimesh.load(file, force="mesh", process=False)
            except Exception as error:  # whatever a foreign file makes the library raise
                raise V2M4Error(f"{file} cannot be read as a mesh ({error}).") from error
            poses.append((np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)))
        first = poses[0][1]
        if all(len(v) == len(poses[0][0]) and np.array_equal(f, first) for v, f in poses):
            return MovingMesh(np.stack([v for v, _ in poses]), first)
        return SeparateMeshes(poses)


@dataclass(frozen=True)
class Scored:
    """What a sample scored; or why it did not."""

    uid: str
    distances: dict[str, float] = field(default_factory=dict)
    problem: str = ""


def find_samples(data: Path, out: Path) -> list[Sample]:
    """The samples below ``data`` or its folder ``data/``, in order of name. Raises V2M4Error if there are none."""
    for root in (data, data / "data"):
        folders = sorted(path.parent for path in root.glob("*/surfaces.npy"))
        if folders:
            return [Sample(folder.name, folder, out / folder.name) for folder in folders]
    raise V2M4Error(f"{data} holds no ActionBench sample (UID/surfaces.npy). Give the folder `data` of the dataset.")


def predict(
    samples: Sequence[Sample],
    out: Path,
    settings: Settings,
    templates: Path | None = None,
    *,
    ray: str | None = None,
    say: Say = print,
) -> dict[str, str]:
    """Reconstruct the samples that have no prediction, and write theirs; returns what went wrong, by sample.

    templates: a folder with the first mesh of a sample as ``UID.glb``, which is then animated.
    """
    jobs, problems = [], {}
    for sample in samples:
        if list(sample.prediction.glob(_MESHES)):
            continue
        try:
            jobs.append(_job(sample, out, settings, templates))
        except V2M4Error as problem:
            problems[sample.uid] = str(problem)
    by_output = {out / "runs" / sample.uid: sample for sample in samples}
    for outcome in do_all(jobs, ray=ray):
        sample = by_output[outcome.job.output]
        wrong = outcome.problem or _write(sample, outcome)
        say(f"{sample.uid}: {wrong or 'predicted'}")
        if wrong:
            problems[sample.uid] = wrong
    return problems


def _job(sample: Sample, out: Path, settings: Settings, templates: Path | None) -> Job:
    pictures = sample.folder / _PICTURES
    if not pictures.is_dir():
        raise V2M4Error(f"{sample.folder} has no frames ({_PICTURES}/*.png), and there is no prediction of it.")
    if templates is not None:
        settings = changed(settings, {"generator.template": templates / f"{sample.uid}.glb"})
    return Job(pictures, settings, out / "runs" / sample.uid)


def _write(sample: Sample, outcome: Outcome) -> str:
    """The prediction's files; what went wrong, or nothing."""
    try:
        animation, clip = finished_run(outcome.job.output)
        write_frames(sample.prediction, animation, clip.times, "glb")
    except V2M4Error as problem:
        return str(problem)
    return ""


def score_sample(sample: Sample, points: int) -> Scored:
    """Distances of a sample's prediction, kept beside it in ``scores.json`` while neither side changes."""
    try:
        sides = f"{digest_of(sample.folder / 'surfaces.npy')}/{_digest(sample.prediction)}"
        key = f"{sides}/{points}/{code_digest('v2m4.evaluation.actionbench')}"
        file = sample.prediction / "scores.json"
        kept = _kept(file, key)
        if kept is None:
            truth = sample.truth()
            kept = _plain(compare_surfaces(sample.predicted(len(truth)), truth, points=points))
            write_atomically(file, json.dumps({"key": key, "distances": kept}, indent=1).encode())
        return Scored(sample.uid, kept)
    except Exception as problem:
        return Scored(sample.uid, problem=in_words(problem, sample.folder))


def benchmark_table(scored: Sequence[Scored], name: str) -> Table:
    """Our mean row beside the published ones, then every sample."""
    good = [one for one in scored if not one.problem]
    values = {n: [one.distances[n] for one in good if math.isfinite(one.distances[n])] for n in DISTANCES}
    ours = [float(np.mean(values[n])) if values[n] else math.nan for n in DISTANCES]
    rows = [(name, str(len(good)), *(shown(n, v) for n, v in zip(DISTANCES, ours, strict=True)))]
    rows += [(title, "128", *(f"{v:.3f}" for v in numbers)) for title, numbers in PUBLISHED.items()]
    rows += [(one.uid, "", *(shown(n, one.distances.get(n, math.nan)) for n in DISTANCES)) for one in scored]
    notes = [f"{len(good)} of {len(scored)} samples; the published rows are means over all 128."]
    notes += ["Aligned by closest points in closed form, not by 200 steps of Adam."]
    notes += [f"{one.uid}: {one.problem}" for one in scored if one.problem]
    return Table("ActionBench", ("Method", "Samples", "CD-3D↓", "CD-4D↓", "CD-M↓"), tuple(rows), tuple(notes))


def with_problems(scored: Sequence[Scored], problems: dict[str, str]) -> list[Scored]:
    """The scores, with why a sample has no prediction in place of that it has none."""
    return [replace(one, problem=problems.get(one.uid, one.problem)) if one.problem else one for one in scored]


def _plain(found: Distances) -> dict[str, float]:
    return {name: getattr(found, name) for name in DISTANCES}


def _digest(prediction: Path) -> str:
    return "-".join(digest_of(file)[:16] for file in sorted(prediction.glob(_MESHES)))


def _kept(file: Path, key: str) -> dict[str, float] | None:
    try:
        data: dict[str, Any] = json.loads(file.read_text())
        return {name: float(data["distances"][name]) for name in DISTANCES} if data["key"] == key else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _natural(path: Path) -> tuple[int, str]:
    """By the number in the name, then by name: mesh_2 before mesh_10."""
    digits = "".join(c for c in path.stem if c.isdigit())
    return int(digits or 0), path.name
