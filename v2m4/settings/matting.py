"""How the moving object is cut out of the frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from v2m4.settings.background import BackgroundSettings, CameraMotionSettings
from v2m4.settings.schema import Factor, PlugName, Range, Share


@dataclass(frozen=True)
class EvidenceSettings:
    """What a difference from the background says about a pixel (flat and motion)."""

    blur_px: Annotated[float, Range(0.1, 20)] = 0.7
    """Standard deviation of the blur of that difference, in pixels."""
    most_for_object: Annotated[float, Range(0.1, 100)] = 3.0
    """However different, a pixel speaks no more than this for the object, where 1 is certainly background."""


@dataclass(frozen=True)
class GraphCutSettings:
    """The solver of a mask from evidence and contour (Chambolle and Pock 2011)."""

    iterations: Annotated[int, Range(1, 100000)] = 80
    """Iterations at the coarsest size."""
    refinement: Share = 1 / 3
    """Share of these that each finer size takes, which starts from the coarser one's answer."""
    least_iterations: Annotated[int, Range(1, 100000)] = 20
    """But at least so many."""
    halved_from: Annotated[int, Range(4, 100000)] = 96
    """Pictures whose shorter side has so many pixels are solved at half the size first."""
    edge_price: Share = 0.1
    """Price of a contour across the strongest edge of the picture, as a share of that in a flat area."""


@dataclass(frozen=True)
class SoftEdgeSettings:
    """How the mixture of object and background at the outline is undone."""

    noise: Annotated[float, Range(0, 100)] = 3.0
    """The video's noise is taken to be at least this (standard deviation, in levels) where it was not measured before
    a plain background."""
    noise_factor: Factor = 8.0
    """Object and background must differ by so many times the noise for a pixel's mixture to be half believed."""
    front_blur: Annotated[float, Range(0.1, 20)] = 1.5
    """Width over which the object's colour is continued to the outline, in widths of the soft band."""
    back_blur: Annotated[float, Range(0.1, 20)] = 2.0
    """Width over which the background's colour is continued to the outline, in widths of the soft band."""
    thin_weight: Share = 0.02
    """Weight of pixels of the band, against the object's core, for the object's colour: thin parts have no core."""
    faintest: Share = 0.02
    """What is less opaque than this is made empty."""
    unmixed_from: Share = 0.4
    """Opacity from which a pixel's own colour is unmixed; what is fainter takes the colour inside."""
    divisor: Annotated[float, Range(0.01, 1)] = 0.2
    """Least opacity by which a colour is divided when it is unmixed."""


