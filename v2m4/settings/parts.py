"""Analysis by synthesis: numbers of the search for the poses of a jointed body."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from v2m4.settings.schema import Range

Weight = Annotated[float, Range(0, 1e12)]


@dataclass(frozen=True)
class ChunkSettings:
    """How a mesh is cut into chunks, slices of its limbs and trunk that turn as one."""

    chunks: Annotated[int, Range(1, 1000)] = 40
    """Chunks at most."""
    least_length: Annotated[float, Range(1e-4, 10)] = 0.05
    """No more chunks are made once none is longer than twice this, in sizes of the object."""
    longest_edge: Annotated[float, Range(1e-3, 10)] = 0.06
    """Longer edges of the mesh are halved before it is cut, in sizes of the object."""
    crossing: Annotated[float, Range(1e-3, 1)] = 0.1
    """What a way through or around a limb counts, against one of that length along it."""
    least_part: Annotated[float, Range(0, 1)] = 0.007
    """Separate parts of the mesh with less than this share of its surface go with their neighbours."""
    rounds: Annotated[int, Range(0, 100)] = 3
    """Rounds in which chunks are made anew around their middles."""
    bridges: Annotated[int, Range(1, 1000)] = 12
    """Links from each separate part of the mesh to the nearest vertices of other parts."""
    loops: Annotated[float, Range(0, 1)] = 0.2
    """How firm joints are that close a loop of chunks, against those of the tree."""
    joint_hold: Weight = 3e-3
    """How firmly joints stay in the middle of where chunks touch, against the first motion, which tells of the points
    that two chunks keep together: as much as relative turns of its square root, in radians."""
    influences: Annotated[int, Range(1, 32)] = 4
    """Chunks that carry each vertex."""
    softness: Annotated[float, Range(1e-3, 100)] = 0.5
    """Distance over which neighbouring chunks share the skin, in typical distances to a chunk's middle."""


@dataclass(frozen=True)
class PairedLimbSettings:
    """Limbs that hang on a body side by side, across its plane of symmetry."""

    least_reach: Annotated[float, Range(0, 1)] = 0.2
    """Length of a limb, at least, in sizes of the object."""
    alike: Annotated[float, Range(1, 100)] = 2.0
    """Limbs are alike if one is at most this many times as long and as large as the other."""
    separate: Annotated[float, Range(0, 100)] = 1.5
    """How far apart they lie across the plane, at least, in sums of what each spreads across it."""
    least_apart: Annotated[float, Range(0, 1)] = 0.03
    """How far apart their joints are across the plane, at least, in sizes of the object."""
    across: Annotated[float, Range(0, 1)] = 0.7
    """Share of the way between their joints that leads across the plane, at least."""
    most: Annotated[int, Range(0, 1000)] = 4
    """With more limbs than these, which stand out from the plane, the body is an arthropod: its legs swing about the
    vertical, and the plane tells nothing of them."""
    splayed: Annotated[float, Range(0, 1)] = 0.3
    """Sine of the angle from which the typical limb stands out."""


@dataclass(frozen=True)
class GaitSettings:
    """Gaits that repeat mirrored after half a stride, so that each pose is seen from the other side too."""

    weight: Weight = 0.5
    """Weight of that other view, against a frame's own picture; 0 leaves it out."""
    rounds: Annotated[int, Range(1, 1000)] = 8
    """Steps of all frames together that follow the first ones, at most."""
    apart: Annotated[float, Range(0, 1)] = 0.5
    """How far apart the two views are, at least: the sine of the angle between them, which is 0 from side and front."""
    least_lag: Annotated[float, Range(0.5, 1000)] = 2.0
    """Frames that half a stride takes, at least."""
    least_frames: Annotated[int, Range(1, 1000)] = 6
    """Frames that a clip has beyond half a stride, at least."""
    least_lags: Annotated[int, Range(1, 1000)] = 12
    """Lengths of half a stride that a clip allows, in steps of half a frame, at least; fewer say nothing."""
    samples: Annotated[int, Range(1, 10000)] = 24
    """Frames that are compared for each of them, at most."""
    nearly: Annotated[float, Range(1, 100)] = 1.5
    """The shortest is taken that is at most this many times as unlike as the best."""
    alike: Annotated[float, Range(0, 1)] = 0.8
    """A stride is tried if mirrored poses look at most this many times as unlike the frames as at the typical lag."""
    first_rounds: Annotated[int, Range(1, 1000)] = 3
    """Steps of all frames together with the other view, after which a stride may turn out to be none."""
    hopeful: Annotated[float, Range(0, 1000)] = 4.5
    """Poses are to look at most this many times as unlike the other view as their own, after these."""
    confirmed: Annotated[float, Range(0, 1000)] = 3.0
    """The same at last."""
    preferred: Annotated[float, Range(1, 1000)] = 2.0
    """And they are to look at most this many times as unlike their own as before."""
    anchor_hold: Weight = 3000.0
    """Weight of what the anchor's pose changes by then: nothing else tells the depth that all frames share."""
    sway: Annotated[float, Range(0, 10)] = 0.006
    """Standard deviation of the body's shifts across the plane from which they count, in sizes of the object."""


