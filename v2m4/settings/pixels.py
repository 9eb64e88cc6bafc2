"""Pixels in: which frames are read, and which get a mesh."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from v2m4.settings.schema import Range


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
class SqueezeSettings:
    """How much the object's picture is squeezed or drawn out from one keyframe to the others."""

    tied: Annotated[float, Range(0, 1)] = 0.03
    """Only keyframes whose score is lower than the best one's by at most this share come instead of it."""
    clear: Annotated[float, Range(0, 1)] = 0.25
    """And only if it is squeezed less by this share: smaller differences tell nothing. 1 does without."""
    object_px: Annotated[float, Range(8, 1024)] = 64.0
    """Root of the object's area in the pictures, in pixels, to which larger objects are shrunk."""
    most_px: Annotated[int, Range(32, 4096)] = 384
    """Side of the pictures, in pixels, at most."""
    step: Annotated[int, Range(1, 64)] = 2
    """Pixels between the points that are looked at."""
    reach: Annotated[int, Range(1, 64)] = 3
    """Pixels from a point to those whose places tell how it is squeezed."""
    return_px: Annotated[float, Range(0.01, 1000)] = 1.0
    """A point is followed as long as the flow back misses where it was by less than this many pixels."""
    grey_step: Annotated[float, Range(0.01, 255)] = 20.0
    """And counts where its grey value is within this of the one that it had, of 255."""
    lost: Annotated[float, Range(0, 10)] = 0.3
    """What a point counts as that cannot be followed so far."""
    most: Annotated[float, Range(0.01, 10)] = 1.2
    """A point counts as squeezed by at most this: one whose flow is wrong could be by any amount."""
    worst_share: Annotated[float, Range(0, 1)] = 0.25
    """Share of the keyframes that count: those that are squeezed most, since there the mesh is followed worst."""


@dataclass(frozen=True)
class AnchorSettings:
    """Which keyframe shows the object best."""

    area_weight: Annotated[float, Range(0, 1)] = 0.5
    """Share of the score that a keyframe has by showing the object as large as the one that shows it largest."""
    limbs_weight: Annotated[float, Range(0, 1)] = 1.0
    """Share of the score that it has by an outline as long as the longest, for its size: limbs are apart."""
    outline_size: Annotated[float, Range(8, 4096)] = 100.0
    """Root of the object's area in pixels to which it is shrunk before outlines are measured: noise counts less."""
    middle_weight: Annotated[float, Range(0, 1)] = 0.1
    """Share of the score that the first and the last keyframe lose against one in the middle: the mesh is followed from
    the anchor on, and errors add up on the way."""
    likeness: Annotated[float, Range(1, 100)] = 1.5
    """The score falls with the mean change to the other keyframes, and would be 0 at this."""
    squeeze: SqueezeSettings = field(default_factory=SqueezeSettings)


@dataclass(frozen=True)
class KeyframeSettings:
    """Which frames get a mesh of their own."""

    mode: Literal["fixed", "adaptive"] = "adaptive"
    """fixed: every stride-th frame and the last; adaptive: closer together where the motion is faster."""
    stride: Annotated[int, Range(1, 1000)] = 5
    """Frames between keyframes; with adaptive, the most there may be."""
    min_stride: Annotated[int, Range(1, 1000)] = 1
    """adaptive: the fewest frames there may be between keyframes."""
    anchor: Annotated[int, Range(0, 100000)] | None = None
    """The frame whose mesh moves to all others (the keyframe nearest to it); by default the one that shows most."""
    motion_threshold: Annotated[float, Range(0, 1)] = 0.08
    """adaptive: a new keyframe once the pose changed by this much (1 - overlap of the masks) since the last one."""
    compare_size: Annotated[int, Range(16, 1024)] = 128
    """Side of the pictures in which poses are compared, in pixels."""
    object_size: Annotated[float, Range(0.05, 1)] = 0.33
    """Side of a square of the object's area in those pictures, as a share of theirs."""
    color_weight: Annotated[float, Range(0, 100)] = 1.0
    """Weight of the mean colour difference against that of the masks, so that turning in place counts as motion."""
    color_noise: Annotated[float, Range(0, 1)] = 0.01
    """Mean colour difference, of 1, up to which the colours count as the same."""
    ahead: Annotated[float, Range(0, 1)] = 0.5
    """adaptive: share of the last frame's change that is added to the change since the keyframe: rather half a step
    early than half a step late."""
    best: AnchorSettings = field(default_factory=AnchorSettings)
