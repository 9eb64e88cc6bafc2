"""Results against their videos and, where it is known, the truth: every measure of the paper's tables, per frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from v2m4.arrays import Bytes
from v2m4.clip import Clip
from v2m4.errors import V2M4Error
from v2m4.evaluation.actionbench import compare_surfaces, into_unit_box
from v2m4.evaluation.frechet import (
    FRAME_SIZE,
    WINDOW,
    clip_tensor,
    frechet_distance,
    prepare_clip,
    resize_frame,
    windows,
)
from v2m4.evaluation.judges import ClipFeatures, Panel
from v2m4.evaluation.report import compare_pictures, over_white
from v2m4.evaluation.surfaces import MovingMesh, MovingSurface, SeparateMeshes
from v2m4.evaluation.truth import Truth
from v2m4.geometry.camera import Camera
from v2m4.geometry.mesh import Mesh
from v2m4.render.pictures import render_rgba


@dataclass(frozen=True)
class MeasureSpec:
    """How a measure is called and read. better: "up" or "down". digits: shown after the point."""

    name: str
    title: str
    better: str
    digits: int
    what: str


MEASURES: Mapping[str, MeasureSpec] = {
    spec.name: spec
    for spec in (
        MeasureSpec("clip", "CLIP", "up", 4, "cosine of image embeddings"),
        MeasureSpec("lpips", "LPIPS", "down", 4, "LPIPS-VGG, mean over its map"),
        MeasureSpec("fvd", "FVD", "down", 2, "Frechet distance of windows of 32 frames"),
        MeasureSpec("dreamsim", "DreamSim", "down", 4, "DreamSim's ensemble"),
        MeasureSpec("psnr", "PSNR", "up", 2, "dB over white, within the union of both silhouettes"),
        MeasureSpec("ssim", "SSIM", "up", 4, "over white, within the object's box"),
        MeasureSpec("iou", "IoU", "up", 4, "of the silhouettes"),
        MeasureSpec("cd_3d", "CD-3D", "down", 4, "ActionBench, every frame aligned"),
        MeasureSpec("cd_4d", "CD-4D", "down", 4, "ActionBench, the first frame aligned"),
        MeasureSpec("cd_m", "CD-M", "down", 4, "ActionBench, the same surface points through time"),
        MeasureSpec("normals", "Normals", "up", 4, "absolute cosine of normals at nearest points"),
    )
}
LEARNED = ("clip", "lpips", "fvd", "dreamsim")
PICTURES = ("psnr", "ssim", "iou")
GEOMETRY = ("cd_3d", "cd_4d", "cd_m", "normals")


@dataclass(frozen=True)
class Shown:
    """A moving mesh, the camera that filmed it, and the clip it is compared with (object cut out).

    at: the mesh at a time in seconds. tracked: whether its vertices are the same ones at all times. truth: the true
    geometry, if it is known. source: the clip as it was read, background and all. note: what has to be said of the
    comparison. begins: seconds of the video that come before the clip.
    """

    name: str
    at: Callable[[float], Mesh]
    camera: Camera
    clip: Clip
    truth: Truth | None = None
    tracked: bool = True
    source: Clip | None = None
    note: str = ""
    begins: float = 0.0


@dataclass(frozen=True)
class Score:
    """A value, that of every frame where it has one, and the weights it was taken with (empty: none needed)."""

    mean: float
    per_frame: tuple[float, ...] = ()
    weights: str = ""


@dataclass(frozen=True)
class ClipScores:
    """What one result scored. left_out: measures that could not be taken, each with the sentence why. note: what has to
    be said of the comparison. times: seconds of the clip's frames; true_times: of the poses in which its geometry was
    compared, which are others where the truth has other poses."""

    name: str
    clip: str
    frames: int
    scores: Mapping[str, Score]
    left_out: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    times: tuple[float, ...] = ()
    true_times: tuple[float, ...] = ()

    def times_of(self, measure: str) -> tuple[float, ...]:
        """Seconds in the clip to which the measure's values per frame belong."""
        return self.true_times if measure in GEOMETRY else self.times


