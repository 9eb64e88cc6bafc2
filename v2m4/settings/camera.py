"""Section 4.1 and algorithm 1: which camera shows the mesh as the frame does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from v2m4.settings.schema import Factor, Range, Share


@dataclass(frozen=True)
class ScoreSettings:
    """How a rendering is compared with the frame."""

    size: Annotated[int, Range(16, 1024)] = 224
    """Side of the renderings that are scored, in pixels."""
    image_weight: Annotated[float, Range(0, 1000)] = 1.0
    """Weight of the image distance (DreamSim or structure)."""
    mask_weight: Annotated[float, Range(0, 1000)] = 0.1
    """Weight of the mask difference."""
    overlap_size: Annotated[int, Range(16, 2048)] = 256
    """Side of the renderings whose overlap with the frame's mask is measured, in pixels."""
    fewest_pixels: Annotated[int, Range(1, 1000000)] = 16
    """A frame whose mask has fewer pixels shows no object to search a camera for."""


@dataclass(frozen=True)
class StructureSettings:
    """The image distance that needs no weights (the perceptual plug "structure")."""

    presence_weight: Factor = 0.4
    """Weight of where the object is."""
    structure_weight: Factor = 0.35
    """Weight of how its parts are laid out (the structure term of SSIM, Wang et al. 2004)."""
    color_weight: Factor = 0.25
    """Weight of the colours."""
    window: Annotated[int, Range(1, 99)] = 7
    """Side of the neighbourhoods whose structure is compared, in pixels."""
    finest: Annotated[int, Range(8, 4096)] = 112
    """Wider pictures are shrunk to this many pixels: finer detail hardly helps to find a pose."""
    coarsest: Annotated[int, Range(4, 4096)] = 14
    """They are halved as long as they keep so many pixels a side; all sizes are compared."""
    plain: Annotated[float, Range(1e-6, 1)] = 4e-3
    """Variance of brightness, of 1, below which a neighbourhood counts as plain."""
    presence: Factor = 40.0
    """Brightness, of 1, makes an object of a pixel of the frame: e times less background for every such part of it."""
    dark: Annotated[float, Range(1e-6, 1)] = 0.08
    """Brightness, of 1, at which a colour counts half: it is too dark to tell."""
    missing: Share = 0.5
    """Difference of colours where only one picture shows the object."""


@dataclass(frozen=True)
class AlignmentLevelSettings:
    """One pass of direct alignment."""

    keep: Annotated[int, Range(1, 10000)] | None = None
    """Most poses that enter it; none: all that are left."""
    size: Annotated[int, Range(16, 2048)] = 64
    """Side of the pictures that are compared, in pixels."""
    blur_px: Annotated[float, Range(0, 100)] = 2.5
    """Standard deviation of the blur of both pictures, in pixels."""
    iterations: Annotated[int, Range(0, 1000)] = 5
    """Gauss-Newton steps of every pose."""


