"""What visitors may ask of the machine, from the environment; the page says so beside the upload."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from v2m4.errors import V2M4Error
from v2m4.settings import VideoSettings
from v2m4.video import VideoFacts, probe


@dataclass(frozen=True)
class Limits:
    """Upload size in megabytes, length in seconds, longer side in pixels; runs at once; hours a run is kept."""

    megabytes: int = 100
    seconds: float = 30.0
    side: int = 3840
    concurrent_runs: int = 2
    waiting_runs: int = 20
    keep_hours: float = 24.0

    @staticmethod
    def from_environment() -> Limits:
        """The limits, each replaced by V2M4_MAX_MEGABYTES, V2M4_MAX_SECONDS, … where that is set."""
        names = {
            "megabytes": "V2M4_MAX_MEGABYTES",
            "seconds": "V2M4_MAX_SECONDS",
            "side": "V2M4_MAX_SIDE",
            "concurrent_runs": "V2M4_CONCURRENT_RUNS",
            "waiting_runs": "V2M4_WAITING_RUNS",
            "keep_hours": "V2M4_KEEP_HOURS",
        }
        defaults = Limits()
        found = {
            field: type(getattr(defaults, field))(os.environ[name])
            for field, name in names.items()
            if name in os.environ
        }
        return Limits(**found)

    def sentence(self) -> str:
        """The limits as one line for the page."""
        return (
            f"At most {self.megabytes} MB, {self.seconds:g} seconds and {self.side} pixels a side; "
            f"files are deleted after {self.keep_hours:g} hours."
        )


def check_video(path: str | Path | None, limits: Limits) -> VideoFacts:
    """Look at an upload; raises V2M4Error with a sentence for whatever makes it unusable."""
    if not path:
        raise V2M4Error("Choose a video first, or click one of the examples below.")
    megabytes = Path(path).stat().st_size / 1e6
    if megabytes > limits.megabytes:
        raise V2M4Error(
            f"The video has {megabytes:.0f} MB, more than the {limits.megabytes} MB allowed. Shorten it first."
        )
    return probe(Path(path), VideoSettings(max_source_side=limits.side))


def check_length(facts: VideoFacts, settings: VideoSettings, limits: Limits) -> None:
    """Refuse what is still too long after trimming."""
    end = min(facts.seconds, settings.end_s if settings.end_s is not None else facts.seconds)
    length = end - settings.start_s
    if length > limits.seconds + 0.5:
        raise V2M4Error(
            f"The clip is {length:.0f} seconds long; {limits.seconds:g} are allowed here. Trim it with “From” and “To”."
        )
