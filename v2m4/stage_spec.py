"""What a stage of the pipeline declares about itself: one entry per stage, and everything else follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal

import v2m4
from v2m4.events import Event, StageRun
from v2m4.files import digest_of
from v2m4.formats.companions import companions
from v2m4.import_graph import OWN, code_digest, source_of
from v2m4.recipe import Recipe
from v2m4.registry import Plug
from v2m4.run import Run, Step
from v2m4.workbench import Workbench


@dataclass(frozen=True)
class StageSpec:
    """A stage: its name and title, what it depends on, what it does, and what it roughly costs.

    per: "run", or "keyframe", or "mesh" (keyframes that get a mesh of their own). reads: recipe fields, dotted
    (``settings.texture``), that its artefacts depend on beside those of earlier stages; a path among them counts with
    its file's content. ports: whose plugs it works with (`Recipe.plugs_of`). work: does one step, writing into
    ``run.place(step)``, which is empty then; the code of its module, and of all that this imports, counts like what it
    reads, and so does that of the plugs, so that artefacts of older code are never taken for today's. recall: tells of
    a finished step from what it left. prior_s: seconds per step on two CPU cores at the preset fast, until they are
    measured. gpu_s: seconds of a lent GPU that one step asks for, loading and compiling included, 0 where it needs
    none; warm_gpu_s: that it takes without these. on_gpu: whether a recipe's steps of it compute on a GPU at all.
    wanted: whether a recipe has the stage at all.
    """

    name: str
    title: str
    per: Literal["run", "keyframe", "mesh"]
    reads: tuple[str, ...]
    work: Callable[[Run, Step, Workbench], StageRun[None]]
    recall: Callable[[Run, Step], Iterator[Event]]
    prior_s: float
    ports: tuple[str, ...] = ()
    gpu_s: float = 0.0
    warm_gpu_s: float = 0.0
    on_gpu: Callable[[Recipe], bool] = lambda recipe: True
    wanted: Callable[[Recipe], bool] = lambda recipe: True

    def steps(self, recipe: Recipe, keyframes: int) -> int:
        """How many steps it has in a run with so many keyframes."""
        if not self.wanted(recipe):
            return 0
        if self.per == "run" or (self.per == "mesh" and not recipe.mesh_per_keyframe):
            return 1
        return keyframes


def fingerprints(source: Path, recipe: Recipe, specs: Sequence[StageSpec]) -> dict[str, str]:
    """The fingerprint of every stage: a chain over the source, and what each stage so far reads and is made of."""
    name = source.resolve().name if source.is_dir() else source.stem
    chain = hashlib.sha256(f"{v2m4.__version__}/{name}/{content_digest(source)}".encode())
    prints: dict[str, str] = {}
    for spec in specs:
        for field in spec.reads:
            chain.update(f"{field}={_plain(_get(recipe, field))}".encode())
        chain.update(code_digest(spec.work.__module__).encode())
        for plug in (plug for port in spec.ports for plug in recipe.plugs_of(port)):
            chain.update(f"{plug.name}/{_made_of(plug)}".encode())
        prints[spec.name] = chain.hexdigest()[:16]
    return prints


def _made_of(plug: Plug[Any]) -> str:
    """A digest of a plug's code, and of the weights that lie beside it in this package."""
    module = plug.target.partition(":")[0]
    file = source_of(module)
    beside = [] if file is None or not module.startswith(f"{OWN}.") else sorted(file.parent.glob("*.safetensors"))
    return "/".join([plug.distribution, code_digest(module), *map(digest_of, beside)])


def _get(recipe: Recipe, name: str) -> Any:
    value: Any = recipe
    for part in name.split("."):
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return value


def _plain(value: Any) -> str:
    """A text that is equal for equal values; a path counts with its file's content."""
    if isinstance(value, Path):
        return content_digest(value)
    data = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.dumps(data, default=lambda v: content_digest(v) if isinstance(v, Path) else str(v), sort_keys=True)


def content_digest(path: Path) -> str:
    """A digest of a file's bytes and of the files that it names, if it is a mesh, or of what is read of a folder: its
    files and those of the folders in it, with their names."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in (*path.iterdir(), *path.glob("*/*")) if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}/{content_digest(file)}".encode())
        return digest.hexdigest()
    if not path.is_file():
        return "absent"
    # A companion is a picture, a buffer or a material file, which names nothing that is not among them.
    return "/".join(digest_of(file) for file in (path, *companions(path)))
