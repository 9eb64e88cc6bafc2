"""Section 4.3: one topology for all keyframes, mesh to mesh as in the paper, or by following the video."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from v2m4.settings.geometry import CalmingSettings, MirrorSearchSettings
from v2m4.settings.parts import PartsSettings
from v2m4.settings.schema import Range

Weight = Annotated[float, Range(0, 1e12)]


@dataclass(frozen=True)
class GlobalAlignmentSettings:
    """The global registration: rotation, translation and a scale per axis."""

    iterations: Annotated[int, Range(0, 100000)] = 60
    """Steps of Adam; 0 leaves the global registration out."""
    views: Annotated[int, Range(1, 1000)] = 4
    """Views whose normal maps are compared in each step."""
    lr: Annotated[float, Range(1e-8, 10)] = 0.01
    """Adam's step."""
    chamfer_weight: Weight = 1.0
    """Weight of the distance between the surfaces."""
    image_weight: Weight = 1.0
    """Weight of the difference between normal maps."""
    restart_above: Annotated[float, Range(0, 1e12)] = 0.05
    """The half turn is tried too where the first alignment ends further from the target than this share of its
    diagonal; 0 always tries it."""
    restart_after: Annotated[int, Range(0, 100000)] = 0
    """Steps after which the two attempts are compared and the worse is given up; 0 compares them at their ends."""


@dataclass(frozen=True)
class DeformationGraphSettings:
    """The nodes of an embedded deformation (Sumner et al. 2007), and what they carry and hold on to."""

    influences: Annotated[int, Range(1, 32)] = 4
    """Nodes that carry each vertex."""
    falloff: Annotated[float, Range(0.01, 100)] = 0.6
    """Distance at which a node's influence on a vertex has fallen to 1/e, in distances to the furthest node that
    carries it."""
    neighbours: Annotated[int, Range(1, 100)] = 6
    """Nodes that each node is tied to."""
    bridges: Annotated[int, Range(1, 1000)] = 12
    """Links from each separate part of the mesh to the nearest vertices of other parts."""


@dataclass(frozen=True)
class LimbSettings:
    """A coarse alignment of limbs by embedded deformation, between the two descents; the paper has none."""

    rounds: Annotated[int, Range(0, 1000)] = 20
    """Rounds of closest points and one solve; 0 leaves the step out."""
    nodes: Annotated[int, Range(4, 5000)] = 150
    """Nodes that carry the mesh."""
    graph: DeformationGraphSettings = field(default_factory=DeformationGraphSettings)
    samples: Annotated[int, Range(1, 1000000)] = 3000
    """Points of each surface that are matched to the nearest of the other."""
    transport_share: Annotated[float, Range(0, 1)] = 0.4
    """Share of the rounds, at first, that match points one to one (optimal transport); one of the attempts does
    without."""
    transport_samples: Annotated[int, Range(1, 10000)] = 800
    """Points of each surface that are matched one to one; the time grows with their cube."""
    importance_low: Weight = 0.2
    """What a difference in mean geodesic distance counts in a one-to-one match, in diagonals: the first guess."""
    importance_high: Weight = 0.5
    """The second guess of it; the attempt that ends nearest to the target stays."""
    geodesic_sources: Annotated[int, Range(1, 100000)] = 60
    """Points of a surface whose geodesic distances are averaged."""
    reach_first: Annotated[float, Range(1e-6, 100)] = 0.15
    """Distance beyond which matches are distrusted, in diagonals of the target: in the first round."""
    reach_last: Annotated[float, Range(1e-6, 100)] = 0.03
    """The same in the last round, and beside one-to-one matches."""
    sliding: Weight = 0.03
    """Weight of a point's distance within the target's tangent plane, against that to the plane; 1 where matches are
    one to one."""
    stiffness_first: Annotated[float, Range(1e-9, 1e9)] = 1.0
    """How strongly neighbouring nodes keep their distance, against the distance to the target: in the first round."""
    stiffness_last: Annotated[float, Range(1e-9, 1e9)] = 0.01
    """The same in the last round."""
    stiff_attempt: Annotated[float, Range(1, 1e6)] = 10.0
    """How many times stiffer a last attempt begins, for bodies of rigid parts, which turn over where they are soft."""
    stiff_bending: Weight = 5.0
    """How strongly neighbouring nodes turn together in that attempt, against how they keep their distance."""
    damping: Weight = 1e-4
    """Damping of the nodes' turns in each solve."""
    strain_weight: Weight = 0.003
    """What the squared strain counts against the squared distance, in diagonals, where attempts are compared."""


