"""Finished results, opened for measuring: the folder of a run, or an animated GLB with its camera beside it."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from v2m4.artefacts import finished_run, read_clip
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.evaluation.glb import read_glb
from v2m4.evaluation.report import read_camera
from v2m4.evaluation.scores import Shown
from v2m4.evaluation.truth import read_truth
from v2m4.events import drain
from v2m4.geometry.camera import FOV_DEG, Camera
from v2m4.matting.stage import cut_out
from v2m4.ownership import RESULTS
from v2m4.run import Run
from v2m4.settings import Settings
from v2m4.studies.baseline import is_baseline, shown_baseline
from v2m4.video import load_video

# An animation may end so many frames before or after its video without a word.
_SLACK = 1.5
# A model that nothing filmed: pictures per second, seconds of one that does not move, and the picture's side.
_RATE, _STILL_S, _SIDE = 24, 4.0, 512
# How much of the picture's side its bounding sphere takes.
_FILLS = 0.85


def is_run(path: Path) -> bool:
    """Whether the path is the folder of a run, and not an animation's own file."""
    return path.is_dir()


def refuse_missing(result: Path) -> None:
    """Raise V2M4Error if there is no such folder or file."""
    if not result.exists():
        raise V2M4Error(f"There is no result {result}. Give the folder of a run, or an animated GLB.")


@contextmanager
def opened(results: Sequence[Path], videos: Sequence[Path] = (), truths: Sequence[Path] = ()) -> Iterator[list[Shown]]:
    """The results with the clips they are compared with, and their truths.

    videos: one per result, or none, where all are folders of runs (which hold their clip). truths: one per result, or
    none. Raises V2M4Error where they do not go together or cannot be read.
    """
    if not results:
        raise V2M4Error("Name at least one result: the folder of a run, or an animated GLB.")
    for what, given in (("--video", videos), ("--truth", truths)):
        if given and len(given) != len(results):
            raise V2M4Error(f"{len(results)} results need as many of {what}, in the same order, but {len(given)} came.")
    for result in results:
        refuse_missing(result)
        if videos and is_run(result) and not (result / RESULTS["glb"]).is_file():
            raise V2M4Error(
                f"{result} holds no {RESULTS['glb']} to set against --video. A run holds its clip: drop it."
            )
    if not videos and not all(map(is_run, results)):
        raise V2M4Error("A GLB does not hold its video. Name the videos, one per result: --video CLIP...")
    with tempfile.TemporaryDirectory(prefix="v2m4-") as folder:
        shown = []
        for index, result in enumerate(results):
            if videos:
                glb = result / RESULTS["glb"] if is_run(result) else result
                one = of_glb(glb, *cut_out_clip(videos[index], Path(folder) / str(index)))
            else:
                one = of_run(result)
            shown.append(with_truth(one, truths[index]) if truths else one)
        yield shown


def with_truth(one: Shown, truth: Path) -> Shown:
    """The result beside its true geometry, as of `read_truth`."""
    return replace(one, truth=read_truth(truth, [one.begins + time for time in one.clip.times]))


def of_run(folder: Path) -> Shown:
    """A finished run's animation or baseline, seen by the video's camera, and its clip."""
    run = Run.read(folder)
    begins = run.recipe.settings.video.start_s
    if is_baseline(run):
        return replace(shown_baseline(run), begins=begins)
    animation, clip = finished_run(folder)
    name = folder.resolve().name
    return Shown(name, animation.mesh_at, Camera.identity(FOV_DEG), clip, source=read_clip(run), begins=begins)


def of_glb(glb: Path, clip: Clip, source: Clip) -> Shown:
    """An animated GLB, seen by the camera that ``NAME.camera.json`` beside it describes."""
    model = read_glb(glb)
    camera = read_camera(glb.with_suffix(".camera.json"), clip)
    lasts, filmed = float(model.times.max(initial=0.0)), clip.times[-1] - clip.times[0]
    note = ""
    if abs(lasts - filmed) > _SLACK * filmed / max(len(clip) - 1, 1):
        note = (
            f"the animation lasts {lasts:.2f} s, the video {filmed:.2f} s; they were compared at the video's times. "
            "Is it the video that the animation was made from?"
        )
    return Shown(
        glb.stem, lambda time: model.mesh.with_vertices(model.at(time)), camera, clip, source=source, note=note
    )


def of_model(glb: Path) -> Shown:
    """An animated GLB without a video: seen from its front (+z of glTF), at 24 pictures a second that do not exist."""
    model = read_glb(glb)
    duration = float(model.times.max(initial=0.0)) or _STILL_S
    times = tuple(k / _RATE for k in range(max(1, math.ceil(duration * _RATE - 1e-9))))
    poses = torch.stack([model.at(time) for time in times])
    middle = (poses.amin((0, 1)) + poses.amax((0, 1))) / 2
    radius = max(float((poses - middle).norm(dim=-1).max()), 1e-6)
    # The film is made where the sphere has radius 1: near and far planes are in units of the mesh.
    camera = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    camera[2, 3] = 1 / (_FILLS * math.sin(math.radians(FOV_DEG) / 2))
    clip = Clip(glb.parent, glb.stem, times, duration, _SIDE, (_SIDE, _SIDE), 1.0, (0.0, 0.0), has_alpha=False)
    return Shown(
        glb.stem, lambda time: model.mesh.with_vertices((model.at(time) - middle) / radius), Camera(camera), clip
    )


def cut_out_clip(video: Path, folder: Path) -> tuple[Clip, Clip]:
    """The video decoded into ``folder``: its object cut out, and as it is; by the default settings."""
    settings = Settings()
    clip = drain(load_video(video, folder / "frames", settings.video))
    return drain(cut_out(clip, folder / "masked", settings.matting)).clip, clip