@dataclass(frozen=True)
class LooksSettings:
    """The light version of the mesh that is drawn, and its colours."""

    faces: Annotated[int, Range(50, 100000)] = 2000
    """Faces at most."""
    aggressiveness: Annotated[float, Range(1, 10)] = 5.0
    """How soon costly edges are given up to get there; lower is slower and better."""
    longest_edge: Annotated[float, Range(1e-3, 10)] = 0.06
    """Longer edges of a textured mesh are halved, in sizes of the object: each vertex has one colour."""
    light_hold: Annotated[float, Range(0, 1e6)] = 0.01
    """How strongly the light is drawn to one that changes no colour."""
    facing: Annotated[float, Range(0, 1)] = 0.35
    """Cosine between view and surface below which the frame's colours are not taken."""
    same_surface: Annotated[float, Range(0, 10)] = 0.01
    """Relative difference of depth within which a pixel shows the same point."""
    blur: Annotated[float, Range(0, 1)] = 0.003
    """Blur of the frame that colours are taken from, in its sides."""
    darkest: Annotated[float, Range(1e-3, 10)] = 0.2
    """Brightness below which colours are not raised any more."""


@dataclass(frozen=True)
class RigFitSettings:
    """Joints and the borders of the skin, solved from the pictures together with all poses."""

    rounds: Annotated[int, Range(0, 1000)] = 8
    """Steps at most; 0 leaves joints and skin as they were found from the mesh and the first motion."""
    parts: Annotated[int, Range(1, 1000)] = 28
    """Parts that are left then, at most: those that bend least against each other become one, and joints and skin are
    solved for once more. If pictures get less alike by that, all stay."""
    joint_hold: Weight = 1.0
    """Weight of a joint's squared shift from there, in sizes of the object."""
    gain_hold: Weight = 1e-3
    """Weight of the squared logarithm of what a part's share of the skin is multiplied by."""
    least_bend: Annotated[float, Range(0, 3.2)] = 0.02
    """Frames in which a joint bends by less, in radians, tell nothing of its place."""
    longest_shift: Annotated[float, Range(1e-6, 10)] = 0.03
    """No joint moves further in one step, in sizes of the object."""
    longest_gain: Annotated[float, Range(1e-6, 10)] = 0.5
    """No such logarithm changes by more in one step."""
    most_gain: Annotated[float, Range(0, 10)] = 1.0
    """No such logarithm becomes larger: the skin would tear where a part's weights were cut off."""
    probe: Annotated[float, Range(1e-3, 3)] = 0.3
    """Change of such a logarithm by which derivatives are measured."""
    least_gain: Annotated[float, Range(0, 1)] = 3e-3
    """Stop once a step lowers what is left by less than this share."""


