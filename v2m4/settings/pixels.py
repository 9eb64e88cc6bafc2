"""Pixels in: which frames are read, how the object is cut out, which frames get a mesh."""

from __future__ import annotations

from dataclasses import dataclass, field
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
class FlatSettings:
    """An object before a plain background (flat)."""

    samples: Annotated[int, Range(1, 1000)] = 12
    """Frames on which the background's noise is measured."""
    model_size: Annotated[int, Range(16, 512)] = 96
    """Side of the shrunken picture to which the background's colour surface is fitted, in pixels."""
    rim: Annotated[float, Range(0.005, 0.3)] = 0.04
    """Width of the picture's rim, which is taken for background at first, as a share of the shorter side."""
    rim_tolerance: Annotated[float, Range(1, 100)] = 10.0
    """A pixel of the rim is plain background if it differs from the surface by less than this, in levels of 255."""
    least_plain_rim: Annotated[float, Range(0, 1)] = 0.6
    """A clip is refused if in no frame so much of the rim is plain."""
    auto_plain_rim: Annotated[float, Range(0, 1)] = 0.75
    """auto takes flat only if in most frames at least so much of the rim is plain."""
    auto_most_noise: Annotated[float, Range(0, 100)] = 7.0
    """auto takes flat only if the background's noise (standard deviation, in levels) is at most this."""
    tolerance: Annotated[float, Range(0, 100)] = 3.0
    """A difference from the background that speaks neither for it nor for the object, in levels, without noise."""
    noise_tolerance: Annotated[float, Range(0, 100)] = 3.0
    """What noise adds to that difference, in its standard deviations."""
    ringing_reach: Annotated[int, Range(1, 101)] = 13
    """Side of the square around a strong difference in which compression leaves noise, in pixels."""
    ringing_luma: Annotated[float, Range(0, 1)] = 0.06
    """That noise in the brightness, as a share of the strong difference."""
    ringing_chroma: Annotated[float, Range(0, 1)] = 0.2
    """That noise in the colour, which is stored more coarsely, as a share of the strong difference."""
    darkest_shadow: Annotated[float, Range(0, 1)] = 0.4
    """A shadow leaves the background at least so much of its brightness; what is darker is object."""
    shadow_slope: Annotated[float, Range(0, 100)] = 3.5
    """What changes by less than so many levels per pixel may be a shadow's rim, however faint the shadow."""
    shadow_steepness: Annotated[float, Range(0, 1)] = 0.12
    """What changes by less than so large a share of the shadow's depth per pixel may be its rim."""
    shadow_evidence: Annotated[float, Range(-3, 3)] = 0.6
    """How much a shadow speaks for background, where 1 is certain and -3 certainly object."""
    even_shadow: Annotated[float, Range(0, 1)] = 0.05
    """What is darkened by shares that differ by less than this from their median may be one shadow with a hard edge."""
    contour: Annotated[float, Range(0, 100)] = 1.5
    """Price of a pixel of contour, against 1 for a pixel labelled against its evidence."""
    contour_contrast: Annotated[float, Range(0.1, 255)] = 10.0
    """A colour step that makes a contour cheap, in levels; four deviations of the noise if those are more."""


@dataclass(frozen=True)
class BackgroundSettings:
    """What a still background looks like, learnt from a clip in which the object may never leave its place."""

    size: Annotated[int, Range(32, 1024)] = 224
    """Longer side of the shrunken frames on which the background is told from the object, in pixels."""
    still: Annotated[float, Range(0.5, 1)] = 0.93
    """A pixel is still if it shows one colour in so large a share of the frames."""
    rounds: Annotated[int, Range(1, 1000)] = 12
    """Rounds of belief propagation per labelling."""
    color_rounds: Annotated[int, Range(1, 100)] = 3
    """Labellings with colour models, each of which refines the models of the next."""
    doubt: Annotated[float, Range(0, 10)] = 0.7
    """A colour's log-likelihood ratio below which it speaks for nothing."""
    cautious_colors: Annotated[float, Range(0, 10)] = 0.6
    """How much colours count, against 1, where only what moves is looked for."""
    resting_share: Annotated[float, Range(0, 10)] = 0.3
    """A part that never moves is kept if it is so large beside the median of what moves."""
    resting_drift: Annotated[float, Range(0, 10)] = 0.2
    """An object whose middle moves by less than this, in square roots of its area, keeps all parts that never move."""
    resting_touch: Annotated[float, Range(0, 1)] = 0.9
    """A part that never moves is kept if what moves touches it in so large a share of the frames."""
    gap: Annotated[int, Range(0, 50)] = 3
    """Gaps between parts of the object of up to twice so many (shrunken) pixels are bridged."""