@dataclass(frozen=True)
class RigidAlignmentSettings:
    """Direct alignment of poses to the frame, coarse to fine, fewer and fewer of them."""

    color_weight: Annotated[float, Range(0, 1000)] = 0.6
    """Weight of a squared colour difference, against 1 for the mask's."""
    huber: Annotated[float, Range(0.001, 1000)] = 0.35
    """Differences beyond this count linearly: highlights, cast shadows, parts that the mesh does not have."""
    gain_least: Annotated[float, Range(0.01, 1)] = 0.5
    """The rendering's colours are first dimmed to the frame's, at most by this factor."""
    gain_most: Annotated[float, Range(1, 100)] = 2.0
    """Or brightened, at most by this factor."""
    inside_least: Annotated[float, Range(0, 1)] = 0.02
    """Blurred mask from which a pixel has the nearest surface's depth; further out it has the object's mean depth."""
    damping: Annotated[float, Range(0, 1000)] = 0.01
    """Damping of the first step, as a share of the normal equations' diagonal."""
    damping_better: Annotated[float, Range(0.001, 1)] = 0.3
    """Factor to the damping after a step that lowered the energy."""
    damping_worse: Annotated[float, Range(1, 1000)] = 10.0
    """Factor to the damping after a step that did not."""
    longest_turn: Annotated[float, Range(0.001, 3.15)] = 0.35
    """No step turns the object further than this, in radians."""
    longest_shift: Annotated[float, Range(0.001, 10)] = 0.25
    """No step shifts it further than this, in its distances."""
    least_size: Annotated[int, Range(16, 2048)] = 64
    """A frame is not compared at more pixels than it has across the object, but at so many at least."""
    low_poly_below: Annotated[int, Range(0, 4096)] = 100
    """Pictures whose side is below this many pixels show a simplified mesh."""
    apart_deg: Annotated[float, Range(0, 180)] = 1.0
    """Of aligned poses closer than this rotation only the better one is kept."""
    first: AlignmentLevelSettings = field(default_factory=AlignmentLevelSettings)
    second: AlignmentLevelSettings = field(default_factory=lambda: AlignmentLevelSettings(16, 64, 1.2, 5))
    third: AlignmentLevelSettings = field(default_factory=lambda: AlignmentLevelSettings(5, 128, 1.2, 4))
    last: AlignmentLevelSettings = field(default_factory=lambda: AlignmentLevelSettings(2, 224, 1.0, 3))


@dataclass(frozen=True)
class OcclusionGuessSettings:
    """One guess of what the frame's border hides of the object."""

    scale: Annotated[float, Range(1, 10)] = 1.0
    """How many times larger than what is seen of it the whole is."""
    shift: Annotated[float, Range(0, 5)] = 0.08
    """How far beyond its centroid lies, in sides of the crop."""


@dataclass(frozen=True)
class OcclusionSettings:
    """Guesses of what the frame's border hides, from hardly to half cut; direct alignment closes the gaps between."""

    first: OcclusionGuessSettings = field(default_factory=OcclusionGuessSettings)
    second: OcclusionGuessSettings = field(default_factory=lambda: OcclusionGuessSettings(1.12, 0.08))
    third: OcclusionGuessSettings = field(default_factory=lambda: OcclusionGuessSettings(1.12, 0.16))
    fourth: OcclusionGuessSettings = field(default_factory=lambda: OcclusionGuessSettings(1.3, 0.14))
    fifth: OcclusionGuessSettings = field(default_factory=lambda: OcclusionGuessSettings(1.3, 0.24))
    sixth: OcclusionGuessSettings = field(default_factory=lambda: OcclusionGuessSettings(1.5, 0.2))
    last: OcclusionGuessSettings = field(default_factory=lambda: OcclusionGuessSettings(1.5, 0.32))

    @property
    def guesses(self) -> tuple[OcclusionGuessSettings, ...]:
        """All of them."""
        return self.first, self.second, self.third, self.fourth, self.fifth, self.sixth, self.last


@dataclass(frozen=True)
class LowPolySettings:
    """The simplified mesh of renderings that are too small to show more."""

    vertex_colors_from: Annotated[int, Range(0, 100000000)] = 1500
    """Faces from which a texture is averaged to vertex colours; a mesh of few, large faces keeps its texture."""
    faces: Annotated[int, Range(4, 100000000)] = 6000
    """Faces that are left of a mesh with more than twice as many."""
    aggressiveness: Annotated[float, Range(1, 10)] = 7.0
    """How soon costly edge collapses are tried; lower is slower and better."""