@dataclass(frozen=True)
class SecondThoughtsSettings:
    """Limbs that are turned far in frames which look right enough, for another motion over a stretch of frames."""

    every: Annotated[int, Range(0, 1000)] = 3
    """Every so many frames have all their limbs turned far; 0 leaves it out."""
    turn: Annotated[float, Range(0.01, 3.2)] = 0.9
    """By how much, in radians."""
    starts: Annotated[int, Range(1, 1000)] = 3
    """Of the turned limbs, the most alike that are followed."""
    least_share: Annotated[float, Range(0, 1)] = 0.02
    """Share of the skin that a limb carries, at least."""
    most_share: Annotated[float, Range(0, 1)] = 0.5
    """The same at most: a larger one is the body."""
    least_moved: Annotated[float, Range(0, 10)] = 0.01
    """By how much a turned limb shifts the whole body's vertices in the mean, at least, in sizes of the object."""
    gain: Annotated[float, Range(0, 1)] = 0.1
    """Share by which a frame's picture is to be more alike for a stretch to begin there."""
    merged: Annotated[float, Range(0, 10)] = 0.02
    """A stretch ends where no part is further from where it was, in sizes of the object."""
    patience: Annotated[int, Range(1, 1000)] = 3
    """It ends too where the last so many frames gained nothing."""


@dataclass(frozen=True)
class ExchangeSettings:
    """Limbs that were taken for one another from where they meet in the view to where they meet again."""

    most: Annotated[int, Range(0, 1000)] = 12
    """Exchanges at most; 0 leaves it out."""
    least_reach: Annotated[float, Range(0, 10)] = 0.2
    """Length of a limb, at least, in sizes of the object."""
    pieces: Annotated[int, Range(1, 100)] = 4
    """Pieces of a limb whose middles make its line."""
    tip: Annotated[float, Range(0, 1)] = 0.1
    """Share of its length that is its tip."""
    alike: Annotated[float, Range(1, 100)] = 2.0
    """One is at most this many times as long as the other."""
    apart: Annotated[float, Range(0, 10)] = 0.8
    """How far apart they hang at most, in lengths of the shorter one."""
    near: Annotated[float, Range(0, 3.2)] = 0.25
    """They meet where the angle between them in the view has a minimum below this, in radians."""
    least_frames: Annotated[int, Range(1, 1000)] = 4
    """Frames from one meeting to the next, at least."""
    line: Weight = 10.0
    """Weight of a squared distance, in sizes of the object, from where the other limb is seen."""
    laying: Annotated[int, Range(1, 1000)] = 12
    """Steps in which limbs are laid there."""
    unlike: Annotated[float, Range(0, 1000)] = 2.5
    """Frames are to look at most this many times as unlike then, in the small pictures, for the stretch to be posed."""
    small_rounds: Annotated[int, Range(1, 1000)] = 8
    """Steps of the stretch in the small pictures."""
    rounds: Annotated[int, Range(1, 1000)] = 6
    """The same in the larger ones."""
    hopeful_small: Annotated[float, Range(0, 1000)] = 1.05
    """What is asked of the clip may be at most this many times as far off after the steps in the small pictures."""
    hopeful: Annotated[float, Range(0, 1000)] = 1.03
    """The same after those in the larger ones: joints and skin, which fit the motion found before, may make good for
    that, and are solved once more with either."""
    turned: Annotated[float, Range(0, 1)] = 0.3
    """Share of the angle between both by which they are to stay exchanged."""
    gain: Annotated[float, Range(0, 1)] = 0.01
    """Share by which what is asked of the clip is to get nearer for an exchange that stands by itself."""


@dataclass(frozen=True)
class GuessedShapeSettings:
    """The search for a mesh that was made from a frame: where its shape is a guess, more of it gains little."""

    tried: Annotated[int, Range(1, 1000)] = 2
    """As `tried` of the whole search."""
    repairs: Annotated[int, Range(0, 100)] = 0
    """As `repairs` there."""
    kicks: Annotated[int, Range(0, 100)] = 0
    """As `kicks`."""
    anew: Annotated[float, Range(0, 1)] = 0.0
    """As `anew` there."""
    frees: Annotated[int, Range(0, 100)] = 0
    """As `frees`."""
    calmings: Annotated[int, Range(0, 100)] = 0
    """As `calmings`."""
    rig_rounds: Annotated[int, Range(0, 1000)] = 0
    """As `rig.rounds`."""
    second_thoughts: Annotated[int, Range(0, 1000)] = 0
    """As `second_thoughts.every`."""
    gait: Weight = 0.0
    """As `gait.weight`: the far side, which the other view would show, is a guess above all."""
    across_view: Annotated[float, Range(0, 1)] = 1.0
    """As `across_view`."""
    preferred: Annotated[float, Range(0, 1000)] = 0.75
    """As `preferred`."""
    excused: Annotated[float, Range(0, 1)] = 0.0
    """As `excused`: a shape guessed from that frame always looks like it."""
    ends_after: Annotated[float, Range(0, 1)] = 0.5
    """As `ends_after`."""


