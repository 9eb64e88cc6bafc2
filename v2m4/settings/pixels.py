"""Pixels in: which frames are read, how the object is cut out, which frames get a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from v2m4.settings.schema import PlugName, Range


@dataclass(frozen=True)
class VideoSettings:
    """Which frames are read, and how large."""

    start_s: Annotated[float, Range(0, 86400)] = 0.0
    """Where to start, in seconds of the clip."""
    end_s: Annotated[float, Range(0, 86400)] | None = None
    """Where to end, in seconds; the clip's end if absent."""
    frame_step: Annotated[int, Range(1, 1000)] = 1
    """Read every n-th frame only."""
    longest_side: Annotated[int, Range(64, 4096)] = 512
    """Frames are shrunk so that their longer side is at most this many pixels."""
    max_frames: Annotated[int, Range(1, 100000)] = 600
    """Longer clips are refused, with the advice to trim or raise this."""
    max_source_side: Annotated[int, Range(64, 16384)] = 4320
    """Videos with a longer side than this, in pixels, are refused, with the advice to shrink them."""
    pictures_fps: Annotated[float, Range(0.1, 1000)] = 24.0
    """Frames per second of a folder or zip of pictures, which have no timestamps."""


@dataclass(frozen=True)
class MattingSettings:
    """How the moving object is cut out of the frames."""

    method: Annotated[str, PlugName("matting")] = "auto"
    """alpha, flat, motion, rembg, or auto: the file's own alpha if it has one, else what the background suggests."""
    soft_edge_px: Annotated[float, Range(0, 50)] = 1.0
    """Width of the soft edge of the mask, in pixels of the processed frame."""
    min_area: Annotated[float, Range(0, 0.5)] = 0.001
    """A frame whose foreground covers less than this share of the picture counts as empty."""


@dataclass(frozen=True)
class KeyframeSettings:
    """Which frames get a mesh of their own."""

    mode: Literal["fixed", "adaptive"] = "adaptive"
    """fixed: every stride-th frame and the last; adaptive: closer together where the motion is faster."""
    stride: Annotated[int, Range(1, 1000)] = 5
    """Frames between keyframes; with adaptive, the most there may be."""
    min_stride: Annotated[int, Range(1, 1000)] = 1
    """adaptive: the fewest frames there may be between keyframes."""
    motion_threshold: Annotated[float, Range(0, 1)] = 0.08
    """adaptive: a new keyframe once the pose changed by this much (1 - overlap of the masks) since the last one."""