@dataclass(frozen=True)
class Scores:
    """What a set of results scored: each, and over all. FVD is one distance between both sets of windows.

    windows: how many of them FVD had.
    """

    clips: tuple[ClipScores, ...]
    overall: Mapping[str, Score]
    left_out: Mapping[str, str]
    windows: int = 0

    def to_plain(self) -> dict[str, Any]:
        """JSON-able data."""

        def plain(scores: Mapping[str, Score]) -> dict[str, Any]:
            return {
                name: {"mean": score.mean, "weights": score.weights}
                | ({"per_frame": list(score.per_frame)} if score.per_frame else {})
                for name, score in scores.items()
            }

        return {
            "overall": plain(self.overall),
            "left_out": dict(self.left_out),
            "fvd_windows": self.windows,
            "clips": [
                {
                    "name": c.name,
                    "clip": c.clip,
                    "frames": c.frames,
                    "scores": plain(c.scores),
                    "left_out": dict(c.left_out),
                    "note": c.note,
                    "times": list(c.times),
                    "true_times": list(c.true_times),
                }
                for c in self.clips
            ],
        }

    @staticmethod
    def from_plain(data: Mapping[str, Any]) -> Scores:
        """What `to_plain` described. Raises KeyError or TypeError for anything else."""

        def read(scores: Mapping[str, Any]) -> dict[str, Score]:
            return {
                name: Score(float(s["mean"]), tuple(s.get("per_frame", ())), s["weights"]) for name, s in scores.items()
            }

        clips = tuple(
            ClipScores(
                c["name"],
                c["clip"],
                c["frames"],
                read(c["scores"]),
                c["left_out"],
                c["note"],
                tuple(c["times"]),
                tuple(c["true_times"]),
            )
            for c in data["clips"]
        )
        return Scores(clips, read(data["overall"]), data["left_out"], data["fvd_windows"])


def score(shown: Sequence[Shown], panel: Panel, *, points: int = 100_000, every_frame: bool = True) -> Scores:
    """Every measure of every result. points, every_frame: of the geometry's distances (`compare_surfaces`)."""
    clips = tuple(score_one(one, panel, points=points, every_frame=every_frame) for one in shown)
    overall: dict[str, Score] = {}
    for name in MEASURES:
        found = [c.scores[name] for c in clips if name in c.scores]
        if found and len(found) == len(clips):
            overall[name] = Score(float(np.mean([s.mean for s in found])), weights=found[0].weights)
    left_out, count = dict(panel.left_out), 0
    if panel.features is not None:
        value, count = video_distance(shown, panel.features)
        if count:
            overall["fvd"] = Score(value, weights=panel.features.weights)
        else:
            left_out["fvd"] = f"no clip has {WINDOW} frames, and shorter ones are dropped"
    for name in GEOMETRY:
        reasons = {c.left_out[name] for c in clips if name in c.left_out}
        if reasons:
            left_out[name] = "; ".join(sorted(reasons))
    ordered = {name: overall[name] for name in MEASURES if name in overall}
    return Scores(clips, ordered, left_out, count)


def score_one(one: Shown, panel: Panel, *, points: int = 100_000, every_frame: bool = True) -> ClipScores:
    """The measures of one result; FVD, which compares sets, is not among them."""
    values: dict[str, list[float]] = {name: [] for name in (*panel.pictures, *PICTURES)}
    for index, time in enumerate(one.clip.times):
        overlap, ratio, similarity = compare_pictures(
            render_rgba(one.at(time), one.camera, one.clip.side), one.clip.frame(index)
        )
        for name, value in zip(("iou", "psnr", "ssim"), (overlap, ratio, similarity), strict=True):
            values[name].append(value)
        if panel.pictures:
            ours, theirs = _rendered(one, time), _filmed(one, index)
            for name, judge in panel.pictures.items():
                values[name].append(float(judge(ours[None], theirs[None])[0]))
    scores = {
        name: Score(_mean(row), tuple(row), panel.pictures[name].weights if name in panel.pictures else "")
        for name, row in values.items()
    }
    true_times: list[float] = []
    left_out, note = dict(panel.left_out), one.note
    if one.truth is None:
        left_out |= dict.fromkeys(GEOMETRY, "the true geometry is not known (--truth)")
    else:
        poses, true_times, cut = matching_poses(one, one.truth)
        note = "; ".join(filter(None, (note, cut)))
        scores |= _geometry(one, one.truth, poses, true_times, points, every_frame)
        if not one.tracked:
            left_out["cd_m"] = "its frames share no surface whose points could be followed"
        if not every_frame:
            left_out["cd_3d"] = "not asked for"
    ordered = {name: scores[name] for name in MEASURES if name in scores}
    times = tuple(one.clip.times)
    return ClipScores(one.name, one.clip.name, len(times), ordered, left_out, note, times, tuple(true_times))


