"""What a stage of the pipeline declares about itself: one entry per stage, and everything else follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import v2m4
from v2m4.events import Event, StageRun
from v2m4.files import digest_of
from v2m4.formats.companions import companions
from v2m4.recipe import Recipe
from v2m4.run import Run, Step
from v2m4.workbench import Workbench

PACKAGE = Path(v2m4.__file__).parent


@dataclass(frozen=True)
class StageSpec:
    """A stage: its name and title, what it depends on, what it does, and what it roughly costs.

    per: "run", or "keyframe", or "mesh" (keyframes that get a mesh of their own). reads: recipe fields, dotted
    (``settings.texture``), that its artefacts depend on beside those of earlier stages; a path among them counts with
    its file's content. rooms: modules and packages whose code its artefacts depend on, so that those of older code are
    never taken for today's. work: does one step, writing into ``run.place(step)``, which is empty then. recall: tells
    of a finished step from what it left. prior_s: seconds per step on two CPU cores at the preset fast, until they are
    measured. gpu_s: seconds of a lent GPU that one step asks for; 0 where it needs none. wanted: whether a recipe has
    the stage at all.
    """

    name: str
    title: str
    per: Literal["run", "keyframe", "mesh"]
    reads: tuple[str, ...]
    rooms: tuple[str, ...]
    work: Callable[[Run, Step, Workbench], StageRun[None]]
    recall: Callable[[Run, Step], Iterator[Event]]
    prior_s: float
    gpu_s: float = 0.0
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
    chain = hashlib.sha256(f"{v2m4.__version__}/{content_digest(source)}".encode())
    prints: dict[str, str] = {}
    for spec in specs:
        for name in spec.reads:
            chain.update(f"{name}={_plain(_get(recipe, name))}".encode())
        chain.update(code_digest(spec.rooms).encode())
        prints[spec.name] = chain.hexdigest()[:16]
    return prints


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


@cache
def code_digest(rooms: tuple[str, ...]) -> str:
    """A digest of the source files of modules and packages, named from the package's root (``stages/camera``)."""
    digest = hashlib.sha256()
    for room in rooms:
        for file in sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]:
            digest.update(f"{file.relative_to(PACKAGE).as_posix()}/".encode())
            digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()