@dataclass(frozen=True)
class FlatSettings:
    """An object before a plain background (flat)."""

    samples: Annotated[int, Range(1, 1000)] = 12
    """Frames on which the background's noise is measured."""
    auto_samples: Annotated[int, Range(1, 1000)] = 5
    """Frames by which auto judges whether the background is plain."""
    model_size: Annotated[int, Range(16, 512)] = 96
    """Side of the shrunken picture to which the background's colour surface is fitted, in pixels."""
    rim: Annotated[float, Range(0.005, 0.3)] = 0.04
    """Width of the picture's rim, which is taken for background at first, as a share of the shorter side."""
    rim_tolerance: Annotated[float, Range(1, 100)] = 10.0
    """A pixel of the rim is plain background if it differs from the surface by less than this, in levels of 255."""
    rim_rounds: Annotated[int, Range(1, 1000)] = 12
    """Rounds of reweighting in which the surface is first fitted to the rim."""
    fit_rounds: Annotated[int, Range(0, 100)] = 3
    """Rounds in which it is then fitted to all that fits it and is connected to the rim."""
    fit_deviations: Factor = 4.0
    """A pixel fits the surface if it differs by less than so many deviations of the rim's noise..."""
    fit_slack: Annotated[float, Range(0, 100)] = 2.0
    """... and this, in levels."""
    fit_least: Annotated[float, Range(0, 100)] = 4.0
    """Or by less than this, in levels, however little noise there is; rim_tolerance is the most."""
    fit_share: Share = 0.05
    """The fit ends where less than this share of the picture fits."""
    least_noise: Annotated[float, Range(0, 100)] = 0.3
    """The noise is taken to be at least this (standard deviation, in levels)."""
    noise_deviations: Factor = 4.0
    """Pixels of the rim within so many deviations, or rim_tolerance if that is more, tell the noise."""
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
    shadow_reach: Annotated[int, Range(1, 101)] = 9
    """Side of the square around a pixel whose darkest place tells the shadow's depth, in pixels."""
    shadow_leak: Annotated[int, Range(1, 101)] = 5
    """Gaps in an outline that are narrower than this, in pixels, let no shadow in."""
    even_shadow: Annotated[float, Range(0, 1)] = 0.05
    """What is darkened by shares that differ by less than this from their median may be one shadow with a hard edge."""
    contour: Annotated[float, Range(0, 100)] = 1.5
    """Price of a pixel of contour, against 1 for a pixel labelled against its evidence."""
    contour_contrast: Annotated[float, Range(0.1, 255)] = 10.0
    """A colour step that makes a contour cheap, in levels."""
    contour_deviations: Factor = 4.0
    """Or so many deviations of the noise, if those are more."""


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
    """Colours that differ by more than this are two, in levels."""
    tolerance_deviations: Factor = 6.0
    """In between, so many deviations of the noise decide."""
    tolerance: Annotated[float, Range(0, 255)] = 8.0
    """A difference from the background that speaks neither for it nor for the object, in levels, without noise."""
    deviation_tolerance: Annotated[float, Range(0, 100)] = 3.0
    """What the pixel's own noise adds to that difference, in its standard deviations over time."""
    noise_tolerance: Annotated[float, Range(0, 100)] = 2.0
    """What the whole video's noise adds to that difference, in its standard deviations."""
    coarse_evidence: Annotated[float, Range(0, 100)] = 0.6
    """How much the coarse mask of the labelled colours counts beside that, where 1 is certain."""
    unknown_evidence: Annotated[float, Range(0, 100)] = 1.5
    """How much it counts where the background was never seen."""
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
    speckle_px: Annotated[int, Range(0, 10000)] = 6
    """Holes of up to so many pixels are filled in any case."""
    gap_likeness: Share = 0.9
    """A hole shows background all over if it looks like it in this share: a gap between limbs."""
    hole_likeness: Share = 0.5
    """Larger holes are filled if they look like background in less than this share."""


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
    certain: Factor = 4.0
    """How many times as much it counts on that spot."""
    outline_blur_px: Annotated[float, Range(0.1, 100)] = 1.5
    """Width, in pixels, over which the mask before is undecided at its outline."""
    tolerance: Annotated[float, Range(0.1, 255)] = 14.0
    """Colours that differ by less than this from the click's are its own, in levels."""
    foreign: Annotated[float, Range(0, 10000)] = 60.0
    """A step through a colour twice as different costs so many times one through the click's own."""
    most_foreign: Factor = 3.0
    """A colour is no more foreign than one that differs by one and so many times the tolerance."""
    spot_tolerance: Factor = 2.0
    """A pixel of the spot is decided if its colour differs by less than so many times the tolerance."""
    follow_tolerance: Factor = 3.0
    """A click is lost in the frame where its colour differs by more than so many times the tolerance."""
    patch: Annotated[int, Range(1, 101)] = 5
    """Side of the square whose median colour is a click's, in pixels."""
    sweeps: Annotated[int, Range(1, 1000)] = 3
    """Sweeps over the picture, down and up, that find the ways through a colour."""
    contour: Annotated[float, Range(0, 100)] = 1.0
    """Price of a pixel of contour, against 1 for a pixel labelled against its evidence."""
    contour_contrast: Annotated[float, Range(0.1, 255)] = 12.0
    """A colour step that makes a contour cheap, in levels."""
    window: Annotated[int, Range(5, 101)] = 21
    """Side of the window in which a click is followed from frame to frame, in pixels."""
    levels: Annotated[int, Range(0, 8)] = 3
    """Halvings of the picture in which it is followed: each doubles how far it may move."""
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
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    graph_cut: GraphCutSettings = field(default_factory=GraphCutSettings)
    edges: SoftEdgeSettings = field(default_factory=SoftEdgeSettings)
    clicks: ClickSettings = field(default_factory=ClickSettings)
    flat: FlatSettings = field(default_factory=FlatSettings)
    motion: MotionSettings = field(default_factory=MotionSettings)
    cleanup: MaskCleanupSettings = field(default_factory=MaskCleanupSettings)
    warnings: WarningSettings = field(default_factory=WarningSettings)