@dataclass(frozen=True)
class CameraMotionSettings:
    """How the camera's own motion is found from the background's."""

    corners: Annotated[int, Range(20, 10000)] = 800
    """At most so many corners of a frame are followed."""
    corner_spacing: Annotated[float, Range(4, 200)] = 28.0
    """Corners keep a distance of one part in so many of the longer side, so that they spread over the picture."""
    corner_quality: Annotated[float, Range(1e-6, 0.5)] = 2e-4
    """How strong a corner must be, as a share of the strongest."""
    least_corners: Annotated[int, Range(4, 1000)] = 12
    """A frame is placed by no fewer corners than this."""
    levels: Annotated[int, Range(0, 8)] = 3
    """Halvings of the picture in which corners are searched: each doubles how far they may move."""
    match_ratio: Annotated[float, Range(0.1, 1)] = 0.8
    """A matched feature counts if the second best match is farther by this factor."""
    neighbours: Annotated[int, Range(1, 10)] = 2
    """Placed frames nearest in time to which a frame is tied, besides the middle one."""
    inlier_px: Annotated[float, Range(0.1, 20)] = 0.8
    """Corners within so many pixels of a motion follow it."""
    focal: Annotated[float, Range(0.2, 20)] = 1.1
    """Focal length, in longer sides of the picture, that tells how turning bends it where it has little texture."""
    least_agreement: Annotated[float, Range(0, 1)] = 0.4
    """A motion is the camera's only if this share of the textured picture follows it."""
    still_px: Annotated[float, Range(0, 10)] = 0.5
    """What moves by less than so many pixels rests."""
    still_share: Annotated[float, Range(0, 10)] = 0.8
    """The camera stands still if what rests covers this share of what follows any other motion."""
    still_frames: Annotated[float, Range(0, 1)] = 0.9
    """It does so throughout if it does in this share of the frames."""
    least_placed: Annotated[float, Range(0, 1)] = 0.75
    """A clip is refused if less than this share of the frames can be placed."""
    most_canvas: Annotated[float, Range(1, 20)] = 3.0
    """A clip is refused if the camera sees more than so many times the area of one picture."""
    misplacement_px: Annotated[float, Range(0, 5)] = 0.25
    """How far off a frame may be placed, in pixels: edges of the background may differ by so much of their slope."""


@dataclass(frozen=True)
class MotionSettings:
    """A moving object before a background that stands still or is far away (motion)."""

    samples: Annotated[int, Range(3, 200)] = 32
    """Frames from which the background is learnt."""
    least_motion: Annotated[float, Range(0, 1)] = 5e-4
    """A clip is refused if less than this share of the picture changes."""
    least_still: Annotated[float, Range(0, 1)] = 0.35
    """A clip is refused (its camera moves) if less than this share of the picture is still."""
    least_still_rim: Annotated[float, Range(0, 1)] = 0.6
    """A clip is refused (its camera moves) if less than this share of the picture's rim is still."""
    most_noise: Annotated[float, Range(0, 100)] = 8.0
    """The video's noise is taken to be at most this (standard deviation, in levels)."""
    least_tolerance: Annotated[float, Range(0, 255)] = 18.0
    """Colours that differ by less than this are one, in levels, however little noise there is."""
    most_tolerance: Annotated[float, Range(0, 255)] = 36.0
    """Colours that differ by more than this are two, in levels; in between, six deviations of the noise decide."""
    tolerance: Annotated[float, Range(0, 255)] = 8.0
    """A difference from the background that speaks neither for it nor for the object, in levels, without noise."""
    deviation_tolerance: Annotated[float, Range(0, 100)] = 3.0
    """What the pixel's own noise adds to that difference, in its standard deviations over time."""
    noise_tolerance: Annotated[float, Range(0, 100)] = 2.0
    """What the whole video's noise adds to that difference, in its standard deviations."""
    contour: Annotated[float, Range(0, 100)] = 1.5
    """Price of a pixel of contour, against 1 for a pixel labelled against its evidence."""
    contour_contrast: Annotated[float, Range(0.1, 255)] = 16.0
    """A colour step that makes a contour cheap, in levels."""
    background: BackgroundSettings = field(default_factory=BackgroundSettings)
    camera: CameraMotionSettings = field(default_factory=CameraMotionSettings)


