"""Section 4.3: one topology for all keyframes, mesh to mesh as in the paper, or by following the video."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

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


@dataclass(frozen=True)
class LimbSettings:
    """A coarse alignment of limbs by embedded deformation, between the two descents; the paper has none."""

    rounds: Annotated[int, Range(0, 1000)] = 20
    """Rounds of closest points and one solve; 0 leaves the step out."""
    nodes: Annotated[int, Range(4, 5000)] = 150
    """Nodes that carry the mesh."""


@dataclass(frozen=True)
class LargeStepsSettings:
    """The local registration: every vertex, in the large-steps parametrisation (Nicolet et al. 2021)."""

    iterations: Annotated[int, Range(0, 100000)] = 60
    """Steps of AdamUniform."""
    views: Annotated[int, Range(1, 1000)] = 4
    """Views whose normal maps are compared in each step."""
    step: Annotated[float, Range(1e-8, 10)] = 0.02
    """AdamUniform's step."""
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
    surface_samples: Annotated[int, Range(0, 1000000)] = 5000
    """Points spread over each surface whose distance is measured; 0 takes the vertices, as the paper does."""
    normal_match: Annotated[float, Range(0, 10)] = 0.1
    """How much neighbouring points must face alike, as a length; 0 takes the nearest, as the paper does."""
    early_stop: Annotated[float, Range(0, 1)] = 0.0
    """Stop once the loss improves by less than this share over 50 iterations; 0 never stops early."""
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


@dataclass(frozen=True)
class FollowVideoSettings:
    """The anchor's mesh follows the frames themselves, by embedded deformation."""

    size: Annotated[int, Range(32, 4096)] = 384
    """Side of the pictures that are compared, in pixels; each frame's first rounds take half of it."""
    nodes: Annotated[int, Range(4, 5000)] = 120
    """Nodes that carry the mesh."""
    rounds: Annotated[int, Range(1, 1000)] = 4
    """Renderings compared per frame."""
    stiffness: Weight = 0.15
    """How strongly neighbouring nodes keep their distance."""
    bending: Weight = 0.15
    """How strongly neighbouring nodes turn together."""
    inertia: Weight = 0.02
    """How strongly nodes keep to their expected place across the view."""
    depth_inertia: Weight = 0.1
    """The same along the view."""
    depth_pull: Annotated[float, Range(0, 1)] = 0.1
    """Share of a node's change of depth that is taken back in every frame."""
    sideways: Weight = 0.3
    """How strongly limbs keep to moving along the mesh's plane of symmetry, if that is seen from the side."""
    outline: Weight = 0.5
    """Weight of the outline against the flow."""
    claims: Weight = 0.3
    """Weight of pixels that nothing explains yet, which hidden limbs are drawn to."""
    fit: SurfaceFitSettings = field(default_factory=SurfaceFitSettings)


@dataclass(frozen=True)
class RegistrationSettings:
    """Section 4.3: one topology for all keyframes."""

    method: Literal["meshes", "video"] = "video"
    """meshes: the paper's chain, mesh to mesh; video: the reference mesh follows the frames themselves."""
    meshes: MeshToMeshSettings = field(default_factory=MeshToMeshSettings)
    video: FollowVideoSettings = field(default_factory=FollowVideoSettings)
