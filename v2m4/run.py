"""A run's folder: which steps are finished, and where each keeps what it made.

    OUTPUT/
      animation.glb  animation.camera.json  preview.mp4  settings.json  report.json
      work/
        run.json                          the manifest: recipe, source, finished steps, results
        video/  matting/  keyframes/      a folder per step of the whole clip,
        00005/generation/  00005/camera/  and per step of a keyframe
        texture/

A step is finished when the manifest holds its fingerprint: that of the source, and of whatever its stage and those
before it depend on, and its files are what they were when it ended. So a killed run goes on where it stopped, changing
a late setting repeats only what depends on it, and what was deleted or damaged is made anew.

A step that begins again finds its folder empty; what lay there comes back if the step is not finished. One process at a
time works in a folder (`Run.hold`).

Results are made below work and put into their places at the end. The manifest holds their digests, and so does
report.json for when work is gone: whatever else lies in a result's place is somebody's own, and stays.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import v2m4
from v2m4.aside import discard, empty, put_aside, put_back
from v2m4.errors import Problems, V2M4Error
from v2m4.files import digest_of, inventory, sweep, unchanged, write_atomically, writing
from v2m4.lock import locked
from v2m4.ownership import (
    FORMAT,
    RESULTS,
    files_at,
    finished_in,
    read_manifest,
    refuse_among_steps,
    refuse_foreign_results,
    refuse_other_format,
    refuse_output,
    written_in,
)
from v2m4.recipe import Recipe


@dataclass(frozen=True)
class Step:
    """One bounded piece of work: a stage, of one keyframe where the stage works on keyframes.

    ``after`` is the keyframe that registration starts from.
    """

    stage: str
    keyframe: int | None = None
    after: int | None = None

    @property
    def frame(self) -> int:
        """The frame index of its keyframe."""
        assert self.keyframe is not None, f"{self.stage} works on the whole clip"
        return self.keyframe

    @property
    def name(self) -> str:
        """Its key in the manifest, and its folder below the run's work."""
        return self.stage if self.keyframe is None else f"{self.keyframe:05d}/{self.stage}"