@dataclass(frozen=True)
class RigidSearchSettings:
    """The search over viewing directions; translation and distance follow from the mask."""

    directions: Annotated[int, Range(12, 20000)] = 600
    """Viewing directions that are tried, spread evenly over the sphere."""
    candidates: Annotated[int, Range(1, 1000)] = 32
    """Best directions that are aligned to the frame."""
    roll_limit_deg: Annotated[float, Range(0, 180)] = 30.0
    """How far the camera may be tilted sideways; 180 allows any. algorithm1 knows upright cameras only."""
    stereo_below: Annotated[float, Range(0, 1)] = 0.9
    """The stereo step is taken only where the mask overlap without it stays below this."""
    coarse_size: Annotated[int, Range(16, 512)] = 64
    """Side of the renderings of all directions, in pixels."""
    angles: Annotated[int, Range(4, 720)] = 72
    """Turns about the optical axis at which every direction is scored."""
    radii: Annotated[int, Range(2, 256)] = 16
    """Rings about the object's centroid on which a direction is compared with the frame."""
    apart_deg: Annotated[float, Range(0, 180)] = 9.0
    """Candidates differ by at least this rotation."""
    margin: Annotated[float, Range(0.05, 0.5)] = 0.43
    """Distance from the object's centroid to its farthest pixel, as a share of the side of the crop around it."""
    rings_beyond: Annotated[float, Range(0, 1)] = 0.05
    """How far beyond that distance the rings reach."""
    shrink_least: Annotated[float, Range(0.01, 1)] = 0.3
    """The distance that the mask's area gives is at least so many times the one that was rendered from."""
    shrink_most: Annotated[float, Range(1, 100)] = 3.0
    """And at most so many times."""
    color_weight: Annotated[float, Range(0, 1000)] = 0.5
    """Weight of the colours' correlation on the rings, against 1 for the masks' overlap."""
    plain: Annotated[float, Range(0, 1)] = 0.002
    """Energy that is added to the colours' variation, per area: an object of one colour has none to compare."""
    cut_share: Annotated[float, Range(0, 1)] = 0.01
    """Share of a side of the frame from which the object on it counts as cut off there."""
    cut_room: Annotated[float, Range(1, 10)] = 1.3
    """How many times larger the crop around an object that is cut off is made, for what the frame does not show."""
    occlusion: OcclusionSettings = field(default_factory=OcclusionSettings)
    low_poly: LowPolySettings = field(default_factory=LowPolySettings)
    alignment: RigidAlignmentSettings = field(default_factory=RigidAlignmentSettings)


@dataclass(frozen=True)
class SwarmSettings:
    """The particle swarm over the six numbers (Kennedy and Eberhart 1995)."""

    enabled: bool = True
    """Whether the swarm is run at all."""
    size: Annotated[int, Range(2, 10000)] = 200
    """Particles: the best samples, and the stereo step's camera."""
    iterations: Annotated[int, Range(1, 10000)] = 25
    """Moves of the whole swarm."""
    inertia: Annotated[float, Range(0, 1)] = 0.5
    """Share of a particle's velocity that it keeps."""
    memory: bool = True
    """True: the textbook swarm, which keeps its velocities; False: drawn anew each iteration, as the release does."""


@dataclass(frozen=True)
class DescentSettings:
    """Gradient descent on the six numbers, by the mask alone."""

    enabled: bool = True
    """Whether the descent is run at all."""
    iterations: Annotated[int, Range(1, 100000)] = 300
    """Steps of Adam."""
    lr: Annotated[float, Range(1e-8, 10)] = 0.01
    """Adam's step."""
    size: Annotated[int, Range(16, 2048)] = 256
    """Side of the renderings during descent, in pixels."""


@dataclass(frozen=True)
class Algorithm1Settings:
    """The paper's search over yaw, pitch, radius and look-at point."""

    samples: Annotated[int, Range(1, 1000000)] = 2000
    """Random cameras that are scored first."""
    radius_min: Annotated[float, Range(0.01, 100)] = 1.0
    """Least distance of the camera that is drawn, in units of the mesh."""
    radius_max: Annotated[float, Range(0.01, 100)] = 5.0
    """Greatest distance of the camera that is drawn."""
    lookat_range: Annotated[float, Range(0, 100)] = 1.0
    """Look-at coordinates are drawn from [-range, range]."""
    swarm: SwarmSettings = field(default_factory=SwarmSettings)
    descent: DescentSettings = field(default_factory=DescentSettings)