def video_distance(shown: Sequence[Shown], features: ClipFeatures) -> tuple[float, int]:
    """The Frechet distance between renderings and videos over all their windows, and how many there are of each."""
    ours, theirs = [], []
    for video, start in windows([len(one.clip) for one in shown]):
        one, frames = shown[video], range(start, start + WINDOW)
        ours.append(features(prepare_clip(clip_tensor([_rendered(one, one.clip.times[k]) for k in frames]))))
        theirs.append(features(prepare_clip(clip_tensor([_filmed(one, k) for k in frames]))))
    return (frechet_distance(np.stack(ours), np.stack(theirs)), len(ours)) if ours else (math.nan, 0)


def _rendered(one: Shown, time: float) -> Bytes:
    """(512,512,3) what the reference camera sees at ``time``, over white."""
    return over_white(render_rgba(one.at(time), one.camera, FRAME_SIZE))


def _filmed(one: Shown, index: int) -> Bytes:
    """(512,512,3) the object in a frame of the clip, over white."""
    return resize_frame(over_white(one.clip.frame(index)), FRAME_SIZE)


def _geometry(
    one: Shown, truth: Truth, poses: Sequence[int], times: Sequence[float], points: int, every_frame: bool
) -> dict[str, Score]:
    """Of the true poses of these numbers and the animation at these times; units are those of the whole truth."""
    meshes = [one.at(time) for time in times]
    arrays = [(mesh.vertices.double().numpy(), mesh.faces.numpy()) for mesh in meshes]
    ours: MovingSurface = SeparateMeshes(arrays)
    if one.tracked:
        ours = MovingMesh(np.stack([vertices for vertices, _ in arrays]), arrays[0][1])
    theirs = MovingMesh(into_unit_box(truth.vertices.double().numpy())[list(poses)], truth.mesh.faces.numpy())
    found = compare_surfaces(ours, theirs, points=points, every_frame=every_frame)
    means = {name: getattr(found, name) for name in GEOMETRY}
    return {
        name: Score(mean, tuple(found.per_frame.get(name, ()))) for name, mean in means.items() if not math.isnan(mean)
    }


def matching_poses(one: Shown, truth: Truth) -> tuple[list[int], list[float], str]:
    """The true poses that are compared, when in the clip, and a sentence where the truth is not pose for frame.

    With as many poses as frames each belongs to the frame of its number. Else they lie in the whole video, at the
    truth's times, and those are compared that the clip shows. Raises V2M4Error if it shows none.
    """
    clip, count = one.clip, len(truth.times)
    if len(clip) == count:
        return list(range(count)), list(clip.times), ""
    in_clip = truth.times - truth.times[0] - one.begins
    slack = 0.5 * float(np.diff(truth.times).min(initial=clip.duration))  # each time is rounded, in either file
    poses = [k for k, time in enumerate(in_clip) if -slack <= time <= clip.times[-1] + slack]
    start = f" from {one.begins:.2f} s on" if one.begins else ""
    facts = (
        f"the truth has {count} pose{'s' if count > 1 else ''} over {truth.times[-1] - truth.times[0]:.2f} s, "
        f"the clip {len(clip)} frames over {clip.times[-1]:.2f} s{start}"
    )
    if not poses:
        raise V2M4Error(f"{one.name}: {facts}, so it shows none of them. Is it the truth of this clip?")
    said = f"{facts}; geometry was compared in {len(poses)} of its poses"
    return poses, [float(in_clip[k]) for k in poses], said


def _mean(values: Sequence[float]) -> float:
    finite = [v for v in values if math.isfinite(v)]
    return float(np.mean(finite)) if finite else math.nan


def weights_named(scores: Scores) -> list[str]:
    """One line per result of which something has to be said, per measure that needed weights or is left out."""
    lines = [f"{c.name}: {c.note}" for c in scores.clips if c.note]
    lines += [f"{MEASURES[n].title}: {s.weights}" for n, s in scores.overall.items() if s.weights]
    if scores.windows:
        dropped = sum(c.frames for c in scores.clips) - scores.windows * WINDOW
        tails = f" {dropped} frames are dropped, as tails that fill no window." if dropped else ""
        lines.append(f"FVD: {scores.windows} windows of {WINDOW} frames in each set; so few bias it upwards.{tails}")
    return lines + [f"{MEASURES[name].title} left out: {reason}." for name, reason in scores.left_out.items()]


def measured_names(clips: Sequence[ClipScores]) -> list[str]:
    """The measures that any of the results has, in the order of the tables."""
    return [name for name in MEASURES if any(name in c.scores for c in clips)]