@dataclass(frozen=True)
class LargeStepsSettings:
    """The local registration: every vertex, in the large-steps parametrisation (Nicolet et al. 2021)."""

    iterations: Annotated[int, Range(0, 100000)] = 60
    """Steps of AdamUniform."""
    views: Annotated[int, Range(1, 1000)] = 4
    """Views whose normal maps are compared in each step."""
    step: Annotated[float, Range(1e-8, 10)] = 0.02
    """AdamUniform's step."""
    step_end: Annotated[float, Range(0, 1)] = 1.0
    """The last iteration's step, as a share of the first's, to which it falls in half a cosine wave; 1 keeps it, and
    the mesh swinging about the target."""
    smoothness: Annotated[float, Range(0, 1e6)] = 99.0
    """lambda of the parametrisation u = (I + lambda L) v."""
    image_weight: Weight = 0.01
    """Weight of the difference between normal maps."""
    chamfer_weight: Weight = 10.0
    """Weight of the distance between the surfaces."""
    arap_weight: Weight = 1.0
    """Weight of the as-rigid-as-possible energy (ARAP, Sorkine and Alexa 2007)."""
    area_weight: Weight = 1e6
    """Weight of the change of the faces' areas."""
    edge_weight: Weight = 1e2
    """Weight of the change of the edges' lengths."""
    track_weight: Weight = 1e-3
    """Weight of the distance, in pixels, to where a point tracker saw points of the surface."""


@dataclass(frozen=True)
class TrackSettings:
    """Point tracks over renderings of the meshes, which pull the local registration (the release of the paper)."""

    enabled: bool = False
    """Whether points are tracked; needs meshes with colours and a point tracker."""
    views: Annotated[int, Range(1, 1000)] = 20
    """Cameras around the first mesh."""
    view_radius: Annotated[float, Range(0.1, 100)] = 8.0
    """Their distance, in sizes of the object."""
    view_size: Annotated[int, Range(32, 4096)] = 512
    """Side of the renderings, in pixels."""
    points: Annotated[int, Range(1, 100000)] = 10000
    """Points that are tracked in each view, at most."""
    history: Annotated[int, Range(1, 1000)] = 8
    """Keyframes before each one through which its points are tracked."""


@dataclass(frozen=True)
class MeshToMeshSettings:
    """The paper's chain: the mesh, as deformed so far, is registered to the next keyframe's mesh."""

    view_size: Annotated[int, Range(16, 2048)] = 128
    """Side of the normal maps, in pixels."""
    view_pool: Annotated[int, Range(1, 10000)] = 24
    """Views, spread evenly around the object, that each step's are drawn from."""
    view_radius: Annotated[float, Range(0.1, 100)] = 2.0
    """Distance of those views, in sizes of the object."""
    view_detail: Annotated[float, Range(0.05, 1)] = 1.0
    """Side of the maps that are really drawn, as a share of view_size: smaller ones end as near to the target."""
    surface_samples: Annotated[int, Range(0, 1000000)] = 5000
    """Points spread over each surface whose distance is measured; 0 takes the vertices, as the paper does."""
    normal_match: Annotated[float, Range(0, 10)] = 0.1
    """How much neighbouring points must face alike, as a length; 0 takes the nearest, as the paper does."""
    early_stop: Annotated[float, Range(0, 1)] = 0.0
    """Stop once the loss improves by less than this share from one window of iterations to the next; 0 never stops
    early, nor do local steps that fall."""
    early_stop_window: Annotated[int, Range(1, 100000)] = 50
    """Iterations in such a window."""
    alignment: GlobalAlignmentSettings = field(default_factory=GlobalAlignmentSettings)
    limbs: LimbSettings = field(default_factory=LimbSettings)
    large_steps: LargeStepsSettings = field(default_factory=LargeStepsSettings)
    tracks: TrackSettings = field(default_factory=TrackSettings)


@dataclass(frozen=True)
class SurfaceFitSettings:
    """The fit of every vertex to the frame, once the nodes have settled."""

    size: Annotated[int, Range(32, 4096)] = 512
    """Side of the pictures that are compared, in pixels."""
    rounds: Annotated[int, Range(0, 1000)] = 3
    """Rounds of the fit; 0 leaves it out."""
    smoothness: Annotated[float, Range(0, 1000)] = 0.1
    """How smooth its shifts are."""
    hold: Annotated[float, Range(1e-9, 1000)] = 0.01
    """How strongly vertices that nothing is known about stay where they are."""
    longest_shift: Annotated[float, Range(0, 10)] = 0.02
    """No vertex is shifted further than this in one round, in sizes of the object."""
    beside: Annotated[float, Range(0, 1)] = 0.012
    """Distance from the outline, in sides of the picture, within which that tells where a vertex is."""


