"""How the background is learnt, and how the camera moves before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from v2m4.settings.schema import Factor, Range, Share


@dataclass(frozen=True)
class PriorSettings:
    """What labels of the background cost before any colour is known, in pixels of contour."""

    rare_share: Share = 0.04
    """A colour that a pixel shows in less than this share of the frames is rare."""
    rare_frames: Annotated[float, Range(0, 1000)] = 2.0
    """So is one that it shows in fewer frames than this."""
    rare: Factor = 4.0
    """Cost of a rare colour."""
    unsteady: Factor = 0.02
    """Cost of a colour that is hardly ever shown, against 0 for one that always is."""
    covered: Factor = 0.15
    """Cost of never seeing the background where something changes, at most, and where nothing does, at least."""
    covered_slope: Factor = 5.0
    """What that grows by per diagonal of all changes away from them..."""
    covered_most: Factor = 3.0
    """... and at most."""
    rim: Factor = 5.0
    """Cost of never seeing the background at the picture's rim."""
    enclosed: Factor = 0.4
    """Cost of taking what rests amid changes for background."""


@dataclass(frozen=True)
class ColorModelSettings:
    """The colour models of object and background (as in GrabCut, Rother et al. 2004)."""

    cells: Annotated[int, Range(2, 64)] = 16
    """Cells along each of red, green and blue."""
    blur: Annotated[float, Range(0.01, 10)] = 0.7
    """Standard deviation of the blur of the counts, in cells."""
    floor: Annotated[float, Range(1e-9, 1)] = 2e-4
    """Share that every cell is taken to have at least."""
    nearness: Factor = 5.0
    """Background counts e times less for every such part of the diagonal of all changes away from them."""
    gain: Factor = 2.0
    """Evidence per unit of log-likelihood ratio beyond the doubtful."""
    most: Factor = 1.5
    """A colour speaks no more than this for either."""
    still: Factor = 0.3
    """What colours count where nothing moves, in pixels of contour."""
    moving: Factor = 0.2
    """What they count where something does."""
    outside: Factor = 0.05
    """What never seeing the background is cheaper by outside of all changes, once colours are known."""


@dataclass(frozen=True)
class BackgroundSettings:
    """What a still background looks like, learnt from a clip in which the object may never leave its place."""

    size: Annotated[int, Range(32, 1024)] = 224
    """Longer side of the shrunken frames on which the background is told from the object, in pixels."""
    still: Annotated[float, Range(0.5, 1)] = 0.93
    """A pixel is still if it shows one colour in so large a share of the frames."""
    candidates: Annotated[int, Range(4, 100)] = 8
    """Colours of a pixel that are kept in mind, of which the three most frequent count."""
    least_views: Annotated[int, Range(1, 1000)] = 3
    """Frames that must show a place, where the camera moves, before it says anything."""
    contrast: Factor = 0.75
    """A colour step that makes a contour cheap, as a share of the difference within which colours are one..."""
    least_contrast: Annotated[float, Range(0.1, 255)] = 14.0
    """... and at least, in levels."""
    edge_price: Share = 0.3
    """Price of a contour across the strongest edge, as a share of that in a flat area."""
    speck: Share = 8e-4
    """Pieces of what moves that are smaller than this share of the picture do not count."""
    rounds: Annotated[int, Range(1, 1000)] = 12
    """Rounds of belief propagation per labelling."""
    color_rounds: Annotated[int, Range(1, 100)] = 3
    """Labellings with colour models, each of which refines the models of the next."""
    doubt: Annotated[float, Range(0, 10)] = 0.7
    """A colour's log-likelihood ratio below which it speaks for nothing."""
    cautious_colors: Annotated[float, Range(0, 10)] = 0.6
    """How much colours count, against 1, where only what moves is looked for."""
    cautious_left_behind: Factor = 6.0
    """There, what taking a pixel for the object's costs per diagonal by which its distance from the object varies."""
    cautious_free: Annotated[float, Range(0, 10)] = 0.12
    """There, the part of a diagonal by which it may vary for nothing."""
    bold_left_behind: Factor = 4.0
    """The cost where what rests is looked for too."""
    bold_free: Annotated[float, Range(0, 10)] = 0.2
    """The part that is free where what rests is looked for too."""
    trimmed_percent: Annotated[float, Range(0, 49)] = 3.0
    """Percent of the object's pixels at each end that do not count for its diagonal."""
    varying_percent: Annotated[float, Range(0, 49)] = 10.0
    """Percent of the frames at each end that do not count for how a distance varies."""
    varying_frames: Annotated[int, Range(1, 1000)] = 16
    """Frames by which that is judged: as many, or up to twice."""
    resting_share: Annotated[float, Range(0, 10)] = 0.3
    """A part that never moves is kept if it is so large beside the median of what moves."""
    resting_drift: Annotated[float, Range(0, 10)] = 0.2
    """An object whose middle moves by less than this, in square roots of its area, keeps all parts that never move."""
    resting_touch: Annotated[float, Range(0, 1)] = 0.9
    """A part that never moves is kept if what moves touches it in so large a share of the frames."""
    touching: Annotated[int, Range(1, 101)] = 5
    """Side of the square within which two (shrunken) pixels touch, in such pixels."""
    gap: Annotated[int, Range(0, 50)] = 3
    """Gaps between parts of the object of up to twice so many (shrunken) pixels are bridged."""
    unseen: Share = 0.4
    """What the coarse mask says where the camera never looked, where 1 is object: a little for background."""
    visible_below: Share = 0.25
    """A frame shows the background where the coarse mask is below this."""
    prior: PriorSettings = field(default_factory=PriorSettings)
    colors: ColorModelSettings = field(default_factory=ColorModelSettings)