@dataclass(frozen=True)
class FeatureSettings:
    """Matches between a rendering and the frame by keypoints and flow (the stereo plug "features")."""

    keypoints: Annotated[int, Range(1, 100000)] = 1500
    """SIFT keypoints in each picture, at most."""
    contrast: Annotated[float, Range(0, 1)] = 0.01
    """Contrast from which a keypoint counts."""
    ratio: Annotated[float, Range(0, 1)] = 0.85
    """A keypoint's nearest descriptor must be closer than this share of the second nearest's distance (Lowe 2004)."""
    black: Annotated[int, Range(0, 255)] = 4
    """Brightest channel, of 255, up to which a pixel of the frame is its black background."""
    mask_growth: Annotated[int, Range(1, 101)] = 5
    """Side of the square by which the mask is grown before keypoints are sought in it, in pixels."""
    dense_step: Annotated[int, Range(1, 1000)] = 4
    """Pixels between matches by flow."""
    round_trip_px: Annotated[float, Range(0.01, 1000)] = 1.5
    """Flow there and back must end this near to its start, in pixels."""
    overlap: Annotated[float, Range(0, 1)] = 0.5
    """Renderings whose mask, laid over the frame's, overlaps it less than this are not followed by flow."""


@dataclass(frozen=True)
class Dust3rSettings:
    """DUSt3R's global alignment of all pairs in one world (Wang et al. 2024, section 3.4); the authors' values."""

    iterations: Annotated[int, Range(0, 100000)] = 300
    """Steps of Adam."""
    lr: Annotated[float, Range(1e-8, 10)] = 0.01
    """Adam's rate at the start; it falls to lr_end along half a cosine."""
    lr_end: Annotated[float, Range(0, 10)] = 1e-6
    """Adam's rate at the end."""
    beta1: Annotated[float, Range(0, 0.9999)] = 0.9
    """Adam's memory of the gradient, as a share kept per step."""
    beta2: Annotated[float, Range(0, 0.99999)] = 0.9
    """Adam's memory of the squared gradient, as a share kept per step."""
    pair_scale: Annotated[float, Range(1e-3, 1000)] = 0.5
    """Geometric mean of the pairs' scales, which fixes the size of the world."""
    focal_unit: Annotated[float, Range(1e-3, 1e6)] = 20.0
    """Focal lengths are descended on as so many times their logarithm: the larger, the slower they move."""
    focal_rounds: Annotated[int, Range(1, 1000)] = 10
    """Rounds of reweighting in which a point map's focal length is estimated."""
    confident: Annotated[float, Range(0, 1000)] = 3.0
    """Confidence above which pixels locate a camera that the tree of pairs does not give, by PnP."""
    pnp_draws: Annotated[int, Range(1, 1000000)] = 10
    """Cameras of randomly drawn pixels that this PnP tries."""
    pnp_error_px: Annotated[float, Range(0.01, 1000)] = 5.0
    """How far off, in pixels of the network's picture, it may see a right point."""
    pnp_points: Annotated[int, Range(4, 100000000)] = 20000
    """Of more pixels it takes every so-manieth."""
    focals: Annotated[int, Range(1, 10000)] = 21
    """Focal lengths that it tries where none is known, spread evenly in their logarithm."""
    focal_least: Annotated[float, Range(0.01, 100)] = 0.5
    """The shortest of them, in sides of the picture."""
    focal_most: Annotated[float, Range(0.01, 100)] = 3.0
    """The longest of them."""