@dataclass(frozen=True)
class CorrespondenceSettings:
    """How the frames' flow, outlines and unexplained pixels become constraints on the surface."""

    flow_step: Annotated[int, Range(1, 64)] = 2
    """The n of: every n-th row and column gives a flow vector."""
    flow_finest: Annotated[int, Range(0, 5)] = 1
    """How often pictures are halved for the flow's last step. At 2 it follows the outlines of what is thin and misses
    what moves inside; each halving less takes four times as long."""
    flow_return_px: Annotated[float, Range(0.01, 1000)] = 1.5
    """Pixels by which the flow there and back may miss before it is distrusted."""
    flow_least_weight: Annotated[float, Range(0, 1)] = 0.05
    """Flow vectors that weigh less are left out."""
    grey_step: Annotated[float, Range(0.01, 1000)] = 40.0
    """Difference of grey values, of 255, beyond which two pixels are distrusted to show the same point."""
    grey_window: Annotated[int, Range(1, 99)] = 5
    """Side of the window over which grey values are averaged before they are compared, in pixels."""
    same_surface: Annotated[float, Range(0, 10)] = 0.02
    """Relative difference of depth within which a pixel shows the same point of the surface."""
    outline_reach: Annotated[float, Range(1e-4, 10)] = 0.08
    """Distance beyond which outlines are distrusted to belong together, in picture sides."""
    outline_facing: bool = True
    """Whether pairs of outlines count only as far as both face the same way: what is drawn to the near side of another
    limb, or of one that the mesh lacks, is torn to shreds. Not in a mesh that was brought."""
    outline_hidden: Annotated[float, Range(0, 1)] = 0.1
    """Weight of outlines around unexplained pixels: they may belong to a limb that the mesh hides."""
    outside_weight: Weight = 3.0
    """Weight of a vertex outside the mask, against a pixel of the outline."""
    unexplained_above: Annotated[float, Range(0, 255)] = 50.0
    """Grey values that differ by more do not show the same thing."""
    explained_share: Annotated[float, Range(1e-6, 1)] = 0.25
    """Share of a node's surface that must be seen and explained for it to keep its place."""
    free_above: Annotated[float, Range(0, 1)] = 0.3
    """Lack of that share, from 0 to 1, above which a node may go to unexplained pixels."""
    claims: Annotated[int, Range(1, 1000000)] = 800
    """Unexplained pixels that are used at most."""
    claim_least_weight: Annotated[float, Range(0, 1)] = 0.02
    """Pairs of an unexplained pixel and a surface point that weigh less are left out."""
    surface_samples: Annotated[int, Range(1, 1000000)] = 3000
    """Points spread over the surface that unexplained pixels are paired with."""


@dataclass(frozen=True)
class SymmetrySettings:
    """The mesh's plane of symmetry, which tells the depths of swinging limbs where it is seen from the side."""

    samples: Annotated[int, Range(10, 100000)] = 1600
    """Points spread over the surface, from which the plane is found."""
    side_on_from: Annotated[float, Range(0, 1)] = 0.5
    """Share of the plane's normal along the view from which the plane is heeded."""
    side_on_full: Annotated[float, Range(0, 1)] = 0.75
    """The same, from which it is fully heeded."""
    error_full: Annotated[float, Range(0, 10)] = 0.06
    """Error of the symmetry, in sizes of the object, up to which it is fully heeded."""
    error_most: Annotated[float, Range(0, 10)] = 0.12
    """The same, from which it is ignored."""
    rivalry_from: Annotated[float, Range(0, 1000)] = 1.1
    """How many times worse any plane in another direction must fit for the plane to be heeded: a round rod has many."""
    rivalry_full: Annotated[float, Range(0, 1000)] = 1.25
    """The same, for it to be fully heeded."""
    turned_most: Annotated[float, Range(1e-3, 10)] = 0.3
    """Turn of the plane with the body, on top of what is not believed, from which it is not taken to stand still."""
    search: MirrorSearchSettings = field(default_factory=MirrorSearchSettings)


@dataclass(frozen=True)
class RigidMotionSettings:
    """The motion of the object as a whole, from that of its nodes (iteratively reweighted least squares)."""

    rounds: Annotated[int, Range(1, 1000)] = 8
    """Rounds of reweighting."""
    reach: Annotated[float, Range(1e-6, 100)] = 0.05
    """Distance beyond which a node is taken to move by itself, in sizes of the object."""
    small_turn: Annotated[float, Range(0, 3.15)] = 0.2
    """Turns of the whole by less than this are not believed, in radians."""


