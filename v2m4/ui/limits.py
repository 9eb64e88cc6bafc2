"""What visitors may ask of the machine, from the environment; the page says so beside the upload."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path

from v2m4.errors import V2M4Error
from v2m4.settings import Settings, VideoSettings, changed
from v2m4.video import VideoFacts, probe

_ANY_NUMBER = 10**9


@dataclass(frozen=True)
class Limits:
    """What one visitor may take.

    megabytes, seconds, side (pixels): of an upload. frames: read from a clip; longer ones are thinned out.
    concurrent_runs, waiting_runs, runs_per_visitor: at once. run_minutes: wall-clock time of one run.
    unwatched_minutes: how long a run goes on after the last browser that followed it is gone. keep_hours: after its
    last use a run is deleted.
    """

    megabytes: int = 100
    seconds: float = 30.0
    side: int = 3840
    frames: int = 300
    concurrent_runs: int = 2
    waiting_runs: int = 20
    runs_per_visitor: int = 3
    run_minutes: float = 60.0
    unwatched_minutes: float = 10.0
    keep_hours: float = 24.0

    @staticmethod
    def from_environment() -> Limits:
        """The limits, each replaced by the variable of `VARIABLES` where that is set."""
        found = {
            field.name: type(getattr(Limits, field.name))(os.environ[VARIABLES[field.name]])
            for field in fields(Limits)
            if VARIABLES[field.name] in os.environ
        }
        return Limits(**found)

    def sentence(self) -> str:
        """The limits as one line for the page."""
        return (
            f"At most {self.megabytes} MB, {self.seconds:g} seconds and {self.side} pixels a side; "
            f"files are deleted after {self.keep_hours:g} hours."
        )


VARIABLES = {
    "megabytes": "V2M4_MAX_MEGABYTES",
    "seconds": "V2M4_MAX_SECONDS",
    "side": "V2M4_MAX_SIDE",
    "frames": "V2M4_MAX_FRAMES",
    "concurrent_runs": "V2M4_CONCURRENT_RUNS",
    "waiting_runs": "V2M4_WAITING_RUNS",
    "runs_per_visitor": "V2M4_RUNS_PER_VISITOR",
    "run_minutes": "V2M4_RUN_MINUTES",
    "unwatched_minutes": "V2M4_UNWATCHED_MINUTES",
    "keep_hours": "V2M4_KEEP_HOURS",
}


def check_upload(path: str | Path | None, limits: Limits) -> Path:
    """The upload's path; raises V2M4Error with a sentence if there is none, or it is too large."""
    if not path:
        raise V2M4Error("Choose a video first (an upload takes a moment), or click one of the examples.")
    if not Path(path).is_file():
        raise V2M4Error("The uploaded video is gone from the server. Choose it again.")
    sentence = too_large(Path(path).name, Path(path).stat().st_size, limits)
    if sentence:
        raise V2M4Error(sentence)
    return Path(path)


def too_large(name: str, size: float, limits: Limits) -> str:
    """A sentence about a file of ``size`` bytes that is too large; "" for one that is not."""
    megabytes = size / 1e6
    if megabytes <= limits.megabytes:
        return ""
    return (
        f"{name} has {megabytes:.0f} MB, more than the {limits.megabytes} MB allowed. Shorten it, or save it smaller."
    )


def early_look(path: Path, settings: VideoSettings, limits: Limits) -> VideoFacts:
    """Facts of the whole clip; raises V2M4Error with a sentence if it cannot be read so. Which part is taken, and how
    many frames of it, is not its business: see `check_length` and `thinned`."""
    whole = VideoSettings(
        longest_side=settings.longest_side,
        pictures_fps=settings.pictures_fps,
        max_source_side=limits.side,
        max_frames=_ANY_NUMBER,
    )
    return probe(path, whole)


def check_length(facts: VideoFacts, settings: VideoSettings, limits: Limits) -> None:
    """Refuse what is empty, or still too long, after trimming."""
    if settings.end_s is not None and settings.end_s <= settings.start_s:
        raise V2M4Error(
            f"“To” ({settings.end_s:g} s) must come after “From” ({settings.start_s:g} s). 0 means the clip's end."
        )
    if settings.start_s >= facts.seconds:
        raise V2M4Error(
            f"“From” ({settings.start_s:g} s) lies behind the end of the clip, which is {facts.seconds:.1f} s long."
        )
    length = _end(facts, settings) - settings.start_s
    if length > limits.seconds + 0.5:
        raise V2M4Error(
            f"The clip is {length:.0f} seconds long; {limits.seconds:g} are allowed here. Trim it with “From” and “To”."
        )


def thinned(facts: VideoFacts, settings: Settings, limits: Limits) -> tuple[Settings, str]:
    """Settings that read no more frames than are allowed, and a sentence about it ("" where nothing changed)."""
    video = settings.video
    frames = facts.fps * (_end(facts, video) - video.start_s) / video.frame_step
    if frames <= limits.frames:
        return settings, ""
    step = video.frame_step * math.ceil(frames / limits.frames)
    words = {2: "2nd", 3: "3rd"}.get(step, f"{step}th")
    sentence = (
        f"This part of the clip has {frames:.0f} frames, more than the {limits.frames} used here: "
        f"every {words} is taken. Trim it to keep more of the motion."
    )
    return changed(settings, {"video.frame_step": step}), sentence


def _end(facts: VideoFacts, settings: VideoSettings) -> float:
    return min(facts.seconds, settings.end_s if settings.end_s is not None else facts.seconds)