@dataclass(frozen=True)
class StereoStepSettings:
    """The step through dense stereo: point maps of the frame and of renderings, fitted to each other."""

    enabled: bool = True
    """Whether the stereo step may be taken."""
    top_views: Annotated[int, Range(1, 100)] = 7
    """Best views that go to the stereo model beside the reference."""
    size: Annotated[int, Range(64, 1024)] = 512
    """Side of the pictures that go to the stereo model, in pixels."""
    fit: Literal["chamfer", "matched"] = "matched"
    """chamfer: similarity by gradient descent, as the paper does; matched: closed form with RANSAC, then PnP."""
    keep: Annotated[float, Range(1e-6, 1)] = 0.05
    """Share of the points kept for the chamfer fit."""
    points: Annotated[int, Range(10, 10000000)] = 4000
    """At most so many points are kept for either fit."""
    least_points: Annotated[int, Range(1, 10000000)] = 200
    """And at least so many, where there are."""
    fit_iterations: Annotated[int, Range(1, 100000)] = 2000
    """chamfer: steps of the similarity's descent."""
    pose_iterations: Annotated[int, Range(1, 100000)] = 500
    """chamfer: steps of the camera's descent on image coordinates."""
    lr: Annotated[float, Range(1e-8, 10)] = 0.01
    """chamfer: Adam's step in both descents."""
    box_share: Annotated[float, Range(0.01, 1)] = 0.95
    """chamfer: share of the points, the middle ones along each axis, whose box tells where the descent starts."""
    box_points: Annotated[int, Range(10, 10000000)] = 20000
    """chamfer: points that this box is taken from, at most."""
    extent_share: Annotated[float, Range(0.01, 1)] = 0.9
    """matched: share of the points within the distance from their median that counts as their extent."""
    fit_tolerance: Annotated[float, Range(1e-5, 10)] = 0.1
    """matched: distance, in extents, within which a match counts as right at first, and at most."""
    fit_deviations: Annotated[float, Range(0.1, 100)] = 2.5
    """matched: the same then, in robust standard deviations of the first fit's errors."""
    fit_draws: Annotated[int, Range(1, 1000000)] = 256
    """matched: similarities of randomly drawn matches that are tried."""
    fit_sample: Annotated[int, Range(3, 1000)] = 4
    """matched: matches that are drawn for each."""
    pnp_draws: Annotated[int, Range(1, 1000000)] = 400
    """matched and features: cameras of randomly drawn matches that PnP tries, at most."""
    pnp_confidence: Annotated[float, Range(0.01, 1)] = 0.9999
    """matched and features: PnP stops earlier once it is this sure to have drawn right matches alone."""
    leave_out: Annotated[float, Range(0, 0.99)] = 0.1
    """Share of each picture's points, those the model is least sure of, that is left out."""
    fewest: Annotated[int, Range(6, 10000)] = 50
    """Points, of the frame and of the renderings, without which no fit is tried."""
    map_tolerance: Annotated[float, Range(1e-5, 1)] = 0.02
    """matched: how far off PnP may see a right point of a point map, as a share of the picture's side."""
    match_tolerance: Annotated[float, Range(1e-5, 1)] = 0.012
    """The same for the matches of a plug that finds them itself (features)."""
    dust3r_precision: Literal["auto", "tf32"] = "auto"
    """tf32: the precision of the published numbers; auto: what suits the GPU."""
    dust3r: Dust3rSettings = field(default_factory=Dust3rSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)


@dataclass(frozen=True)
class CameraSettings:
    """Section 4.1 and algorithm 1: which camera shows the mesh as the frame does."""

    method: Literal["algorithm1", "rigid"] = "rigid"
    """algorithm1: the paper's search over six numbers; rigid: viewing direction, the rest follows from the mask."""
    warm_start: bool = True
    """Search near the previous keyframe's camera first, and everywhere only if that scores badly."""
    warm_overlap: Annotated[float, Range(0, 1)] = 0.9
    """A warm-started camera whose mask overlap is below this is searched for globally again."""
    score: ScoreSettings = field(default_factory=ScoreSettings)
    structure: StructureSettings = field(default_factory=StructureSettings)
    rigid: RigidSearchSettings = field(default_factory=RigidSearchSettings)
    algorithm1: Algorithm1Settings = field(default_factory=Algorithm1Settings)
    stereo: StereoStepSettings = field(default_factory=StereoStepSettings)
