"""Section 4.1 and algorithm 1: which camera shows the mesh as the frame does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from v2m4.settings.schema import Range


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
    first: AlignmentLevelSettings = field(default_factory=AlignmentLevelSettings)
    second: AlignmentLevelSettings = field(default_factory=lambda: AlignmentLevelSettings(16, 64, 1.2, 5))
    third: AlignmentLevelSettings = field(default_factory=lambda: AlignmentLevelSettings(5, 128, 1.2, 4))
    last: AlignmentLevelSettings = field(default_factory=lambda: AlignmentLevelSettings(2, 224, 1.0, 3))


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
    fit_iterations: Annotated[int, Range(1, 100000)] = 2000
    """chamfer: steps of the similarity's descent."""
    pose_iterations: Annotated[int, Range(1, 100000)] = 500
    """chamfer: steps of the camera's descent on image coordinates."""
    lr: Annotated[float, Range(1e-8, 10)] = 0.01
    """chamfer: Adam's step in both descents."""
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
    rigid: RigidSearchSettings = field(default_factory=RigidSearchSettings)
    algorithm1: Algorithm1Settings = field(default_factory=Algorithm1Settings)
    stereo: StereoStepSettings = field(default_factory=StereoStepSettings)