class Run:
    """The folder of one run, and the only thing that steps share."""

    def __init__(self, folder: Path, source: Path, recipe: Recipe, prints: Mapping[str, str]) -> None:
        """A run as its manifest has it; `open` and `read` make one. prints: the stages' fingerprints."""
        self.folder = folder
        self.work = folder / "work"
        self.source = source
        self.recipe = recipe
        self._prints = prints
        self._finished: dict[str, dict[str, Any]] = {}
        self._written: dict[str, list[str]] = {}
        self._published: tuple[str, ...] = ()
        self.reload()

    @classmethod
    def open(
        cls, folder: Path, source: Path, recipe: Recipe, prints: Mapping[str, str], look: Callable[[bool], None]
    ) -> Run:
        """Take up ``folder`` for turning ``source`` into an animation; what is finished there and still holds is kept.

        look: told whether the folder has the source's frames, raises V2M4Error if what is read cannot be. Raises one
        V2M4Error if so, if the folder holds what v2m4 did not make, or if what is read lies where results go. Nothing
        is written before the first step begins.
        """
        run, problems = cls(folder, source, recipe, prints), Problems()
        run.forget_damaged()
        with problems:
            refuse_output(folder, source, recipe.settings.generator.template)
        with problems:
            refuse_among_steps(folder, run._may_go())
        with problems:
            look(run.done(Step("video")))
        problems.refuse()
        return run

    def _may_go(self) -> dict[str, dict[str, Any]]:
        """The inventories of finished steps that may be made anew, or be pruned with their keyframe."""
        entries = finished_in(read_manifest(self.work))
        return {name: entry["files"] for name, entry in entries.items() if name not in self._finished or "/" in name}

    @classmethod
    def read(cls, folder: Path) -> Run:
        """A run only to be looked at, as it was worked on last: its source need not exist any more.

        Raises V2M4Error where there is none, or one of another version.
        """
        manifest = read_manifest(folder / "work")
        if "recipe" not in manifest:
            raise V2M4Error(f"{folder} holds no run. Give the folder that `v2m4 reconstruct -o` wrote to.")
        refuse_other_format(folder / "work", manifest)
        prints = {_stage(name): entry["fingerprint"] for name, entry in finished_in(manifest).items()}
        try:
            source, recipe = Path(manifest["source"]), Recipe.from_plain(manifest["recipe"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise V2M4Error(
                f"{folder / 'work' / 'run.json'} is damaged. Delete it with the folder it lies in, and give the "
                "`v2m4 reconstruct` command again."
            ) from error
        return cls(folder, source, recipe, prints)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other processes off the folder inside the block, in which alone steps may be done.

        What a killed process left is tidied up. Raises V2M4Error if another process is at work there.
        """
        with locked(self.work / "lock", self.folder):
            sweep(self.folder)
            put_back(self._manifest)
            self.reload()
            self.forget_damaged()
            yield

    def reload(self) -> None:
        """Take over what other processes entered into the manifest."""
        manifest = read_manifest(self.work)
        self._finished = {
            name: entry
            for name, entry in finished_in(manifest).items()
            if entry["fingerprint"] == self._prints.get(_stage(name))
        }
        self._written = written_in(manifest)

    def forget_damaged(self) -> None:
        """Forget the first finished step whose files are not what it left, and all that were finished after it."""
        kept: dict[str, dict[str, Any]] = {}
        for name, entry in self._finished.items():
            files = unchanged(self.folder, entry["files"])
            if files is None:
                break
            kept[name] = entry | {"files": files}
        self._finished = kept

    @property
    def resumed(self) -> bool:
        """Whether the folder already held finished steps of this very run."""
        return bool(self._finished)

    def fingerprint(self, stage: str) -> str:
        """The fingerprint of a stage's steps."""
        return self._prints[stage]

    @property
    def finished(self) -> frozenset[str]:
        """Names of the finished steps."""
        return frozenset(self._finished)

    def done(self, step: Step) -> bool:
        """Whether the step is finished."""
        return step.name in self._finished

    def seconds(self, stage: str) -> list[float]:
        """How long each finished step of the stage took."""
        return [e["seconds"] for name, e in self._finished.items() if _stage(name) == stage]

    def times(self) -> dict[str, float]:
        """Seconds spent in each stage so far."""
        total: dict[str, float] = {}
        for name, entry in self._finished.items():
            total[_stage(name)] = total.get(_stage(name), 0.0) + entry["seconds"]
        return {stage: round(seconds, 2) for stage, seconds in total.items()}

    def place(self, step: Step) -> Path:
        """Where the step keeps its artefacts."""
        return self.work / step.name

    def begin(self, step: Step) -> Path:
        """Forget that the step was finished, empty its place, and return that. `finish` or `abandon` must follow."""
        put_aside(self._manifest)
        self._finished.pop(step.name, None)
        self._write_manifest()
        self._published = ()
        empty(self.place(step))
        return self.place(step)

    def finish(self, step: Step, seconds: float) -> None:
        """Enter the step into the manifest, with what it left."""
        self._finished[step.name] = {
            "fingerprint": self._prints[step.stage],
            "seconds": round(seconds, 3),
            "files": inventory(self.folder, [self.place(step), *(self.folder / name for name in self._published)]),
        }
        self._write_manifest()
        discard(self._manifest, self.place(step))

    def prune(self, steps: Iterable[Step]) -> None:
        """Remove the places of keyframes' steps that are none of ``steps``: earlier settings left them."""
        kept = {step.name for step in steps}
        with writing(self.work):
            for folder in self.work.glob(f"{'[0-9]' * 5}/"):
                for place in folder.iterdir():
                    if place.name in self._prints and f"{folder.name}/{place.name}" not in kept:
                        shutil.rmtree(place)
                if not any(folder.iterdir()):
                    folder.rmdir()

    def abandon(self) -> None:
        """Put back what the step that was begun last replaced, and what the manifest said before."""
        put_back(self._manifest)
        self.reload()

    def publish(self, place: Path) -> None:
        """Put the results that lie in ``place`` into the run's folder, and remove earlier ones that are no more.

        Raises V2M4Error, and changes nothing, if somebody else's file stands in the place of one.
        """
        refuse_foreign_results(self.folder)
        made = {name for name in RESULTS.values() if (place / name).exists()}
        digests = {name: digest_of(place / name) for result in made for name in files_at(place, result)}
        # Entered before they are moved: one that is killed in between knows both the old and the new ones for its own.
        self._written = {
            name: [d for d in (*self._written.get(name, ()), digests.get(name)) if d is not None]
            for name in {*self._written, *digests}
        }
        self._write_manifest()
        discard(self._manifest, place)  # from here on there is no way back
        with writing(self.folder):
            for name in RESULTS.values():
                target = self.folder / name
                if target.is_dir() and not target.is_symlink():
                    shutil.rmtree(target)
                elif name not in made:
                    target.unlink(missing_ok=True)
                if name in made:
                    (place / name).replace(target)
        self._written = {name: [digest] for name, digest in digests.items()}
        self._published = tuple(made)
        self._write_manifest()

    def rng(self, step: Step) -> torch.Generator:
        """The step's own random numbers: the same whether or not the steps before it were resumed."""
        digest = hashlib.sha256(f"{self.recipe.settings.seed}/{step.name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))

    def request_stop(self) -> None:
        """Ask whoever works on this run, in whichever process, to stop after the current iteration."""
        with writing(self.work / "stop"):
            self.work.mkdir(parents=True, exist_ok=True)
            (self.work / "stop").touch()

    def clear_stop(self) -> None:
        """Forget an earlier request to stop."""
        with writing(self.work / "stop"):
            (self.work / "stop").unlink(missing_ok=True)

    def stop_requested(self) -> bool:
        """Whether somebody asked to stop."""
        return (self.work / "stop").exists()

    def _write_manifest(self) -> None:
        data = {
            "format": FORMAT,
            "version": v2m4.__version__,
            "source": self.source.name,
            "recipe": self._plain_recipe,
            "finished": self._finished,
            "results": self._written,
        }
        # Written twice a step: without an indent, which only the encoder in Python knows, a tenth of the time.
        write_atomically(self._manifest, json.dumps(data).encode())

    @cached_property
    def _plain_recipe(self) -> dict[str, Any]:
        return self.recipe.to_plain()

    @property
    def _manifest(self) -> Path:
        return self.work / "run.json"


def _stage(step_name: str) -> str:
    return step_name.rpartition("/")[2]