@dataclass(frozen=True)
class VideoTrackSettings:
    """Point tracks through the frames themselves, beside the optical flow."""

    enabled: bool = False
    """Whether points are tracked; needs a point tracker."""
    size: Annotated[int, Range(32, 4096)] = 512
    """Side of the pictures that are tracked in, in pixels."""
    points: Annotated[int, Range(1, 100000)] = 2000
    """Points that are tracked, at most."""
    window: Annotated[int, Range(2, 100000)] = 33
    """Frames that are tracked at once; the next ones go on from the last of them."""
    weight: Weight = 1.0
    """Weight of the tracks against the flow."""


@dataclass(frozen=True)
class FollowVideoSettings:
    """The anchor's mesh follows the frames themselves, by embedded deformation."""

    size: Annotated[int, Range(32, 4096)] = 384
    """Side of the pictures that are compared, in pixels; each frame's first rounds take half of it."""
    nodes: Annotated[int, Range(4, 5000)] = 120
    """Nodes that carry the mesh."""
    rounds: Annotated[int, Range(1, 1000)] = 4
    """Renderings compared per frame."""
    coarse_rounds: Annotated[int, Range(0, 1000)] = 2
    """Rounds at half the size, before those at the full one."""
    solver_steps: Annotated[int, Range(1, 1000)] = 3
    """Gauss-Newton steps per round."""
    stiffness: Weight = 0.15
    """How strongly neighbouring nodes keep their distance."""
    bending: Weight = 0.15
    """How strongly neighbouring nodes turn together."""
    first_stiffness: Annotated[float, Range(1, 1e6)] = 10.0
    """How many times stiffer the first round is than the last."""
    damping: Weight = 0.02
    """Damping of the nodes' turns in each Gauss-Newton step."""
    robust: Annotated[float, Range(1e-6, 1000)] = 0.3
    """Distance beyond which constraints are distrusted, in sizes of the object."""
    plasticity: Annotated[float, Range(1e-6, 1000)] = 0.1
    """Change of an edge, as a share of its length, beyond which the rest state follows."""
    momentum: Annotated[float, Range(0, 10)] = 1.0
    """Share of the last frame's motion that is expected to go on."""
    equalisation: Annotated[float, Range(0, 1)] = 0.3
    """0: every pixel counts alike; 1: every node gets the same weight of pixels."""
    equalisation_floor: Annotated[float, Range(1e-6, 100)] = 0.1
    """Nodes with less than this share of a typical node's weight are not raised further."""
    inertia: Weight = 0.02
    """How strongly nodes keep to their expected place across the view."""
    depth_inertia: Weight = 0.1
    """The same along the view."""
    depth_pull: Annotated[float, Range(0, 1)] = 0.1
    """Share of a node's change of depth that is taken back in every frame."""
    sideways: Weight = 0.3
    """How strongly limbs keep to moving along the mesh's plane of symmetry, if that is seen from the side."""
    rim_px: Annotated[float, Range(0, 100)] = 1.5
    """An object that ends so near the picture's border, in pixels, may go on outside."""
    outline: Weight = 0.5
    """Weight of the outline against the flow."""
    claims: Weight = 0.3
    """Weight of pixels that nothing explains yet, which hidden limbs are drawn to."""
    graph: DeformationGraphSettings = field(default_factory=DeformationGraphSettings)
    correspondences: CorrespondenceSettings = field(default_factory=CorrespondenceSettings)
    symmetry: SymmetrySettings = field(default_factory=SymmetrySettings)
    rigid_motion: RigidMotionSettings = field(default_factory=RigidMotionSettings)
    fit: SurfaceFitSettings = field(default_factory=SurfaceFitSettings)
    calming: CalmingSettings = field(default_factory=lambda: CalmingSettings(doublings=11))
    tracks: VideoTrackSettings = field(default_factory=VideoTrackSettings)
    parts: PartsSettings = field(default_factory=PartsSettings)


@dataclass(frozen=True)
class RegistrationSettings:
    """Section 4.3: one topology for all keyframes."""

    method: Literal["meshes", "video"] = "video"
    """meshes: the paper's chain, mesh to mesh; video: the reference mesh follows the frames themselves."""
    meshes: MeshToMeshSettings = field(default_factory=MeshToMeshSettings)
    video: FollowVideoSettings = field(default_factory=FollowVideoSettings)