@dataclass(frozen=True)
class CameraMotionSettings:
    """How the camera's own motion is found from the background's."""

    corners: Annotated[int, Range(20, 10000)] = 800
    """At most so many corners of a frame are followed."""
    corner_spacing: Annotated[float, Range(4, 200)] = 28.0
    """Corners keep a distance of one part in so many of the longer side, so that they spread over the picture."""
    corner_quality: Annotated[float, Range(1e-6, 0.5)] = 2e-4
    """How strong a corner must be, as a share of the strongest."""
    corner_block: Annotated[int, Range(3, 99)] = 9
    """Side of the square by which a corner's strength is judged, in pixels."""
    window: Annotated[int, Range(5, 101)] = 21
    """Side of the square that is compared around a corner, in pixels."""
    cells: Annotated[int, Range(1, 1000)] = 10
    """What a motion explains is counted in cells, so many along each side of the picture."""
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
    feature_factor: Factor = 3.0
    """Matched features follow it within so many times that."""
    step_factor: Factor = 4.0
    """Its first guess, a similarity, may miss by so many times that..."""
    agree_factor: Factor = 3.0
    """... and the motion that is found from it by so many times."""
    fit_rounds: Annotated[int, Range(1, 1000)] = 12
    """Rounds of reweighting in which it is found."""
    accuracy: Annotated[float, Range(0.001, 10)] = 0.25
    """Accuracy of a followed corner, as a share of inlier_px."""
    tilt: Annotated[float, Range(1e-6, 10)] = 0.01
    """How far a motion may tilt the picture other than a turn of the camera does (deviation, in its sides)."""
    stretch: Annotated[float, Range(1e-6, 10)] = 0.003
    """How far it may stretch a square (deviation)."""
    most_growth: Annotated[float, Range(1, 100)] = 3.0
    """A motion is none of a camera if it makes the picture's area larger or smaller by more than this factor."""
    focal: Annotated[float, Range(0.2, 20)] = 1.1
    """Focal length, in longer sides of the picture, that tells how turning bends it where it has little texture."""
    least_agreement: Annotated[float, Range(0, 1)] = 0.4
    """A motion is the camera's only if this share of the textured picture follows it."""
    still_px: Annotated[float, Range(0, 10)] = 0.5
    """What moves by less than so many pixels rests."""
    still_share: Annotated[float, Range(0, 10)] = 0.8
    """The camera stands still if what rests covers this share of what follows any other motion."""
    still_alone: Share = 0.5
    """Where nothing follows another motion, the camera stands still if what rests covers this share of the corners."""
    still_frames: Annotated[float, Range(0, 1)] = 0.9
    """It does so throughout if it does in this share of the frames."""
    least_placed: Annotated[float, Range(0, 1)] = 0.75
    """A clip is refused if less than this share of the frames can be placed."""
    most_canvas: Annotated[float, Range(1, 20)] = 3.0
    """A clip is refused if the camera sees more than so many times the area of one picture."""
    misplacement_px: Annotated[float, Range(0, 5)] = 0.25
    """How far off a frame may be placed, in pixels: edges of the background may differ by so much of their slope."""