@dataclass(frozen=True)
class PartsSettings:
    """The body's parts are posed so that small pictures of the mesh look like the frames."""

    meshes: Literal["given", "one_sided", "all"] = "one_sided"
    """Which meshes are posed by their parts. given: only one that the user brought, whose shape is true; one_sided:
    also those that are what one picture shows, closed by a guess (`inflate`, `sculpt`), as `guessed` says; all: every
    generator's, so."""
    guessed: GuessedShapeSettings = field(default_factory=GuessedShapeSettings)
    rounds: Annotated[int, Range(0, 1000)] = 8
    """Steps of all frames together, at most; 0 leaves the search out."""
    side: Annotated[int, Range(8, 512)] = 48
    """Side of the pictures that are compared, in pixels; each frame's first steps take half of it."""
    coarse_steps: Annotated[int, Range(0, 1000)] = 8
    """Steps of single frames in the small pictures."""
    steps: Annotated[int, Range(1, 1000)] = 8
    """Steps of single frames in the large ones."""
    tried: Annotated[int, Range(1, 1000)] = 1000
    """Starts of a frame that are followed in the small pictures, those that look most like it."""
    kept: Annotated[int, Range(1, 1000)] = 2
    """Starts of a frame that go on to the larger pictures."""
    ends_after: Annotated[float, Range(0, 1)] = 1.0
    """Share of the frames after which the search ends if what is posed will hardly be `preferred`; 1: it goes on."""
    ends_beyond: Annotated[float, Range(0, 1000)] = 1.1
    """It ends where frames look more than this many times as unlike as would be preferred."""
    repairs: Annotated[int, Range(0, 100)] = 2
    """Times that frames which look unlike are posed again between their neighbours."""
    kicks: Annotated[int, Range(0, 100)] = 2
    """Times that limbs are turned far in a frame which looks unlike."""
    anew: Annotated[float, Range(0, 1)] = 0.9
    """Poses found in all frames at once from the first motion are taken if they miss what is asked of the clip by less
    than this share of what the poses found from frame to frame miss; 0 leaves them out."""
    kick_near: Annotated[float, Range(0.01, 3.2)] = 0.4
    """The smaller of the turns that are tried then, in radians."""
    kick_far: Annotated[float, Range(0.01, 3.2)] = 0.9
    """The larger one."""
    starts: Annotated[int, Range(1, 1000)] = 6
    """Of the turned limbs, the most alike that are followed."""
    unlike: Annotated[float, Range(1, 1000)] = 1.8
    """Difference from a frame above which it looks unlike, against that of the typical frame."""
    unlike_least: Annotated[float, Range(0, 10)] = 0.002
    """Mean squared difference per pixel which is allowed on top."""
    margin: Annotated[float, Range(0, 1)] = 0.06
    """Empty border around the object in them, as a share of its size."""
    colour: Weight = 1.0
    """Weight of each colour channel's difference."""
    coverage: Weight = 1.0
    """Weight of the difference of where the object is."""
    border: Annotated[float, Range(0, 1000)] = 0.2
    """Length of a body's border, in sizes of it, up to which faces turned away are taken not to show through."""
    probe_turn: Annotated[float, Range(1e-4, 1)] = 0.05
    """Turns by which derivatives are measured, in radians."""
    probe_shift: Annotated[float, Range(1e-5, 1)] = 0.01
    """Shifts across the view by which derivatives are measured, in sizes of the object."""
    probe_depth: Annotated[float, Range(1e-5, 1)] = 0.05
    """The same along the view."""
    bend: Weight = 1e-3
    """Weight of a joint's squared turn away from its rest."""
    acceleration: Weight = 3e-3
    """Weight of a joint's squared change of angular velocity, while frames are posed one by one."""
    smoothness: Weight = 0.1
    """The same where all frames are posed together."""
    frees: Annotated[int, Range(0, 100)] = 1
    """Times at most that frames are posed alone again in the small pictures, each from where it is, and then all
    together, once joints and skin are solved."""
    freed: Annotated[float, Range(0, 1)] = 0.99
    """What is asked of the clip is to be missed by at most this many times as much then."""
    calmings: Annotated[int, Range(0, 100)] = 4
    """Times at most that this weight is raised, as long as pictures do not get clearly less alike."""
    calmings_unlike: Annotated[float, Range(1, 1000)] = 1.05
    """How many times as unlike pictures may get by that."""
    calmer: Annotated[float, Range(1, 1000)] = 3.0
    """What it is multiplied by each time."""
    still: Weight = 1e-3
    """Weight of a joint's turn away from its rest, whether large or small, where all frames are posed together:
    few joints move rather than all a little."""
    still_within: Annotated[float, Range(1e-4, 3.2)] = 0.02
    """Turns below which that fades, in radians."""
    sideways: Weight = 1e-2
    """Weight of a joint's squared turn about other axes than across the plane of symmetry, if that is seen from the
    side: limbs swing along it."""
    sideways_hold: Weight = 100.0
    """Weight of the parts' mean squared shift across that plane against the whole body, in sizes of the object."""
    sideways_whole: Weight = 20.0
    """Weight of the whole body's squared shift across it, which takes the place of the two below then."""
    sideways_within: Annotated[float, Range(1e-4, 10)] = 0.05
    """Shifts across it beyond which that is let go."""
    sideways_free: Annotated[float, Range(1e-4, 10)] = 0.005
    """The same for what is neither a limb nor trunk: a head turns, a tail wags."""
    across_view: Annotated[float, Range(0, 1)] = 0.0
    """How far parts are taken to swing in a plane across the view where no plane of symmetry is trusted; the body as a
    whole may come nearer."""
    first_depth: Annotated[float, Range(0, 1)] = 0.5
    """Share of the way back to the first motion's depths that the surface goes along the rays then."""
    depth_pace: Weight = 300.0
    """How much a change of the whole body's velocity along the view weighs, in sizes of the object, against one of a
    joint's, in radians."""
    depth_hold: Weight = 2.0
    """Weight of the body's squared shift along the view, in sizes of the object."""
    damping: Annotated[float, Range(1e-9, 1e6)] = 1e-2
    """Levenberg-Marquardt's damping at first, relative to the diagonal."""
    root_turn: Weight = 2e-3
    """Weight of the whole body's squared turn."""
    anchor_hold: Weight = 10.0
    """Weight of what the anchor's pose changes by."""
    longest_turn: Annotated[float, Range(1e-3, 3.2)] = 0.4
    """No part turns further than this in one step, in radians."""
    least_gain: Annotated[float, Range(0, 1)] = 1e-3
    """Stop once a step lowers what is left by less than this share."""
    damping_down: Annotated[float, Range(1e-6, 1)] = 0.3
    """What damping is multiplied by after a step down."""
    damping_up: Annotated[float, Range(1, 1e6)] = 8.0
    """What it is multiplied by where a step would have led up."""
    preferred: Annotated[float, Range(0, 1000)] = 0.5
    """The parts' motion is taken if the mesh looks at most this many times as unlike the frames as in the nodes'
    motion: a search that got lost looks a little better too."""
    excused: Annotated[float, Range(0, 1)] = 1.0
    """Share of how unlike the anchor's frame the mesh looks in its known pose which counts for neither motion then,
    where `preferred` is less than 1."""
    looks: LooksSettings = field(default_factory=LooksSettings)
    chunks: ChunkSettings = field(default_factory=ChunkSettings)
    limbs: PairedLimbSettings = field(default_factory=PairedLimbSettings)
    second_thoughts: SecondThoughtsSettings = field(default_factory=SecondThoughtsSettings)
    rig: RigFitSettings = field(default_factory=RigFitSettings)
    exchange: ExchangeSettings = field(default_factory=ExchangeSettings)
    gait: GaitSettings = field(default_factory=GaitSettings)
