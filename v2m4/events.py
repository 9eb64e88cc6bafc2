"""What a run tells the world while it works.

A stage is a generator: it yields events and returns its artefact, so that a caller can show progress, stop between any
two iterations (by closing the generator) and still read the stage as one function:
``camera = yield from search_camera(...)``. Events hold plain values only (numbers, paths, numpy arrays on the CPU),
because they may cross a process boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Phase = Literal["sampling", "stereo", "swarm", "descent"]
T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")
StageRun = Generator["Event", None, T]


@dataclass(frozen=True)
class Event:
    """Base of all events. ``live``: it is told while a step works, not when that is finished."""

    live: ClassVar[bool] = False


@dataclass(frozen=True)
class Progress(Event):
    """Something advanced. ``fraction`` in [0,1] is of this stage (of this keyframe, if there is one)."""

    stage: str
    fraction: float
    keyframe: int | None = None
    note: str = ""


@dataclass(frozen=True)
class RunProgress(Event):
    """The whole run's progress. ``fraction`` in [0,1]; ``keyframes``: all keyframes' frame indices, once known;
    ``seconds_left``: an estimate, once anything was measured."""

    stage: str
    fraction: float
    keyframe: int | None
    keyframes: tuple[int, ...]
    seconds_left: float | None
    note: str = ""


@dataclass(frozen=True)
class RunStarted(Event):
    """The run has a folder; ``resumed`` is True when it already held finished work."""

    folder: Path
    resumed: bool


@dataclass(frozen=True)
class Notice(Event):
    """A sentence that the user should read before the work begins: what a licence forbids, what is downloaded, what
    will take very long."""

    sentence: str


@dataclass(frozen=True)
class FramesReady(Event):
    """The clip is decoded: ``frames`` of ``size`` (width, height) as in the file, lasting ``seconds``. ``warnings``:
    sentences about frames that lack."""

    frames: int
    size: tuple[int, int]
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForegroundReady(Event):
    """The object is cut out. ``method`` says how; ``warnings`` are sentences about frames that look wrong."""

    method: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeyframesChosen(Event):
    """Frame indices of the keyframes, which of them is the anchor, and their (S,S,4) uint8 pictures on disk."""

    indices: tuple[int, ...]
    anchor: int
    images: tuple[Path, ...]


@dataclass(frozen=True)
class MeshSketched(Event):
    """A generator that looks at several frames has seen the keyframe itself, of which alone this mesh is (a GLB)."""

    live: ClassVar[bool] = True

    keyframe: int
    path: Path


@dataclass(frozen=True)
class MeshGenerated(Event):
    """The generator made the mesh of a keyframe (``path`` is a GLB for viewers). ``warnings``: what the mesh lacks."""

    keyframe: int
    faces: int
    path: Path
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeyframePassedOver(Event):
    """No mesh could be made of a keyframe; the animation goes over it. ``why`` is a sentence."""

    keyframe: int
    why: str


@dataclass(frozen=True)
class CameraView(Event):
    """The best view after one phase of the camera search.

    ``image``: (S,S,4) uint8 rendering. ``score``: lower is better. ``overlap``: mask overlap (IoU) with the frame.
    """

    live: ClassVar[bool] = True

    keyframe: int
    phase: Phase
    image: NDArray[np.uint8]
    score: float
    overlap: float


@dataclass(frozen=True)
class CameraFound(Event):
    """The keyframe's camera, and how well the re-posed mesh covers the object."""

    keyframe: int
    overlap: float


@dataclass(frozen=True)
class MeshRefined(Event):
    """The keyframe's mesh after appearance refinement, as a GLB."""

    keyframe: int
    path: Path


@dataclass(frozen=True)
class ShapeFollowed(Event):
    """The mesh as it follows the video stands at ``frame`` with these vertices (V,3) in camera space, so far."""

    live: ClassVar[bool] = True

    frame: int
    vertices: NDArray[np.float64]


@dataclass(frozen=True)
class PoseView(Event):
    """What was followed so far stands like this at a keyframe. ``image``: (S,S,4) uint8 rendering. ``overlap``: mask
    overlap (IoU) with the frame. ``vertices``: (V,3) in camera space."""

    live: ClassVar[bool] = True

    keyframe: int
    image: NDArray[np.uint8]
    overlap: float
    vertices: NDArray[np.float32]


@dataclass(frozen=True)
class MeshRegistered(Event):
    """The reference mesh reached this keyframe. ``overlap``: mask overlap with the frame."""

    keyframe: int
    overlap: float
    preview: Path | None = None


@dataclass(frozen=True)
class PosesMended(Event):
    """Torn places were mended in ``mended`` of ``poses`` poses."""

    mended: int
    poses: int


@dataclass(frozen=True)
class TextureReady(Event):
    """The shared texture, as a picture."""

    path: Path


@dataclass(frozen=True)
class Finished(Event):
    """Everything is written. ``files`` maps glb, camera, preview, settings, report (and frames) to paths."""

    files: dict[str, Path]
    report: dict[str, Any] = field(default_factory=dict)


def drain(steps: Generator[Any, None, T]) -> T:
    """Run a stage to its end, ignoring its events, and return its artefact."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def mapped(steps: Generator[In, None, T], change: Callable[[In], Out]) -> Generator[Out, None, T]:
    """The same steps and artefact, with ``change(event)`` in place of each event. Closing it closes ``steps``."""
    try:
        while True:
            try:
                event = next(steps)
            except StopIteration as stop:
                return stop.value
            yield change(event)
    finally:
        steps.close()


def tap(steps: StageRun[T], see: Callable[[Event], None]) -> StageRun[T]:
    """The same steps; ``see`` is shown each event before it is passed on."""

    def shown(event: Event) -> Event:
        see(event)
        return event

    return mapped(steps, shown)


def scaled(steps: StageRun[T], low: float, high: float) -> StageRun[T]:
    """The same steps, the fraction of their Progress mapped from [0,1] to [low,high]."""

    def moved(event: Event) -> Event:
        if not isinstance(event, Progress):
            return event
        return replace(event, fraction=low + (high - low) * event.fraction)

    return mapped(steps, moved)