@dataclass(frozen=True)
class MaskCleanupSettings:
    """Which pieces of a mask belong to the object, and which holes are real."""

    near: Annotated[float, Range(0, 10)] = 0.04
    """How far a small piece may be from the largest one to belong to it, in diagonals of the largest."""
    near_area: Annotated[float, Range(0, 1)] = 0.002
    """Area of the smallest piece so near that belongs, as a share of the largest's."""
    far: Annotated[float, Range(0, 10)] = 0.35
    """How far a piece of some size may be from the largest one to belong to it, in diagonals of the largest."""
    far_area: Annotated[float, Range(0, 1)] = 0.05
    """Area of the smallest piece so far away that belongs, as a share of the largest's."""
    hole_area: Annotated[float, Range(0, 1)] = 0.0015
    """Holes smaller than this share of the object are filled, unless they show background all over."""


@dataclass(frozen=True)
class WarningSettings:
    """When a sentence warns of a frame's mask."""

    touching: Annotated[float, Range(0, 1)] = 0.02
    """The object counts as cut off where it covers more than this share of a side of the picture."""
    flicker_overlap: Annotated[float, Range(0, 1)] = 0.5
    """A mask that overlaps the one before by less than this (intersection over union) may flicker."""
    flicker_growth: Annotated[float, Range(1, 100)] = 1.8
    """It does flicker if its area also grew or shrank by more than this factor."""
    hollow: Annotated[float, Range(0, 1)] = 0.15
    """A mask is hollow if its holes make up more than this share of it."""
    second: Annotated[float, Range(0, 1)] = 0.1
    """A piece apart from the object may be a second one if it has more than this share of the first one's area."""
    shadow: Annotated[float, Range(0, 1)] = 0.08
    """A part of the mask that looks like a shadow is told if it makes up more than this share."""
    shadow_most: Annotated[float, Range(0, 1)] = 0.5
    """If it makes up more than this share, it is an object of the background's hue."""
    share: Annotated[float, Range(0, 1)] = 0.3
    """Those three are told if they hold in more than this share of the frames that show the object."""


@dataclass(frozen=True)
class ClickSettings:
    """What a click on the mask claims (matting.points)."""

    reach: Annotated[float, Range(0.01, 10)] = 0.5
    """How far a click reaches through its own colour, as a share of the picture's longer side."""
    size: Annotated[float, Range(0.001, 0.2)] = 0.012
    """Radius of the spot that a click decides for certain, as a share of the picture's longer side."""
    claim: Annotated[float, Range(0.1, 100)] = 4.0
    """How much a click's claim counts at the click, against 1 for what the mask said before."""
    tolerance: Annotated[float, Range(0.1, 255)] = 14.0
    """Colours that differ by less than this from the click's are its own, in levels."""
    foreign: Annotated[float, Range(0, 10000)] = 60.0
    """A step through a colour twice as different costs so many times one through the click's own."""
    contour: Annotated[float, Range(0, 100)] = 1.0
    """Price of a pixel of contour, against 1 for a pixel labelled against its evidence."""
    contour_contrast: Annotated[float, Range(0.1, 255)] = 12.0
    """A colour step that makes a contour cheap, in levels."""
    window: Annotated[int, Range(5, 101)] = 21
    """Side of the window in which a click is followed from frame to frame, in pixels."""
    astray: Annotated[float, Range(0.1, 100)] = 1.5
    """A click is lost where following it there and back misses by more than this, in pixels."""


@dataclass(frozen=True)
class MattingSettings:
    """How the moving object is cut out of the frames."""

    method: Annotated[str, PlugName("matting")] = "auto"
    """alpha, flat, motion, rembg, or auto: the file's own alpha if it has one, else what the background suggests."""
    soft_edge_px: Annotated[float, Range(0, 50)] = 1.0
    """Width of the soft edge of the mask, in pixels of the processed frame."""
    min_area: Annotated[float, Range(0, 0.5)] = 0.001
    """A frame whose foreground covers less than this share of the picture counts as empty."""
    points: str = ""
    """Clicks that mend the mask: "frame x y +" for what belongs to the object, "-" for what does not, separated by
    semicolons; x and y as shares of the picture."""
    clicks: ClickSettings = field(default_factory=ClickSettings)
    flat: FlatSettings = field(default_factory=FlatSettings)
    motion: MotionSettings = field(default_factory=MotionSettings)
    cleanup: MaskCleanupSettings = field(default_factory=MaskCleanupSettings)
    warnings: WarningSettings = field(default_factory=WarningSettings)


@dataclass(frozen=True)
class AnchorSettings:
    """Which keyframe shows the object best."""

    area_weight: Annotated[float, Range(0, 1)] = 0.5
    """Share of the score that a keyframe has by showing the object as large as the one that shows it largest."""
    limbs_weight: Annotated[float, Range(0, 1)] = 0.3
    """Share of the score that it would have if the outline's hull were free of the object: limbs are apart."""
    likeness: Annotated[float, Range(1, 100)] = 1.5
    """The score falls with the mean change to the other keyframes, and would be 0 at this."""


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
